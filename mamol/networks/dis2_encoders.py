"""What DIS2 does with single modalities: encoders, their own decoders, and pooling of a map to one vector."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.networks.unet import depth_of

WIDTHS = (32, 64, 128, 256)
"""Channels at each level, the finest first."""
SLOPE = 0.2  # of the leaky ReLU
HIDDEN = 128  # of the scores of a pool
Levels = list[Tensor]
"""The maps of each level, (n, C, h, w), the finest first."""


def sides_of(side: int) -> list[int]:
    """The sides of a window and of the map at each level.

    A level halves, but no map has a single position: the attention of the classes over one position says nothing.

    Args:
        side: P, at least 2.
    """
    sides = [side]
    for _ in range(depth_of(side)):
        sides.append(sides[-1] // 2 if sides[-1] >= 4 else sides[-1])
    return sides


def step(before: int, behind: int, *, halves: bool) -> nn.Conv2d:
    """From one level to the next: 4 × 4 with stride 2, or 3 × 3 where the side stays.

    Args:
        before: Channels that come in.
        behind: Channels that go out.
        halves: Whether the side is halved.
    """
    return nn.Conv2d(before, behind, 4, 2, 1) if halves else nn.Conv2d(before, behind, 3, 1, 1)


def step_back(before: int, behind: int, *, doubles: bool) -> nn.ConvTranspose2d:
    """The transposed ``step``.

    Args:
        before: Channels that come in.
        behind: Channels that go out.
        doubles: Whether the side is doubled.
    """
    return nn.ConvTranspose2d(before, behind, 4, 2, 1) if doubles else nn.ConvTranspose2d(before, behind, 3, 1, 1)


class Encoder(nn.Module):
    """A convolution for each level; batch norm but at the first and the last, as in the source.

    The first convolution of several modalities is the sum of one for each, bias included, over those that are present.

    Attributes:
        enter: The first convolution of each modality that it reads.
        deeper: From level to level.
    """

    def __init__(self, bands: Sequence[int], side: int) -> None:
        """Makes it; the weights are torch's.

        Args:
            bands: Of each modality that it reads.
            side: P.
        """
        super().__init__()
        sides = sides_of(side)
        halves = [coarse < fine for fine, coarse in pairwise(sides)]
        widths = WIDTHS[: len(halves)]
        self.enter = nn.ModuleList(step(count, widths[0], halves=halves[0]) for count in bands)
        self.deeper = nn.ModuleList(
            nn.Sequential(
                step(widths[level - 1], widths[level], halves=halves[level]),
                nn.BatchNorm2d(widths[level]) if level < len(widths) - 1 else nn.Identity(),
            )
            for level in range(1, len(widths))
        )

    def forward(self, windows: Sequence[Tensor], present: Tensor) -> Levels:
        """The maps of each level, in front of their activation.

        Args:
            windows: (n, C, P, P) of each modality that it reads.
            present: (n, modalities that it reads) bool.
        """
        entered = [
            convolution(window).where(there[:, None, None, None], 0)
            for convolution, window, there in zip(self.enter, windows, present.T, strict=True)
        ]
        levels = [torch.stack(entered).sum(0)]
        for layer in self.deeper:
            levels.append(layer(functional.leaky_relu(levels[-1], SLOPE)))
        return levels


class OwnDecoder(nn.Module):
    """A U-Net's way back from the maps of one modality alone; it only supervises the encoder.

    Attributes:
        ups: Transposed convolutions, the coarsest first.
        norms: Behind all but the last.
    """

    def __init__(self, side: int, classes: int) -> None:
        """Makes it.

        Args:
            side: P.
            classes: K.
        """
        super().__init__()
        sides = sides_of(side)
        widths = WIDTHS[: len(sides) - 1]
        behind = (*widths[-2::-1], classes)
        before = (widths[-1], *(2 * width for width in behind[:-1]))
        doubles = [coarse < fine for fine, coarse in pairwise(sides)][::-1]
        self.ups = nn.ModuleList(
            step_back(*pair, doubles=each) for pair, each in zip(zip(before, behind, strict=True), doubles, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in behind[:-1])

    def forward(self, levels: Levels, side: int) -> Tensor:
        """Logits of all pixels, (n, K, P, P).

        Args:
            levels: Of the encoder.
            side: P.
        """
        x = levels[-1]
        for up, norm, skip in zip(self.ups, self.norms, levels[-2::-1], strict=False):
            x = torch.cat([norm(up(functional.relu(x), list(skip.shape[2:]))), skip], 1)
        return cast(Tensor, self.ups[-1](functional.relu(x), [side, side]))


class Pool(nn.Module):
    """From a map to one vector: the mean of its positions, weighted by a softmax of scores that a small MLP gives.

    Attributes:
        scores: The MLP.
    """

    def __init__(self, width: int) -> None:
        """Makes it.

        Args:
            width: C.
        """
        super().__init__()
        self.scores = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Pools.

        Args:
            x: (n, C, h, w).

        Returns:
            (n, C).
        """
        positions = x.flatten(2).transpose(1, 2)
        return (positions * self.scores(positions).softmax(1)).sum(1)


class Pools(nn.ModuleList):
    """A pool for each level but the coarsest."""

    def __init__(self, side: int) -> None:
        """Makes them.

        Args:
            side: P.
        """
        super().__init__(Pool(width) for width in WIDTHS[: depth_of(side) - 1])

    def forward(self, levels: Levels) -> list[Tensor]:
        """A vector of each level, (n, C).

        Args:
            levels: The coarsest may be there, and is left out.
        """
        return [pool(level) for pool, level in zip(self, levels, strict=False)]
