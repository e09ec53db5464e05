"""From features to logits: what a head says of itself and gets; and how ``head=`` finds one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

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


HEADS: Registry[type[Head]] = Registry("head")
"""What ``head=`` can name."""
