"""Which pixels of a map a page shows, and at which points it knows more of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mamol.evaluation.report.packing import every, step_of

MOST_PIXELS = 1_000_000
"""Of a map; of a larger one every n-th is shown."""
MOST_POINTS = 200
"""Rows or columns of points with probabilities and measured values."""
POINT_BYTES = 2_200_000
"""Of everything that is known at the points; there are fewer points where classes and bands are many."""


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


def step_of_map(height: int, width: int) -> int:
    """Every how many pixels of a map one is shown.

    Args:
        height: Of the map.
        width: Of the map.
    """
    step = 1
    while -(-height // step) * -(-width // step) > MOST_PIXELS:
        step += 1
    return step


def step_of_points(shape: tuple[int, int], numbers: int) -> int:
    """Side of the squares, in shown pixels, of which one point is known.

    Args:
        shape: Rows and columns that are shown.
        numbers: What is known of a point.
    """
    step = max(1, step_of(max(shape), MOST_POINTS))
    while -(-shape[0] // step) * -(-shape[1] // step) * numbers > POINT_BYTES:
        step += 1
    return step
