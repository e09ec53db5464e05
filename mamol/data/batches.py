"""What is drawn for an epoch: which sensors each sample misses, and which samples make each batch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mamol.core.groups import MissingSettings
from mamol.data import missing
from mamol.data.dense import Poses, Shifts
from mamol.data.epochs import EpochSampler
from mamol.data.serving import Draw
from mamol.data.tables import AnyTable


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
        masks: Masks,
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
