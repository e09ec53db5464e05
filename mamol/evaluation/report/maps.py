"""The maps of a page: classes and confidence under every pattern, and at fewer points what is behind them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.data.scenes import Scene, load_scene
from mamol.evaluation.blocks import NO_PROBABILITY, PROBABILITY_STEPS, Block, WindowClassifier, code_type
from mamol.evaluation.frame import Frame
from mamol.evaluation.layers import percent
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.mapinfo import MapInfo
from mamol.evaluation.order import OneMap, Order
from mamol.evaluation.plots import class_colours
from mamol.evaluation.progress import Told
from mamol.evaluation.report.packing import (
    MOST_PICTURE,
    Packed,
    chosen_bands,
    eight_bits,
    every,
    false_colour,
    pack,
    step_of,
)

MOST_PIXELS = 1_000_000
"""Of a map; of a larger one every n-th is shown."""
MOST_POINTS = 200
"""Rows or columns of points with probabilities and measured values."""
MOST_BANDS = 32
"""Of a sensor."""
POINT_BYTES = 2_500_000
"""Of everything that is known at the points; there are fewer points where classes and bands are many."""
CONFIDENCE_TEXT, ALL_TEXT = 7_000_000, 9_500_000
"""Characters of all confidence maps, and of them and the classes; confidence is coarser where it would be more."""
MOST_COARSE = 16
"""Pixels, the side of the squares of a coarse confidence."""
MOST_LABELS = 4_000_000
"""Pixels of a scene whose labels are read; with them the whole scene is."""


class Areas(TypedDict):
    """How large the classes of a map are.

    Attributes:
        pixels: Of each code.
        hectares: Of each code; None where nobody knows the size of a pixel.
    """

    pixels: list[int]
    hectares: list[float] | None


class PatternMap(Areas):
    """Of one pattern.

    Attributes:
        classes: (h, w) codes from 1; 0 where none of its sensors saw.
        confidence: Whole percent, 255 where none saw; a value stands for a square of ``confidence_step``.
        probabilities: (K, …) of the points, 255 is 1.
        sets: Of the points, classes in the set of each, 0 where no sensor saw; None of a network without sets.
    """

    classes: Packed
    confidence: Packed
    probabilities: Packed
    sets: Packed | None


class SensorView(TypedDict):
    """What a sensor measured.

    Attributes:
        picture: False colours, as the address of an image.
        bands: Numbers from 1 of those whose values are here.
        ends: For each, what 1 and 255 stand for.
        values: (bands, …) of the points; 0 where nothing was measured.
    """

    picture: str
    bands: list[int]
    ends: list[list[float]]
    values: Packed


class SceneView(TypedDict):
    """Everything about a scene.

    Attributes:
        name: Of the scene.
        title: Of the maps.
        height: Rows that are shown.
        width: Columns that are shown.
        step: Every how many pixels of the scene one is shown.
        preview: Whether that is because the network needs a window for every pixel.
        stride: From window to window; None where every pixel has its own.
        confidence_step: As said there.
        points: A point stands for a square of so many shown pixels.
        natural: (h, w), bit i says whether modality i saw the pixel.
        labels: (h, w) codes of the reference; None without.
        colours: ``#rrggbb`` of each class, those for colour-blind eyes.
        own_colours: Those that the scene says; None where it says none.
        patterns: By name.
        sensors: By name.
    """

    name: str
    title: str
    height: int
    width: int
    step: int
    preview: bool
    stride: int | None
    confidence_step: int
    points: int
    natural: Packed
    labels: Packed | None
    colours: list[str]
    own_colours: list[str] | None
    patterns: dict[str, PatternMap]
    sensors: dict[str, SensorView]


@dataclass(frozen=True)
class Grid:
    """Which pixels of a frame are shown.

    Attributes:
        step: Every how many.
        rows: Ascending.
        cols: Ascending.
    """

    step: int
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]

    @classmethod
    def of(cls, height: int, width: int, step: int) -> "Grid":
        """The middle of squares.

        Args:
            height: Of the frame.
            width: Of the frame.
            step: Side of the squares.
        """
        return cls(step, every(height, -(-height // step)), every(width, -(-width // step)))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns that are shown."""
        return len(self.rows), len(self.cols)


def order_of(settings: Settings, wanted: Callable[[Sequence[str]], list[list[str]]]) -> Order:
    """What is to be drawn.

    Args:
        settings: As of ``predict``.
        wanted: From the modalities to the patterns.

    Raises:
        MamolError: As of ``predict``; or there are several scenes.
    """
    order = Order.of(replace(settings, predict=replace(settings.predict, present="", probabilities=True, abstain=None)))
    if order.many:
        raise MamolError(
            f"report: scene={settings.predict.scene} has {len(order.scenes)} scenes, and a page shows one; give one of "
            f"them, such as {order.scenes[0]}"
        )
    return replace(order, patterns=wanted(order.info.network.names))


def scene_view(order: Order, preview: int) -> SceneView:
    """Draws all maps.

    Args:
        order: Of ``order_of``.
        preview: Rows or columns of the maps of a network that needs a window for every pixel.

    Raises:
        MamolError: A map cannot be computed.
    """
    maps, dense = order.maps, order.network.dense
    frame, spec = maps[0].frame, order.network.spec
    step = _step(frame) if dense else max(1, step_of(max(frame.height, frame.width), preview))
    grid = Grid.of(frame.height, frame.width, step)
    scene = order.scene(maps[0].source)
    bands = {name: chosen_bands(scene.channels[name], MOST_BANDS) for name in order.needed}
    points = _points(grid.shape, len(maps) * len(spec.classes) + sum(map(len, bands.values())))
    shown = order.settings.machine.progress_bar
    with Told("drawing maps", len(maps) * frame.height * frame.width, shown=shown) as told:
        drawn = {"+".join(one.pattern): _draw(one, grid, points, told.advance) for one in maps}
    natural = np.bitwise_or.reduce([block.sensors for block in drawn.values()])
    packed = {name: pack(block.classes) for name, block in drawn.items()}
    left = min(CONFIDENCE_TEXT, ALL_TEXT - sum(len(each["data"]) for each in packed.values()))
    coarser, confidence = _confidence(drawn, left)
    info = _info(maps[0], grid)
    reference = _reference(order, maps[0], grid)
    own = ["#" + bytes(colour).hex() for colour in info.painted.values()] if info.colours else None
    return {
        "name": maps[0].name,
        "title": info.title,
        "height": grid.shape[0],
        "width": grid.shape[1],
        "step": step,
        "preview": not dense,
        "stride": (order.settings.predict.stride or spec.grid) if dense else None,
        "confidence_step": coarser,
        "points": points,
        "natural": pack(natural),
        "labels": None if reference is None else pack(reference),
        "colours": ["#" + bytes(colour).hex() for colour in class_colours(len(spec.classes))],
        "own_colours": own,
        "patterns": {
            name: {
                "classes": packed[name],
                "confidence": confidence[name],
                "probabilities": _eight(block.probabilities),
                "sets": None if block.set_size is None else pack(block.set_size),
                **_areas(block, info),
            }
            for name, block in drawn.items()
        },
        "sensors": {name: _sensor(scene, name, frame, grid, points, bands[name]) for name in order.needed},
    }


def _step(frame: Frame) -> int:
    step = 1
    while -(-frame.height // step) * -(-frame.width // step) > MOST_PIXELS:
        step += 1
    return step


def _points(shape: tuple[int, int], numbers: int) -> int:
    """Side of the squares of which one point is known, each with so many numbers."""
    step = max(1, step_of(max(shape), MOST_POINTS))
    while -(-shape[0] // step) * -(-shape[1] // step) * numbers > POINT_BYTES:
        step += 1
    return step


def _draw(one: OneMap, grid: Grid, points: int, advance: Callable[[int], None]) -> Block:
    """The pixels of a grid, with the probabilities of its points, by what draws the maps of ``predict``."""
    classifier = one.classifier
    inner = Grid.of(*grid.shape, points)
    if isinstance(classifier, WindowClassifier):
        whole = classifier.preview(one.frame, grid.rows, grid.cols, advance)
        advance(one.pixels - len(grid.rows) * len(grid.cols))
        sets = None if whole.set_size is None else whole.set_size[inner.rows][:, inner.cols]
        return replace(whole, probabilities=_said(whole)[:, inner.rows][:, :, inner.cols], set_size=sets)
    parts: list[Block] = []
    for start in one.starts:
        end = one.end(start)
        block = classifier.block(one.frame, start, end, advance)
        here = grid.rows[slice(*np.searchsorted(grid.rows, [start, end]))] - start
        known = grid.rows[inner.rows]
        below = known[(known >= start) & (known < end)] - start
        classes, confidence, sensors = (
            each[here][:, grid.cols] for each in (block.classes, block.confidence, block.sensors)
        )
        across = grid.cols[inner.cols]
        sets = None if block.set_size is None else block.set_size[below][:, across]
        parts.append(Block(classes, confidence, sensors, _said(block)[:, below][:, :, across], sets))
    return Block(
        np.concatenate([part.classes for part in parts]),
        np.concatenate([part.confidence for part in parts]),
        np.concatenate([part.sensors for part in parts]),
        np.concatenate([_said(part) for part in parts], axis=1),
        np.concatenate(sizes) if (sizes := [part.set_size for part in parts if part.set_size is not None]) else None,
    )


def _said(block: Block) -> NDArray[np.uint16]:
    """All probabilities."""
    return np.empty((0, *block.classes.shape), np.uint16) if block.probabilities is None else block.probabilities


def _confidence(drawn: dict[str, Block], most: int) -> tuple[int, dict[str, Packed]]:
    """Confidence in whole percent, as fine as the characters that are left allow, and how fine that is."""
    step = 1
    while True:
        packed = {}
        for name, block in drawn.items():
            height, width = block.classes.shape
            inner = Grid.of(height, width, step)
            packed[name] = pack(percent(block)[0][inner.rows][:, inner.cols])
        if step >= MOST_COARSE or sum(len(each["data"]) for each in packed.values()) <= most:
            return step, packed
        step += 1


def _eight(probabilities: NDArray[np.uint16] | None) -> Packed:
    """Probabilities, 255 is 1; 0 where no sensor saw."""
    if probabilities is None:
        raise ValueError("the map was drawn without probabilities")
    there = probabilities != NO_PROBABILITY
    shares = np.where(there, probabilities, 0) / PROBABILITY_STEPS
    return pack(np.rint(255 * shares).astype(np.uint8))


def _info(one: OneMap, grid: Grid) -> MapInfo:
    """What belongs to the map that is shown: a shown pixel is as large as its square."""
    info, place = one.info, one.frame.georeference
    if place is None or grid.step == 1:
        return info
    larger = Affine(*place.transform) @ Affine.scale(grid.step)
    return replace(info, georeference=replace(place, transform=tuple(larger)[:6]))


def _areas(block: Block, info: MapInfo) -> Areas:
    """Pixels and hectares of each code, by what writes the table of a map."""
    height, width = block.classes.shape
    pixels, area = MapFiles(info, (height, width), lambda: [block]).areas()
    known = info.metres(0, 0) is not None
    return {"pixels": pixels.tolist(), "hectares": (area / 1e4).tolist() if known else None}


def _sensor(scene: Scene, name: str, frame: Frame, grid: Grid, points: int, bands: Sequence[int]) -> SensorView:
    """The picture of a sensor, and its values at the points."""
    source, inner = scene.readers[name], Grid.of(*grid.shape, points)

    def sampled(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.float32]:
        across = slice(frame.left, frame.left + frame.width)
        lines = (source.read(slice(row, row + 1), across)[0][cols] for row in (frame.top + rows).tolist())
        return np.stack(list(lines))

    shown = Grid.of(*grid.shape, max(1, step_of(max(grid.shape), MOST_PICTURE)))
    picture = sampled(grid.rows[shown.rows], grid.cols[shown.cols])
    values = sampled(grid.rows[inner.rows], grid.cols[inner.cols])[..., list(bands)].transpose(2, 0, 1)
    steps, ends = eight_bits(values)
    numbers = [band + 1 for band in bands]
    return {"picture": false_colour(picture), "bands": numbers, "ends": ends, "values": pack(steps)}


def _reference(order: Order, one: OneMap, grid: Grid) -> NDArray[np.unsignedinteger] | None:
    """The labels of the pixels that are shown, in the network's numbers; None where there are none that fit."""
    frame, names, wanted = one.frame, order.info.network.classes, order.settings.predict
    scene = order.scene(one.source)
    if scene.height * scene.width > MOST_LABELS:
        return None
    where = ("scene", Path(wanted.root), one.source) if wanted.root else (order.info.dataset, one.source, None)
    try:
        read = load_scene(where[0], where[1], scene_file=where[2], modalities=order.needed)
    except MamolError:
        return None
    if read.labels is None or not set(read.classes) & set(names):
        return None
    codes = np.array([0, *(names.index(name) + 1 if name in names else 0 for name in read.classes)])
    part = read.labels[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]
    return codes[part[grid.rows][:, grid.cols]].astype(code_type(len(names)))
