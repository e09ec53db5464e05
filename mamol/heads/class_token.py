"""The head of the paper: one linear map of the class features of all modalities, side by side."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.head import CLASS, HEADS, Head, HeadSizes

INITIAL_STD = 0.02


@HEADS.register("class")
class ClassTokenHead(Head):
    """``W [f_1; …; f_M] + b``.

    Attributes:
        weight: (K, Σ widths), normal with standard deviation 0.02 at first.
        bias: (K,), zero at first.
    """

    reads = CLASS

    def __init__(self, sizes: HeadSizes) -> None:
        """Makes the head.

        Args:
            sizes: Widths of the features, and number of classes.
        """
        super().__init__(sizes)
        linear = nn.Linear(sum(sizes.widths.values()), sizes.classes)
        self.weight, self.bias = linear.weight, linear.bias
        nn.init.normal_(self.weight, std=INITIAL_STD)
        nn.init.zeros_(self.bias)

    def forward(
        self, features: Mapping[str, Tensor], available: Tensor, seen: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The logits of a batch.

        Args:
            features: Modality to (B, width).
            available: (B, M) bool; not used, as absent features are zero.
            seen: Not used, as tokens are not read.

        Returns:
            (B, K).
        """
        return functional.linear(torch.cat(list(features.values()), 1), self.weight, self.bias)

    def state_for(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The columns of the features."""
        return {"weight": self.weight.detach()[:, self.columns(names)], "bias": self.bias.detach()}
