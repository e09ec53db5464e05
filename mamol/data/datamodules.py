"""Tables and missing patterns become batches, the same on any number of workers and ranks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import singledispatch
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mamol.core.errors import MamolError
from mamol.core.groups import MissingSettings
from mamol.core.names import SPLITS
from mamol.core.task import UNLABELLED
from mamol.data import missing
from mamol.data.dense import DenseLabels, Poses, Shifts, posed
from mamol.data.epochs import EpochSampler
from mamol.data.imagetext.loading import ImageTextDataset
from mamol.data.imagetext.registry import canonical_name
from mamol.data.imagetext.table import ImageTextTable
from mamol.data.scenetable import SceneTable
from mamol.data.tables import AnyTable, open_tables


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


class Batches(EpochSampler[Draw]):
    """Which samples and which of their modalities make each batch of a rank.

    Everything is drawn here, in the main process, from the seed and the epoch; workers only gather.
    Training gives every rank the same number of batches, wrapping round where samples run out; evaluation gives
    every sample to exactly one rank.

    A limit leaves training the first batches of each epoch's order, and evaluation a fixed draw over the whole table,
    in the table's order: tables are ordered by class or place, so that their first rows stand for nothing.
    """

    def __init__(
        self,
        masks: "Masks",
        samples: int,
        size: int,
        *,
        seed: int = 0,
        shuffle: bool,
        rank: int = 0,
        ranks: int = 1,
        limit: int | None = None,
        shifts: Shifts | None = None,
        poses: Poses | None = None,
    ) -> None:
        """Plans the batches.

        Args:
            masks: The missing patterns of an epoch.
            samples: How many samples there are.
            size: Samples per batch and rank.
            seed: Of the order.
            shuffle: Training order; False is the table's order.
            rank: This process among ``ranks``.
            ranks: How many processes share the samples.
            limit: Batches of a rank at most; None: all.
            shifts: How windows are shifted; None: they are not.
            poses: How they are flipped and turned; None: they are not.
        """
        self.masks, self.samples, self.size, self.seed = masks, samples, size, seed
        self.shuffle, self.rank, self.ranks = shuffle, rank, ranks
        self.limit, self.shifts, self.poses = limit, shifts, poses

    def __len__(self) -> int:
        """Batches of this rank."""
        return -(-len(self._mine()) // self.size)

    def __iter__(self) -> Iterator[Draw]:
        """Batch by batch."""
        mask = self.masks.of_epoch(self.epoch)
        changes = [
            None if each is None else each.draw(self.samples, self.seed, self.epoch)
            for each in (self.shifts, self.poses)
        ]
        mine = self._mine()
        for start in range(0, len(mine), self.size):
            index = mine[start : start + self.size]
            yield Draw(index, mask[index], *(None if drawn is None else drawn[index] for drawn in changes))

    def _mine(self) -> NDArray[np.int64]:
        order = np.arange(self.samples)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
            order = np.resize(order, -(-self.samples // self.ranks) * self.ranks)
        if self.limit is None:
            return order[self.rank :: self.ranks]
        most = self.limit * self.size
        if not self.shuffle and most * self.ranks < self.samples:
            order = np.sort(np.random.default_rng(self.seed).choice(order, most * self.ranks, replace=False))
        return order[self.rank :: self.ranks][:most]


class Masks:
    """The missing patterns of one split: fixed, or drawn anew for each epoch.

    All samples of an item, such as the plots of a movie, miss the same.

    Attributes:
        natural: (N, M) bool, what is there by nature; None if everything is.
        first: (N, M) bool of the first epoch, True where present.
        spared: Samples of the first epoch whose last modality the draw would have taken; they keep what they have.
    """

    def __init__(
        self, table: AnyTable, modalities: Sequence[str], split: str, settings: MissingSettings, seed: int
    ) -> None:
        """Checks that the settings can be drawn, by drawing the first epoch.

        Args:
            table: The samples.
            modalities: Names in the order of the features.
            split: Which it is; the settings can differ by split.
            settings: What goes missing.
            seed: Of the run.

        Raises:
            MamolError: The settings name a modality that is not there, or would leave nothing.
        """
        self.table, self.modalities, self.split, self.settings = table, tuple(modalities), split, settings
        self.seed = seed
        self.natural = table.natural_of(modalities)
        self.anew = settings.resample_missing and split == "train"
        drawn = self._draw(0)
        self.first = drawn if self.natural is None else missing.upon(self.natural, drawn)
        self.spared = 0 if self.natural is None else int((~(drawn & self.natural).any(1)).sum())

    def of_epoch(self, epoch: int) -> missing.Mask:
        """(N, M) bool, True where present.

        Args:
            epoch: From 0.
        """
        if not (self.anew and epoch):
            return self.first
        drawn = self._draw(epoch)
        return drawn if self.natural is None else missing.upon(self.natural, drawn)

    def _draw(self, epoch: int) -> missing.Mask:
        if self.table.group is None:
            drawn = self._draw_items(len(self.table), epoch)
        else:
            items, item = np.unique(self.table.group, return_inverse=True)
            drawn = self._draw_items(len(items), epoch)[item]
        return drawn

    def _draw_items(self, items: int, epoch: int) -> missing.Mask:
        settings = self.settings
        ratio, kind = settings.of(self.split)
        named: Mapping[str, Any] = {"seed": self.seed, "fingerprint": self.table.fingerprint, "epoch": epoch}
        if settings.availability and not settings.overridden(self.split):
            return missing.draw_availability(
                items, settings.availability, self.modalities, reading=settings.availability_reading, **named
            )
        return missing.draw(items, self.modalities, ratio=ratio, kind=kind, **named)


class MultimodalData(pl.LightningDataModule):
    """The three tables of a folder with their missing patterns.

    Attributes:
        tables: Split to table.
        info: What the training table says about itself.
        modalities: Names in the order of the features.
        masks: Split to missing patterns.
    """

    def __init__(
        self,
        data_root: Path | str,
        modalities: Sequence[str] = (),
        missing: MissingSettings | None = None,
        *,
        seed: int = 0,
        dataset: str = "",
        batch_size: int = 128,
        workers: int = 0,
        image_size: int = 0,
        complete: bool = False,
        limit: int | None = None,
    ) -> None:
        """Opens the tables and draws the patterns.

        Args:
            data_root: Folder that make_arrow.py wrote.
            modalities: Those to use, in this order; empty: all.
            missing: What goes missing; None is the paper's setting.
            seed: Of order and missing patterns.
            dataset: Name of the dataset that the tables have to be of; empty: any.
            batch_size: Samples per batch of one process.
            workers: Loading processes.
            image_size: Side of images in pixels, where there are images.
            complete: Whether training batches hold what is missing, too.
            limit: Batches of one process per epoch and split at most; None: all.

        Raises:
            MamolError: Tables missing, unreadable, of another dataset or without a modality asked for.
        """
        super().__init__()
        if not str(data_root):
            raise MamolError("data_root is not set: data_root=<folder that make_arrow.py wrote>")
        self.tables = open_tables(Path(data_root))
        self.info = self.tables["train"].info
        self.seed, self.batch_size, self.workers = seed, batch_size, workers
        self.image_size, self.complete, self.limit = image_size, complete, limit
        if dataset and canonical_name(dataset) != self.info.dataset:
            raise MamolError(
                f"data_root={data_root} holds {self.info.dataset}, not dataset={dataset}; "
                "give the other folder, or dataset='' to take any"
            )
        self.modalities = tuple(modalities) or self.info.names
        absent = [name for name in self.modalities if name not in self.info.names]
        if absent:
            raise MamolError(
                f"modalities={list(self.modalities)}: {data_root} has only "
                f"{', '.join(self.info.names)}; make the table with --modalities {','.join(self.modalities)}"
            )
        settings = MissingSettings() if missing is None else missing
        self.masks = {s: Masks(self.tables[s], self.modalities, s, settings, seed) for s in SPLITS}
        self.shifts: Shifts | None = None
        self.poses: Poses | None = None

    def serve_pixels(self, shift: int | None, augment: Sequence[str] = ()) -> None:
        """Makes the training batches those of a dense head: shifted windows, and the labels of all their pixels.

        Args:
            shift: Pixels by which windows may be shifted; None: as far as the table allows.
            augment: Some of ``flips`` and ``turns``.

        Raises:
            MamolError: The tables are not of scenes, or do not allow it.
        """
        table = self.tables["train"]
        if not isinstance(table, SceneTable):
            raise MamolError(f"{table.path.parent}: holds no windows of scenes, whose pixels a head could classify")
        self.shifts = Shifts.wanted(table, shift)
        self.poses = Poses.of(augment) if augment else None

    def realised_missing(self) -> dict[str, Any]:
        """Split to counts of its missing patterns as drawn; see ``mamol.data.missing.realised``."""
        return {s: missing.realised(m.first, self.modalities, m.natural, m.spared) for s, m in self.masks.items()}

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Shuffled batches of the training table."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of the validation table."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Batches of the test table."""
        return self._loader("test")

    def _loader(self, split: str) -> DataLoader[dict[str, Tensor]]:
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        training = split == "train"
        batches = Batches(
            self.masks[split],
            len(self.tables[split]),
            self.batch_size,
            seed=self.seed,
            shuffle=training,
            rank=rank,
            ranks=ranks,
            limit=self.limit,
            shifts=self.shifts if training else None,
            poses=self.poses if training else None,
        )
        return DataLoader(
            dataset_of(
                self.tables[split],
                self.modalities,
                image_size=self.image_size,
                complete=self.complete and training,
                dense=self.shifts is not None and training,
            ),
            sampler=batches,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
