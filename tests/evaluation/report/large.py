"""A page of a million pixels and three sensors, without the network that would draw it for hours.

The worst case: every pixel is noise, which nothing packs; seven patterns of twenty classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mamol.evaluation.blocks import Block
from mamol.evaluation.mapinfo import MapInfo
from mamol.evaluation.plots import class_colours
from mamol.evaluation.report.maps import MOST_BANDS
from mamol.evaluation.report.packing import MOST_PICTURE, eight_bits, false_colour, pack
from mamol.evaluation.report.page import render
from mamol.evaluation.report.pixels import Grid, step_of_points
from mamol.evaluation.report.views import SceneView, pattern_maps

SHAPE = HEIGHT, WIDTH = 1000, 1000
CLASSES = tuple(f"class {number}" for number in range(1, 21))


@dataclass(frozen=True)
class Large:
    """The page and what is in it.

    Attributes:
        view: Of the scene.
        drawn: Pattern to its map, with probabilities of the points.
        natural: Bit i says whether sensor i saw the pixel.
        labels: Codes of the reference.
    """

    view: SceneView
    drawn: Mapping[str, Block]
    natural: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, patterns: tuple[str, ...], sensors: tuple[str, ...]) -> "Large":
        """Draws it."""
        rng, count = np.random.default_rng(0), len(CLASSES)
        points = step_of_points(SHAPE, len(patterns) * count + len(sensors) * MOST_BANDS)
        inner = Grid.of(*SHAPE, points)
        drawn = {
            name: Block(
                rng.integers(1, count + 1, SHAPE).astype(np.uint8),
                rng.random(SHAPE, np.float32),
                np.zeros(SHAPE, np.uint8),
                rng.integers(0, 10_001, (count, *inner.shape)).astype(np.uint16),
                rng.integers(1, count + 1, inner.shape).astype(np.uint8),
            )
            for name in patterns
        }
        natural, labels = (rng.integers(0, most, SHAPE).astype(np.uint8) for most in (8, count + 1))
        step, maps = pattern_maps(drawn, MapInfo(CLASSES, "Large", None, (), sensors))
        view: SceneView = {
            "name": "Large",
            "title": "Large",
            "height": HEIGHT,
            "width": WIDTH,
            "step": 1,
            "preview": False,
            "stride": 1,
            "confidence_step": step,
            "points": points,
            "natural": pack(natural),
            "labels": pack(labels),
            "colours": ["#" + bytes(colour).hex() for colour in class_colours(count)],
            "own_colours": None,
            "patterns": maps,
            "sensors": {},
        }
        for name in sensors:
            steps, ends = eight_bits(rng.random((MOST_BANDS, *inner.shape), np.float32))
            picture = false_colour(rng.random((MOST_PICTURE, MOST_PICTURE, 3), np.float32))
            bands = list(range(1, MOST_BANDS + 1))
            view["sensors"][name] = {"picture": picture, "bands": bands, "ends": ends, "values": pack(steps)}
        return cls(view, drawn, natural, labels)

    def page(self, content: Mapping[str, Any]) -> str:
        """The page.

        Args:
            content: Of a page of the same patterns and sensors; the scores are its.
        """
        unknown = {"value": None, "interval": None}
        patterns = {
            name: {**found, "classes": [unknown] * len(CLASSES), "confusion": None}
            for name, found in content["patterns"].items()
        }
        mine = {"classes": CLASSES, "patterns": patterns, "others": [], "worth": None, "scene": self.view}
        return render({**content, **mine}, {"title": "Large", "remarks": [], "command": ""}, [])
