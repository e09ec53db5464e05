"""Batches of windows for pre-training, drawn from seed and epoch; the same on any number of workers."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mamol.core.groups import MissingSettings
from mamol.data import missing
from mamol.data.epochs import EpochSampler
from mamol.data.ground import Ground, Numbers

AVAILABLE, NATURAL, GROUND, NOISE = "available", "natural", "ground", "noise"
"""Keys of a batch beside the modalities."""


class Unlabelled(NamedTuple):
    """What makes a batch.

    Attributes:
        ground: Its number.
        windows: (B,) rows of its ``natural``.
        available: (B, M) bool, what the encoder gets.
        seed: Of the noise that says which pixels are hidden.
    """

    ground: int
    windows: Numbers
    available: NDArray[np.bool_]
    seed: int


class GroundDataset(Dataset[dict[str, Tensor]]):
    """Grounds whose items are whole batches."""

    def __init__(self, grounds: Sequence[Ground]) -> None:
        """Serves batches.

        Args:
            grounds: In the order of their numbers.
        """
        self.grounds = list(grounds)

    def __len__(self) -> int:
        """Windows of an epoch."""
        return sum(ground.windows for ground in self.grounds)

    def __getitem__(self, drawn: Unlabelled) -> dict[str, Tensor]:
        """A batch.

        Args:
            drawn: Which windows, and what of them.

        Returns:
            Modality to (B, C, P, P) normalised windows, NaN where the sensor saw nothing; ``available`` and ``natural``
            (B, M) bool; ``noise`` (B, M, P·P) in [0, 1); ``ground``, its number.
        """
        drawn = Unlabelled(*drawn)
        ground = self.grounds[drawn.ground]
        batch = {name: torch.from_numpy(ground.read(name, drawn.windows)) for name in ground.names}
        noise = np.random.default_rng(drawn.seed).random((*drawn.available.shape, ground.side**2), np.float32)
        return batch | {
            AVAILABLE: torch.from_numpy(drawn.available),
            NATURAL: torch.from_numpy(ground.natural[drawn.windows]),
            NOISE: torch.from_numpy(noise),
            GROUND: torch.tensor(drawn.ground),
        }


class GroundBatches(EpochSampler[Unlabelled]):
    """Which windows make each batch of a rank: those of a batch are of one ground, batches of all grounds are mixed."""

    def __init__(
        self,
        grounds: Sequence[Ground],
        settings: MissingSettings,
        size: int,
        *,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
        limit: int | None = None,
    ) -> None:
        """Plans the batches.

        Args:
            grounds: In the order of their numbers.
            settings: How many of the windows have modalities hidden, and which: that of ``train``.
            size: Windows per batch and rank.
            seed: Of everything drawn.
            rank: This process among ``ranks``.
            ranks: How many processes share the windows.
            limit: Batches of a rank at most; None: all.
        """
        self.grounds, self.settings, self.size, self.seed = list(grounds), settings, size, seed
        self.rank, self.ranks, self.limit = rank, ranks, limit

    def __len__(self) -> int:
        """Batches of this rank, the same of every rank."""
        batches = sum(-(-ground.windows // self.size) for ground in self.grounds)
        mine = -(-batches // self.ranks)
        return mine if self.limit is None else min(mine, self.limit)

    def __iter__(self) -> Iterator[Unlabelled]:
        """Batch by batch."""
        rng = np.random.default_rng([self.seed, self.epoch])
        every = [draw for number in range(len(self.grounds)) for draw in self._of(number, rng)]
        order = np.resize(rng.permutation(len(every)), -(-len(every) // self.ranks) * self.ranks)
        for number in order[self.rank :: self.ranks][: len(self)]:
            yield every[number]

    def _of(self, number: int, rng: np.random.Generator) -> Iterator[Unlabelled]:
        """The batches of a ground."""
        ground = self.grounds[number]
        index = rng.integers(len(ground.natural), size=ground.windows)
        drawn = self.hidden(ground, ground.windows, self.epoch)
        available = missing.upon(ground.natural[index], drawn)
        for start in range(0, len(index), self.size):
            part = slice(start, start + self.size)
            yield Unlabelled(number, index[part], available[part], int(rng.integers(2**62)))

    def hidden(self, ground: Ground, windows: int, epoch: int) -> missing.Mask:
        """Which modalities the windows of a ground keep, (windows, M).

        Args:
            ground: It.
            windows: How many.
            epoch: From 0.

        Raises:
            MamolError: The settings name a modality that is not there, or would leave nothing.
        """
        ratio, kind = self.settings.of("train")
        fingerprint = hashlib.sha256(ground.name.encode()).hexdigest()
        return missing.draw(
            windows, ground.names, ratio=ratio, kind=kind, seed=self.seed, fingerprint=fingerprint, epoch=epoch
        )


class UnlabelledData:
    """The grounds as a training needs them."""

    def __init__(
        self,
        grounds: Sequence[Ground],
        settings: MissingSettings,
        *,
        seed: int,
        batch_size: int,
        workers: int = 0,
        limit: int | None = None,
    ) -> None:
        """Takes the grounds.

        Args:
            grounds: In the order of their numbers.
            settings: What is hidden.
            seed: Of everything drawn.
            batch_size: Windows per batch of one process.
            workers: Loading processes.
            limit: Batches of one process per epoch at most; None: all.

        Raises:
            MamolError: As of ``GroundBatches.hidden``.
        """
        self.grounds, self.settings, self.seed = list(grounds), settings, seed
        self.batch_size, self.workers, self.limit = batch_size, workers, limit
        for ground in grounds:
            self.batches(0, 1).hidden(ground, 1, 0)

    def batches(self, rank: int, ranks: int) -> GroundBatches:
        """Those of a rank.

        Args:
            rank: Among ``ranks``.
            ranks: How many there are.
        """
        return GroundBatches(
            self.grounds, self.settings, self.batch_size, seed=self.seed, rank=rank, ranks=ranks, limit=self.limit
        )

    def loader(self, rank: int = 0, ranks: int = 1) -> DataLoader[dict[str, Tensor]]:
        """Batches of all grounds.

        Args:
            rank: Among ``ranks``.
            ranks: How many processes there are.
        """
        return DataLoader(
            GroundDataset(self.grounds),
            sampler=self.batches(rank, ranks),
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
