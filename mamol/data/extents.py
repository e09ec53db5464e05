"""How large the scenes of a table are, whose pixels are counted through: one scene after the other, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from mamol.core.plain import Size, fitted

SCENES = "scenes"
"""The field of tables of several scenes."""
Numbers = NDArray[np.int64]


class Kept(TypedDict):
    """A scene as tables keep it."""

    name: str
    shape: tuple[Size, Size]
    note: str


@dataclass(frozen=True)
class Extent:
    """One of the scenes.

    Attributes:
        name: What reports call it.
        height: Rows.
        width: Columns.
        note: What a reader has to know of its data; may be empty.
        split: To which split ``--protocol scenes`` gives it; empty: whoever draws may choose. Tables do not keep it.
    """

    name: str
    height: int
    width: int
    note: str = ""
    split: str = ""

    def plain(self) -> dict[str, Any]:
        """As tables keep it."""
        return {"name": self.name, "shape": [self.height, self.width], "note": self.note}

    @classmethod
    def of_plain(cls, kept: Mapping[str, Any]) -> "Extent":
        """What ``plain`` gave.

        Args:
            kept: That.

        Raises:
            ValueError: It is something else.
        """
        found = fitted(kept, Kept, SCENES)
        height, width = found["shape"]
        return cls(found["name"], height, width, found["note"])


@dataclass(frozen=True)
class Extents:
    """The scenes of a table in order, at least one.

    Attributes:
        each: The scenes.
    """

    each: tuple[Extent, ...]

    @classmethod
    def of_one(cls, height: int, width: int) -> "Extents":
        """A single scene.

        Args:
            height: Its rows.
            width: Its columns.
        """
        return cls((Extent("", height, width),))

    @property
    def several(self) -> bool:
        """Whether there is more than one scene, so that a pixel needs a scene beside row and column."""
        return len(self.each) > 1

    @cached_property
    def sizes(self) -> tuple[Numbers, Numbers, Numbers]:
        """Height and width of each scene, and the number of its first pixel, (S,) each."""
        heights = np.array([each.height for each in self.each], np.int64)
        widths = np.array([each.width for each in self.each], np.int64)
        return heights, widths, np.cumsum([0, *(heights * widths)[:-1]])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of one scene; of several, their pixels in one column."""
        pixels = sum(each.height * each.width for each in self.each)
        return (pixels, 1) if self.several else (self.each[0].height, self.each[0].width)

    def sizes_at(self, scenes: NDArray[np.integer] | None) -> tuple[Numbers, Numbers, Numbers]:
        """Height, width and first pixel of the scenes that samples are in.

        Args:
            scenes: (n,) numbers from 0; None: all are in the only one.

        Returns:
            (n,) each, or (1,) each.
        """
        heights, widths, starts = self.sizes
        at = np.zeros(1, np.int64) if scenes is None else scenes
        return heights[at], widths[at], starts[at]

    def numbers(
        self, rows: NDArray[np.integer], cols: NDArray[np.integer], scenes: NDArray[np.integer] | None = None
    ) -> Numbers:
        """The numbers of pixels.

        Args:
            rows: (n,) from 0.
            cols: (n,) from 0.
            scenes: (n,) from 0; None: all are in the only one.
        """
        _, widths, starts = self.sizes_at(scenes)
        return starts + np.asarray(rows, np.int64) * widths + np.asarray(cols, np.int64)

    def places(self, numbers: Numbers) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32] | None]:
        """Where pixels lie.

        Args:
            numbers: (n,) of the pixels.

        Returns:
            Their rows, columns and scenes; the last is None if there is one scene.
        """
        _, widths, starts = self.sizes
        scenes = np.searchsorted(starts, numbers, side="right") - 1
        rows, cols = np.divmod(numbers - starts[scenes], widths[scenes])
        return rows.astype(np.int32), cols.astype(np.int32), scenes.astype(np.int32) if self.several else None

    def parts(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of all pixels, scene by scene.

        Args:
            values: (N,), or of any shape where there is one scene.

        Returns:
            (H, W) of each scene.
        """
        flat = values.ravel()
        _, _, starts = self.sizes
        return [
            flat[start : start + each.height * each.width].reshape(each.height, each.width)
            for start, each in zip(starts, self.each, strict=True)
        ]


def joined(values: Sequence[np.ndarray]) -> np.ndarray:
    """Maps of several scenes as the values of their pixels, counted through.

    Args:
        values: (H, W) of each scene.

    Returns:
        (N,); of one scene a view.
    """
    flat = [each.ravel() for each in values]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)
