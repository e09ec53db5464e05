"""A head that classifies every pixel of a window, from the pixel and from what lies around it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.head import ALL, HEADS, Head, HeadSizes

INITIAL_STD = 0.02
AROUND = (3, 7)
"""Sides of the squares around a pixel of which it gets mean and deviation, besides those of the whole window."""
LEAST_VARIANCE = 1e-4
"""Added to every variance, so that the root has a gradient where tokens are all alike."""


@HEADS.register("pixels")
class PixelHead(Head):
    """``W [f_1; …; f_M] + b`` at every pixel.

    f are the pixel's token, and mean and standard deviation of the tokens around it: what is there, and how rough it
    is. They count only tokens that a sensor saw, and none beyond the window, so that neither holes nor the border of a
    window look like something on the ground. A modality that did not see the pixel has zeros, whatever is around.

    Attributes:
        linear: From all features of a pixel to the logits; its weight is normal with standard deviation 0.02 at first.
    """

    reads = ALL
    dense = True

    def __init__(self, sizes: HeadSizes) -> None:
        """Makes the head.

        Args:
            sizes: Widths of the features, number of classes, tokens per side.
        """
        super().__init__(sizes)
        self.sides = [*(side for side in AROUND if side < sizes.grid), 2 * sizes.grid - 1]
        self.linear = nn.Linear((1 + 2 * len(self.sides)) * sum(sizes.widths.values()), sizes.classes)
        nn.init.normal_(self.linear.weight, std=INITIAL_STD)
        nn.init.zeros_(self.linear.bias)

    def forward(
        self, features: Mapping[str, Tensor], available: Tensor, seen: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The logits of a batch.

        Args:
            features: Modality to (B, P·P, width), zero at tokens that no sensor saw.
            available: (B, M) bool; not used, as absent features are zero.
            seen: Modality to (B, P·P) bool; None where all tokens of present modalities were seen.

        Returns:
            (B, P, P, K).
        """
        grid = self.sizes.grid
        parts = []
        for name, tokens in features.items():
            here = tokens.transpose(1, 2).unflatten(2, (grid, grid))
            counts = None if seen is None else seen[name].unflatten(1, (grid, grid))[:, None].to(here.dtype)
            around = [each for side in self.sides for each in self._around(here, counts, side)]
            parts += [here, *(each if counts is None else each * counts for each in around)]
        logits: Tensor = self.linear(torch.cat(parts, 1).movedim(1, 3))
        return logits

    def state_for(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The columns of the features: a token, and what is around it."""
        columns = self.columns(names, 1 + 2 * len(self.sides))
        return {"linear.weight": self.linear.weight.detach()[:, columns], "linear.bias": self.linear.bias.detach()}

    @staticmethod
    def _around(here: Tensor, counts: Tensor | None, side: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the tokens that count in a square around each pixel, (B, width, P, P) each."""

        def mean(x: Tensor) -> Tensor:
            if side >= 2 * x.shape[2] - 1:
                return x.mean((2, 3), keepdim=True).expand_as(x)
            return functional.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)

        # In float32: the variance is a small difference of large numbers.
        x = here.float()
        share = 1.0 if counts is None else mean(counts.float()).clamp(min=1 / (2 * x.shape[2]) ** 2)
        first, second = mean(x) / share, mean(x.square()) / share
        variance = (second - first.square()).clamp(min=0) + LEAST_VARIANCE
        return first.to(here.dtype), (variance.sqrt() - LEAST_VARIANCE**0.5).to(here.dtype)
