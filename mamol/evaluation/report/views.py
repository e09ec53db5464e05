"""A scene as a page has it: what the page's programs find, and maps packed to what there is room for."""

from collections.abc import Mapping
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from mamol.evaluation.blocks import NO_PROBABILITY, PROBABILITY_STEPS, Block
from mamol.evaluation.layers import percent
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.mapinfo import MapInfo
from mamol.evaluation.report.packing import Packed, pack
from mamol.evaluation.report.pixels import Grid

CONFIDENCE_TEXT, ALL_TEXT = 7_000_000, 9_500_000
"""Characters of all confidence maps, and of them and the classes; confidence is coarser where it would be more."""
MOST_COARSE = 16
"""Pixels, the side of the squares of a coarse confidence."""


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


def pattern_maps(drawn: Mapping[str, Block], info: MapInfo) -> tuple[int, dict[str, PatternMap]]:
    """The maps as a page has them.

    Args:
        drawn: Of each pattern; probabilities and sizes of sets of the points alone.
        info: What belongs to the maps.

    Returns:
        The side of the squares that a value of the confidence stands for, and the map of each pattern.
    """
    classes = {name: pack(block.classes) for name, block in drawn.items()}
    left = min(CONFIDENCE_TEXT, ALL_TEXT - sum(len(each["data"]) for each in classes.values()))
    step, confidence = _confidence(drawn, left)
    return step, {
        name: {
            "classes": classes[name],
            "confidence": confidence[name],
            "probabilities": _eight(block.probabilities),
            "sets": None if block.set_size is None else pack(block.set_size),
            **_areas(block, info),
        }
        for name, block in drawn.items()
    }


def _confidence(drawn: Mapping[str, Block], most: int) -> tuple[int, dict[str, Packed]]:
    """Confidence in whole percent, on the smallest squares that so many characters allow, and their side."""
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


def _areas(block: Block, info: MapInfo) -> Areas:
    """Pixels and hectares of each code, by what writes the table of a map."""
    height, width = block.classes.shape
    pixels, area = MapFiles(info, (height, width), lambda: [block]).areas()
    known = info.metres(0, 0) is not None
    return {"pixels": pixels.tolist(), "hectares": (area / 1e4).tolist() if known else None}
