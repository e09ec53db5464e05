"""A head that classifies every pixel of a window, from the pixel and from what lies around it."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.head import ALL, HEADS, Head, HeadSizes

INITIAL_STD = 0.02
AROUND = (3, 7)
"""Sides of the squares around a pixel whose means it gets, besides that of the whole window."""


@HEADS.register("pixels")
class PixelHead(Head):
    """``W [f_1; …; f_M] + b`` at every pixel, f being the pixel's token and the means of the tokens around it.

    A mean counts only tokens that a sensor saw, and none beyond the window, so that neither holes nor the border of a
    window look like something on the ground.

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
        self.around = [side for side in AROUND if side < sizes.grid]
        self.linear = nn.Linear((len(self.around) + 2) * sum(sizes.widths.values()), sizes.classes)
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
            parts += [here, *(self._mean(here, counts, side) for side in (*self.around, 2 * grid - 1))]
        logits: Tensor = self.linear(torch.cat(parts, 1).movedim(1, 3))
        return logits

    @staticmethod
    def _mean(here: Tensor, counts: Tensor | None, side: int) -> Tensor:
        """Of the tokens that count in a square around each pixel, (B, width, P, P)."""
        if side >= 2 * here.shape[2] - 1:
            total = here.sum((2, 3), keepdim=True)
            number = here.shape[2] * here.shape[3] if counts is None else counts.sum((2, 3), keepdim=True).clamp(min=1)
            return (total / number).expand_as(here)
        mean = functional.avg_pool2d(here, side, 1, side // 2, count_include_pad=False)
        if counts is None:
            return mean
        share = functional.avg_pool2d(counts, side, 1, side // 2, count_include_pad=False)
        return mean / share.clamp(min=1 / side**2)
