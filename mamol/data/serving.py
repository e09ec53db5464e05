"""A table serves batches: the windows, labels and places of the samples that were drawn."""

from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mamol.core.task import UNLABELLED
from mamol.data import missing
from mamol.data.dense import DenseLabels, posed
from mamol.data.imagetext.loading import ImageTextDataset
from mamol.data.imagetext.table import ImageTextTable
from mamol.data.scenetable import SceneTable
from mamol.data.tables import AnyTable


class Draw(NamedTuple):
    """What makes a batch.

    Attributes:
        samples: (B,) sample numbers.
        available: (B, M) bool, which modalities each has.
        shift: (B, 2) pixels by which each window is shifted; None: none is.
        pose: (B, 2), how each is flipped and turned; None: none is.
    """

    samples: NDArray[np.int64]
    available: missing.Mask
    shift: NDArray[np.int64] | None = None
    pose: NDArray[np.int64] | None = None


BatchDataset = Dataset[dict[str, Tensor]]


class WindowDataset(BatchDataset):
    """A scene's table whose items are whole batches: one vectorised gather per modality."""

    def __init__(
        self, table: SceneTable, modalities: Sequence[str], *, complete: bool = False, dense: bool = False
    ) -> None:
        """Serves batches.

        Args:
            table: The split.
            modalities: Names in the table; their order is that of ``available``.
            complete: Whether absent windows are read, too, for methods that make a complete pass.
            dense: Whether labels are those of all pixels of the windows, which are the table's samples.
        """
        self.table = table
        self.modalities = tuple(modalities)
        self.complete = complete
        self.labels = DenseLabels(table) if dense else None

    def __len__(self) -> int:
        """How many samples the table has."""
        return len(self.table)

    def __getitem__(self, drawn: Draw) -> dict[str, Tensor]:
        """A batch.

        Args:
            drawn: Which samples, and what of them.

        Returns:
            Modality to (B, C, P, P) float32 windows, zero where absent unless ``complete``; ``available`` (B, M) bool;
            ``label``, ``row``, ``col`` and ``index``, (B,) int64; ``label`` (B, P, P) if dense, ``UNLABELLED`` where
            no pixel trains, or no present modality saw it.
        """
        index, available, shift, pose = Draw(*drawn)
        windows = {name: self._windows(name, index, available[:, i], shift) for i, name in enumerate(self.modalities)}
        arrays: dict[str, NDArray[Any]] = {**windows, "label": self._label(windows, index, available, shift)}
        if pose is not None:
            arrays = {name: posed(values, pose) for name, values in arrays.items()}
        columns = {name: column[index].astype(np.int64) for name, column in self._places.items()}
        batch = {name: torch.from_numpy(values) for name, values in {**arrays, **columns}.items()}
        return batch | {"available": torch.from_numpy(available), "index": torch.from_numpy(index)}

    @property
    def _places(self) -> dict[str, NDArray[np.int32]]:
        return {"row": self.table.row, "col": self.table.col}

    def _label(
        self,
        windows: Mapping[str, NDArray[np.float32]],
        index: NDArray[np.int64],
        available: missing.Mask,
        shift: NDArray[np.int64] | None,
    ) -> NDArray[np.int64]:
        if self.labels is None:
            return self.table.label[index].astype(np.int64)
        labels = self.labels.around(index, shift)
        labels[~_seen(windows.values(), available)] = UNLABELLED
        return labels

    def _windows(
        self, name: str, index: NDArray[np.int64], present: NDArray[np.bool_], shift: NDArray[np.int64] | None
    ) -> NDArray[np.float32]:
        if self.complete or present.all():
            return self.table.windows(name, index, shift)
        there = self.table.windows(name, index[present], None if shift is None else shift[present])
        windows = np.zeros((len(index), *there.shape[1:]), np.float32)
        windows[present] = there
        return windows


def _seen(windows: Iterable[NDArray[np.float32]], available: missing.Mask) -> NDArray[np.bool_]:
    """(B, P, P), which pixels a present modality saw."""
    each = (~np.isnan(x[:, 0]) & present[:, None, None] for x, present in zip(windows, available.T, strict=True))
    return np.logical_or.reduce(list(each))


@singledispatch
def dataset_of(
    table: AnyTable, modalities: Sequence[str], *, image_size: int = 0, complete: bool = False, dense: bool = False
) -> BatchDataset:
    """The dataset that serves a table.

    Args:
        table: Of any kind.
        modalities: Names in the order of the features.
        image_size: Side of images in pixels, where there are images.
        complete: Whether what is absent is read, too.
        dense: Whether labels are those of all pixels of a window; of tiles they always are.

    Raises:
        TypeError: There is none for this kind of table.
    """
    raise TypeError(f"no dataset for {type(table).__name__}; register one with dataset_of.register")


@dataset_of.register
def _windows_of(
    table: SceneTable, modalities: Sequence[str], *, image_size: int = 0, complete: bool = False, dense: bool = False
) -> BatchDataset:
    return WindowDataset(table, modalities, complete=complete, dense=dense or table.info.tiled)


@dataset_of.register
def _images_and_texts_of(
    table: ImageTextTable,
    modalities: Sequence[str],
    *,
    image_size: int = 0,
    complete: bool = False,
    dense: bool = False,
) -> BatchDataset:
    return ImageTextDataset(table, modalities, image_size, complete=complete)
