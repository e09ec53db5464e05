"""Labels of whole windows: which pixels around a sample train, too, and how far a window may be shifted.

Only pixels of the training table are known here, so that no label of another split can reach a loss.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.task import UNLABELLED
from mamol.data.patches import window_numbers
from mamol.data.scenetable import SceneTable

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


class DenseLabels:
    """The training labels of a scene, looked up window by window."""

    def __init__(self, table: SceneTable) -> None:
        """Keeps the table; the map of its labels is made at the first look.

        Args:
            table: The training table.
        """
        self._table = table

    @cached_property
    def _labels(self) -> NDArray[np.signedinteger]:
        """Of all pixels of all scenes, ``UNLABELLED`` where no training pixel is."""
        table = self._table
        height, width = table.info.extents.shape
        kind = np.min_scalar_type(min(UNLABELLED, -len(table.info.classes)))
        labels = np.full(height * width, UNLABELLED, kind)
        labels[table.info.extents.numbers(table.row, table.col, table.scene)] = table.label
        return labels

    def around(self, index: NDArray[np.int64], shift: NDArray[np.int64]) -> NDArray[np.int64]:
        """The labels of some windows.

        Args:
            index: (B,) sample numbers.
            shift: (B, 2) of each window.

        Returns:
            (B, P, P), ``UNLABELLED`` at pixels that do not train.
        """
        table, size = self._table, self._table.info.patch_size
        if not table.info.placed:
            labels = np.full((len(index), size, size), UNLABELLED)
            labels[:, size // 2, size // 2] = table.label[index]
            return labels
        return self._labels[window_numbers(table.info.extents, size, *table.middles(index, shift))].astype(np.int64)
