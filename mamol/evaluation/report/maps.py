"""The maps of a page, drawn by what draws those of ``predict``, and what the sensors measured."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine

from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.data.scenes import Scene, load_scene
from mamol.evaluation.blocks import Block, WindowClassifier, code_type
from mamol.evaluation.frame import Frame
from mamol.evaluation.mapinfo import MapInfo
from mamol.evaluation.order import OneMap, Order
from mamol.evaluation.plots import class_colours
from mamol.evaluation.progress import Told
from mamol.evaluation.report.packing import MOST_PICTURE, chosen_bands, eight_bits, false_colour, pack, step_of
from mamol.evaluation.report.pixels import Grid, step_of_map, step_of_points
from mamol.evaluation.report.views import SceneView, SensorView, pattern_maps

MOST_BANDS = 32
"""Of a sensor."""
MOST_LABELS = 4_000_000
"""Pixels of a scene whose labels are read; with them the whole scene is."""


def order_of(settings: Settings, patterns: list[list[str]]) -> Order:
    """What is to be drawn.

    Args:
        settings: As of ``predict``.
        patterns: The modalities of each.

    Raises:
        MamolError: As of ``predict``; or there are several scenes.
    """
    order = Order.of(replace(settings, predict=replace(settings.predict, present="", probabilities=True, abstain=None)))
    if order.many:
        raise MamolError(
            f"report: scene={settings.predict.scene} has {len(order.scenes)} scenes, and a page shows one; give one of "
            f"them, such as {order.scenes[0]}"
        )
    return replace(order, patterns=patterns)


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
    step = step_of_map(frame.height, frame.width) if dense else max(1, step_of(max(frame.height, frame.width), preview))
    grid = Grid.of(frame.height, frame.width, step)
    scene = order.scene(maps[0].source)
    bands = {name: chosen_bands(scene.channels[name], MOST_BANDS) for name in order.needed}
    points = step_of_points(grid.shape, len(maps) * len(spec.classes) + sum(map(len, bands.values())))
    shown = order.settings.machine.progress_bar
    with Told("drawing maps", len(maps) * frame.height * frame.width, shown=shown) as told:
        drawn = {"+".join(one.pattern): _draw(one, grid, points, told.advance) for one in maps}
    natural = np.bitwise_or.reduce([block.sensors for block in drawn.values()])
    info = _info(maps[0], grid)
    coarser, patterns = pattern_maps(drawn, info)
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
        "patterns": patterns,
        "sensors": {name: _sensor(scene, name, frame, grid, points, bands[name]) for name in order.needed},
    }


def _draw(one: OneMap, grid: Grid, points: int, advance: Callable[[int], None]) -> Block:
    """The pixels of a grid, with the probabilities of its points, by what draws the maps of ``predict``."""
    classifier, inner = one.classifier, Grid.of(*grid.shape, points)
    if isinstance(classifier, WindowClassifier):
        whole = classifier.preview(one.frame, grid.rows, grid.cols, advance)
        advance(one.pixels - len(grid.rows) * len(grid.cols))
        return _chosen(whole, (np.arange(grid.shape[0]), np.arange(grid.shape[1])), (inner.rows, inner.cols))
    known, across = grid.rows[inner.rows], grid.cols[inner.cols]
    parts: list[Block] = []
    for start in one.starts:
        end = one.end(start)
        block = classifier.block(one.frame, start, end, advance)
        here, below = (rows[slice(*np.searchsorted(rows, [start, end]))] - start for rows in (grid.rows, known))
        parts.append(_chosen(block, (here, grid.cols), (below, across)))
    return Block.joined(parts)


Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns."""


def _chosen(block: Block, pixels: Places, points: Places) -> Block:
    """Some pixels of a block, with the probabilities and the sizes of sets of some points."""
    here, there = np.ix_(*pixels), np.ix_(*points)
    said, sizes = block.probabilities, block.set_size
    return Block(
        block.classes[here],
        block.confidence[here],
        block.sensors[here],
        None if said is None else said[:, there[0], there[1]],
        None if sizes is None else sizes[there],
    )


def _info(one: OneMap, grid: Grid) -> MapInfo:
    """What belongs to the map that is shown: a shown pixel is as large as its square."""
    info, place = one.info, one.frame.georeference
    if place is None or grid.step == 1:
        return info
    larger = Affine(*place.transform) @ Affine.scale(grid.step)
    return replace(info, georeference=replace(place, transform=tuple(larger)[:6]))


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
