"""One LoRA per missing pattern: the way that MaMOL's paper argues against, because it grows with ``2^M - 1``.

``h' = h + B_p A_p z`` where p is the pattern of the stream's sample. No published method: a control with MaMOL's kind
of update (arXiv 2511.11460, Eq. 13) and no sharing between patterns at all (see its introduction and section 3.2.1).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import one_hot

from mamol.methods.base import Context, FeedForward
from mamol.methods.layered import Layered
from mamol.methods.lora import StackedLoRA
from mamol.methods.patterns import pattern_index
from mamol.models.tower import Tower


@dataclass(frozen=True)
class LoRAPatternOptions:
    """Size and place of the updates.

    Attributes:
        rank: Rank of every update.
        expert_blocks: Blocks with updates.
    """

    rank: int = 8
    expert_blocks: str | Sequence[int] = "last6"


class LoRAPatternLayer(nn.Module):
    """The updates of one block, ``(2^M - 1)·2·rank·width`` parameters."""

    def __init__(self, width: int, modalities: int, rank: int) -> None:
        """Makes the updates.

        Args:
            width: Token width d.
            modalities: M.
            rank: Rank of every update.
        """
        super().__init__()
        self.patterns = 2**modalities - 1
        self.updates = StackedLoRA(self.patterns, width, rank)

    def forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """Frozen MLP plus the update of each stream's pattern, (N, T, width)."""
        return mlp(z) + self.updates(z, one_hot(pattern_index(context.available), self.patterns)[:, None])


class LoRAPattern(Layered):
    """The updates of all chosen blocks."""

    def __init__(self, tower: Tower, modalities: int, options: LoRAPatternOptions) -> None:
        """Makes the method for one tower.

        Args:
            tower: It says width and number of blocks.
            modalities: M.
            options: Size and place.
        """
        super().__init__(
            options.expert_blocks,
            len(tower.blocks),
            lambda block: LoRAPatternLayer(tower.width, modalities, options.rank),
        )
