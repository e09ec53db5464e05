"""Tables and missing patterns become batches, the same on any number of workers and ranks."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mamol.data import missing
from mamol.data.imagetext.loading import ImageTextDataset
from mamol.data.tables import AnyTable, Table, open_tables
from mamol.errors import MamolError
from mamol.models.architectures import image_size_of
from mamol.settings import SPLITS, Settings

Draw = tuple[NDArray[np.int64], missing.Mask]


class WindowDataset(Dataset[dict[str, Tensor]]):
    """A table whose items are whole batches: one vectorised gather per modality."""

    def __init__(self, table: Table, modalities: Sequence[str], fill: float = 0.0) -> None:
        """Serves batches of ``table`` with these modalities, in this order; absent windows hold ``fill``."""
        self.table = table
        self.fill = fill
        self.modalities = tuple(modalities)

    def __len__(self) -> int:
        """How many samples the table has."""
        return len(self.table)

    def __getitem__(self, drawn: Draw) -> dict[str, Tensor]:
        """A batch.

        Args:
            drawn: Sample numbers (B,) and which modalities each has (B, M) bool.

        Returns:
            Modality to (B, C, P, P) float32 windows, ``fill`` where absent; ``available`` (B, M) bool; ``label``,
            ``row``, ``col`` and ``index``, (B,) int64.
        """
        index, available = drawn
        batch = {}
        for i, name in enumerate(self.modalities):
            windows = self.table.windows(name, index)
            windows[~available[:, i]] = self.fill
            batch[name] = torch.from_numpy(windows)
        columns = {"label": self.table.label, "row": self.table.row, "col": self.table.col}
        batch |= {name: torch.from_numpy(column[index].astype(np.int64)) for name, column in columns.items()}
        return batch | {"available": torch.from_numpy(available), "index": torch.from_numpy(index)}


BatchDataset = WindowDataset | ImageTextDataset


def dataset_of(
    table: AnyTable, modalities: Sequence[str], backbone: str, image_size: int | None, fill: float = 0.0
) -> BatchDataset:
    """The dataset that serves a table.

    Args:
        table: Of either kind.
        modalities: Names in the order of the features.
        backbone: Whose images are wanted.
        image_size: Their side in pixels; None is the backbone's own.
        fill: What absent windows hold.
    """
    if isinstance(table, Table):
        return WindowDataset(table, modalities, fill)
    return ImageTextDataset(table, modalities, image_size_of(backbone, image_size))


class Batches(Sampler[Draw]):
    """Which samples and which of their modalities make each batch of a rank.

    Everything is drawn here, in the main process, from the seed and the epoch; workers only gather.
    Training gives every rank the same number of batches, wrapping round where samples run out; evaluation gives
    every sample to exactly one rank.
    """

    def __init__(
        self, masks: "Masks", samples: int, size: int, *, seed: int = 0, shuffle: bool, rank: int = 0, ranks: int = 1
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
        """
        self.masks, self.samples, self.size, self.seed = masks, samples, size, seed
        self.shuffle, self.rank, self.ranks = shuffle, rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this in front of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches of this rank."""
        return -(-len(self._mine()) // self.size)

    def __iter__(self) -> Iterator[Draw]:
        """Sample numbers and availability, batch by batch."""
        mask = self.masks.of_epoch(self.epoch)
        mine = self._mine()
        for start in range(0, len(mine), self.size):
            index = mine[start : start + self.size]
            yield index, mask[index]

    def _mine(self) -> NDArray[np.int64]:
        order = np.arange(self.samples)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(order)
            order = np.resize(order, -(-self.samples // self.ranks) * self.ranks)
        return order[self.rank :: self.ranks]


class Masks:
    """The missing patterns of one split: fixed, or drawn anew for each epoch.

    All samples of an item, such as the plots of a movie, miss the same.
    """

    def __init__(self, table: AnyTable, modalities: Sequence[str], split: str, settings: Settings) -> None:
        """Checks that the settings can be drawn, by drawing the first epoch."""
        self.table, self.modalities, self.split, self.settings = table, tuple(modalities), split, settings
        self.anew = settings.resample_missing and split == "train"
        self.first = self._draw(0)

    def of_epoch(self, epoch: int) -> missing.Mask:
        """(N, M) bool, True where present."""
        return self._draw(epoch) if self.anew and epoch else self.first

    def _draw(self, epoch: int) -> missing.Mask:
        if self.table.group is None:
            return self._draw_items(len(self.table), epoch)
        items, item = np.unique(self.table.group, return_inverse=True)
        return self._draw_items(len(items), epoch)[item]

    def _draw_items(self, items: int, epoch: int) -> missing.Mask:
        settings, fingerprint = self.settings, self.table.fingerprint
        ratio, kind = settings.missing(self.split)
        overridden = self.split == "test" and not (settings.test_ratio is None and settings.test_type is None)
        if settings.availability and not overridden:
            return missing.draw_availability(
                items,
                settings.availability,
                self.modalities,
                reading=settings.availability_reading,
                seed=settings.seed + epoch,
                fingerprint=fingerprint,
            )
        return missing.draw(
            items,
            self.modalities,
            ratio=ratio,
            kind=kind,
            seed=settings.seed,
            fingerprint=fingerprint,
            epoch=epoch,
        )


class MultimodalData(pl.LightningDataModule):
    """The three tables of a folder with their missing patterns.

    Attributes:
        tables: Split to table.
        modalities: Names in the order of the features.
        masks: Split to missing patterns.
    """

    def __init__(self, settings: Settings) -> None:
        """Opens the tables and draws the patterns.

        Args:
            settings: The run.

        Raises:
            MamolError: Tables missing, unreadable, of another dataset or without a modality asked for.
        """
        super().__init__()
        if not settings.data_root:
            raise MamolError("data_root is not set: data_root=<folder that make_arrow.py wrote>")
        self.settings = settings
        self.tables = open_tables(Path(settings.data_root))
        self.info = self.tables["train"].info
        if settings.dataset and settings.dataset != self.info.dataset:
            raise MamolError(
                f"data_root={settings.data_root} holds {self.info.dataset}, not dataset={settings.dataset}; "
                "give the other folder, or dataset='' to take any"
            )
        self.modalities = settings.modalities or tuple(self.info.modalities)
        absent = [name for name in self.modalities if name not in self.info.modalities]
        if absent:
            raise MamolError(
                f"modalities={list(self.modalities)}: {settings.data_root} has only "
                f"{', '.join(self.info.modalities)}; make the table with --modalities {','.join(self.modalities)}"
            )
        self.masks = {s: Masks(self.tables[s], self.modalities, s, settings) for s in SPLITS}

    def dataset(self, split: str) -> BatchDataset:
        """What serves the batches of a split."""
        s = self.settings
        return dataset_of(self.tables[split], self.modalities, s.backbone, s.image_size, s.missing_fill)

    def realised_missing(self) -> dict[str, Any]:
        """Per split, what the missing patterns came to."""
        return {split: missing.realised(masks.first, self.modalities) for split, masks in self.masks.items()}

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
        batches = Batches(
            self.masks[split],
            len(self.tables[split]),
            self.settings.per_gpu_batchsize,
            seed=self.settings.seed,
            shuffle=split == "train",
            rank=rank,
            ranks=ranks,
        )
        return DataLoader(
            self.dataset(split),
            sampler=batches,
            batch_size=None,
            num_workers=self.settings.num_workers,
            persistent_workers=self.settings.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
