"""Labels of whole windows: which pixels around a sample count, too, and how windows are shifted, flipped and turned.

Only pixels of one table are known here, so that no label of another split can reach a loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.task import UNLABELLED
from mamol.data.patches import inside_scene, window_numbers
from mamol.data.scenetable import SceneTable

TURNS = 8
SHIFTS = 7  # tells the draw of shifts from that of the order, which has the same seed and epoch


@dataclass(frozen=True)
class Shifts:
    """How windows are shifted in training, so that labels stand anywhere in them.

    Attributes:
        size: Side P of the windows.
        most: Pixels by which a window may be shifted in each direction; its own sample stays in it.
    """

    size: int
    most: int

    @classmethod
    def wanted(cls, table: SceneTable, shift: int | None) -> "Shifts":
        """What the user asks for.

        Args:
            table: The training table.
            shift: ``window_shift``; None is as far as the table allows.

        Raises:
            MamolError: The table does not allow it.
        """
        reach = table.info.reach
        if shift is not None and shift > reach:
            raise MamolError(
                f"window_shift={shift}: the windows of {table.path.parent} can be shifted by {reach} pixels at most; "
                f"build it with --margin {shift}, and --layout scene stores each pixel once"
            )
        return cls(table.info.patch_size, reach if shift is None else shift)

    def draw(self, samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
        """The shift of every sample in an epoch, (N, 2): rows and columns.

        Args:
            samples: N.
            seed: Of the run.
            epoch: From 0.
        """
        before, behind = self.size // 2, self.size - 1 - self.size // 2
        rng = np.random.default_rng([seed, epoch, SHIFTS])
        return rng.integers(-min(self.most, behind), min(self.most, before) + 1, (samples, 2))


@dataclass(frozen=True)
class Poses:
    """How windows are flipped and turned in training, with their labels.

    A pose is how many quarter turns, 0 to 3, after a flip of left and right or none, 0 or 1; (0, 0) changes nothing.

    Attributes:
        known: Those that are drawn, each as often as any other.
    """

    known: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, augment: Sequence[str]) -> "Poses":
        """All that flips, turns or both can give.

        Args:
            augment: Some of ``flips`` (of either axis) and ``turns``.
        """
        turns = {(turn, 0) for turn in range(4)} if "turns" in augment else {(0, 0)}
        flips = {(0, 0), (0, 1), (2, 1), (2, 0)} if "flips" in augment else {(0, 0)}
        return cls(tuple(sorted({((turn + more) % 4, flip) for turn, _ in turns for more, flip in flips})))

    def draw(self, samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
        """The pose of every sample in an epoch, (N, 2).

        Args:
            samples: N.
            seed: Of the run.
            epoch: From 0.
        """
        rng = np.random.default_rng([seed, epoch, TURNS])
        return np.array(self.known)[rng.integers(len(self.known), size=samples)]


def posed(arrays: NDArray[Any], poses: NDArray[np.int64]) -> NDArray[Any]:
    """Windows, or their labels, flipped and turned.

    Args:
        arrays: (B, …, P, P).
        poses: (B, 2), the pose of each.

    Returns:
        The same shape.
    """
    result = np.empty_like(arrays)
    for turn, flip in np.unique(poses, axis=0).tolist():
        own = (poses == (turn, flip)).all(1)
        flipped = arrays[own][..., ::-1] if flip else arrays[own]
        result[own] = np.rot90(flipped, turn, (-2, -1))
    return result


class DenseLabels:
    """The labels of a table's pixels, looked up window by window."""

    def __init__(self, table: SceneTable) -> None:
        """Keeps the table; the map of its labels is made at the first look.

        Args:
            table: The training table; any of tiles.
        """
        self._table = table

    @cached_property
    def _labels(self) -> NDArray[np.signedinteger]:
        """Of all pixels of all scenes, ``UNLABELLED`` where no training pixel is."""
        table = self._table
        height, width = table.info.extents.shape
        kind = np.min_scalar_type(min(UNLABELLED, -len(table.info.classes)))
        labels = np.full(height * width, UNLABELLED, kind)
        extents = table.info.extents
        if table.info.tiled:
            known = table.label != UNLABELLED
            numbers = window_numbers(extents, table.info.patch_size, table.row, table.col, table.scene)
            labels[numbers[known]] = table.label[known]
        else:
            labels[extents.numbers(table.row, table.col, table.scene)] = table.label
        return labels

    def around(self, index: NDArray[np.int64], shift: NDArray[np.int64] | None) -> NDArray[np.int64]:
        """The labels of some windows.

        Args:
            index: (B,) sample numbers.
            shift: (B, 2) of each window; None: they are not shifted.

        Returns:
            (B, P, P), ``UNLABELLED`` at pixels that do not count. What is beyond the border of a scene counts in no
            tile: it has been seen inside.
        """
        table, size = self._table, self._table.info.patch_size
        if table.info.tiled and (shift is None or not shift.any()):
            return table.label[index].astype(np.int64)
        shift = np.zeros((len(index), 2), np.int64) if shift is None else shift
        if not table.info.placed:
            labels = np.full((len(index), size, size), UNLABELLED)
            labels[:, size // 2, size // 2] = table.label[index]
            return labels
        place = table.info.extents, size, *table.middles(index, shift)
        labels = self._labels[window_numbers(*place)].astype(np.int64)
        return np.where(inside_scene(*place), labels, UNLABELLED) if table.info.tiled else labels
