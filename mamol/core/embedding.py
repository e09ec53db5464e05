"""From what a modality brings to the tokens of a tower: a registry by the kind of input."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mamol.core.backbone import Backbone
from mamol.core.modality import Modality
from mamol.core.registry import Registry
from mamol.core.streams import VISUAL


class Embedding(nn.Module, ABC):
    """The embedding of one modality.

    Attributes:
        tower: The tower that its tokens go through.
        trained: Whether it has weights of its own; otherwise the backbone's are used.
    """

    tower: str = VISUAL
    trained: bool = True

    def __init__(self, modality: Modality, backbone: Backbone, type_start: Tensor | None = None) -> None:
        """Makes the embedding.

        Args:
            modality: Whose.
            backbone: The tower, for its sizes.
            type_start: (width,), where the modality's type embedding begins; None: it has none.
        """
        super().__init__()

    if TYPE_CHECKING:  # nn.Module's own is untyped

        def __call__(self, x: Tensor, backbone: Backbone) -> Tensor:
            """As ``forward``."""

    @abstractmethod
    def forward(self, x: Tensor, backbone: Backbone) -> Tensor:
        """From inputs to the tokens of a tower.

        Args:
            x: (n, …), the inputs of n streams.
            backbone: The tower that they go through.

        Returns:
            (n, T, width).
        """

    def ends(self, x: Tensor) -> Tensor | None:
        """Where each input ends.

        Args:
            x: (n, …), the inputs of n streams.

        Returns:
            (n,) long, of inputs whose end is read; None where the class token is.
        """
        return None

    def valid(self, x: Tensor) -> Tensor | None:
        """Which tokens stand for something that was seen.

        Args:
            x: (n, …), the inputs of n streams.

        Returns:
            (n, T) bool; None if all of them do.
        """
        return None

    def set_normalisation(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Takes the statistics of the training samples, one number per band; ignored where inputs come normalised.

        Args:
            mean: Per band.
            std: Per band.
        """


EMBEDDINGS: Registry[type[Embedding]] = Registry("kind of input")
"""Kind of a modality to its embedding."""
