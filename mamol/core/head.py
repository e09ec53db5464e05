"""From features to logits: what a head says of itself and gets; and how ``head=`` finds one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mamol.core.errors import MamolError
from mamol.core.registry import Registry

CLASS, ALL = "class", "all"
"""Which tokens of a stream a head reads: the class token (the end token of a text), or all that were embedded."""


@dataclass(frozen=True)
class HeadSizes:
    """What a head is made for.

    Attributes:
        widths: Modality to the width of its features, in the order in which they come.
        classes: K.
        grid: Tokens per side of a window.
    """

    widths: Mapping[str, int]
    classes: int
    grid: int


class Head(nn.Module, ABC):
    """A head.

    Attributes:
        reads: ``class`` or ``all``.
        dense: Whether there are logits for every token of the grid: (B, P, P, K) instead of (B, K).
    """

    reads: str = CLASS
    dense: bool = False

    def __init__(self, sizes: HeadSizes) -> None:
        """Makes the head.

        Args:
            sizes: What comes in and goes out.
        """
        super().__init__()
        self.sizes = sizes

    if TYPE_CHECKING:  # nn.Module's own is untyped

        def __call__(
            self, features: Mapping[str, Tensor], available: Tensor, seen: Mapping[str, Tensor] | None = None
        ) -> Tensor:
            """As ``forward``."""

    @abstractmethod
    def forward(
        self, features: Mapping[str, Tensor], available: Tensor, seen: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """The logits of a batch.

        Args:
            features: Modality to (B, width), or to (B, T, width) of a head that reads all tokens; zero where absent,
                or where the sensor saw nothing.
                Where modalities meet in one sequence and its class token is read, there is one entry for all.
            available: (B, M) bool, in the order of the network's modalities.
            seen: Modality to (B, T) bool, which tokens stand for something that a sensor saw, False where absent; for
                heads that read all tokens. None where all tokens of present modalities do.

        Returns:
            (B, K); (B, P, P, K) of a dense head, row by row.
        """

    def state_for(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The weights of the same head that gets some features alone, as if all others were zero.

        Args:
            names: Of the features, in their order.

        Raises:
            MamolError: The head cannot say them, and features are left out.
        """
        if list(names) == list(self.sizes.widths):
            return self.state_dict()
        raise MamolError(f"head {type(self).__name__}: features cannot be taken from it; it has no state_for")

    def columns(self, names: Sequence[str], times: int = 1) -> Tensor:
        """Where some features stand side by side with all others.

        Args:
            names: Of the features, in their order.
            times: How often its width a feature takes there.

        Returns:
            Numbers, ascending.
        """
        taken = [times * width for width in self.sizes.widths.values()]
        parts = torch.arange(sum(taken)).split(taken)
        return torch.cat([own for name, own in zip(self.sizes.widths, parts, strict=True) if name in names])


HEADS: Registry[type[Head]] = Registry("head")
"""What ``head=`` can name."""
