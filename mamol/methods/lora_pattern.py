"""One LoRA per missing pattern: the way that MaMOL's paper argues against, because it grows with ``2^M - 1``.

``h' = h + B_p A_p z`` where p is the pattern of the stream's sample. No published method: a control with MaMOL's kind
of update (arXiv 2511.11460, Eq. 13) and no sharing between patterns at all (see its introduction and section 3.2.1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import one_hot

from mamol.core.backbone import MLP
from mamol.core.merging import LowRank
from mamol.core.method import Pass, Towers, method
from mamol.methods.layered import Layered
from mamol.methods.patterns import pattern_index
from mamol.methods.stacked import StackedLoRA


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

    def forward(self, layer: int, z: Tensor, mlp: MLP, state: Pass) -> Tensor:
        """Frozen MLP plus the update of each stream's pattern.

        Args:
            layer: Block number from 0; not used.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP.
            state: Of this pass; its streams say the patterns.

        Returns:
            (N, T, width).
        """
        return mlp(z) + self.updates(z, one_hot(pattern_index(state.streams.available), self.patterns)[:, None])


@method(
    "lora_pattern",
    summary="one low-rank update per block and missing pattern, growing with 2^M - 1: a control",
    source="with the experts of arXiv 2511.11460, Eq. 13",
    settings=LoRAPatternOptions,
)
class LoRAPattern(Layered[Pass]):
    """The updates of all chosen blocks."""

    def __init__(self, towers: Towers, options: LoRAPatternOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: It says width, number of blocks and M.
            options: Size and place.
        """
        tower = towers.only
        super().__init__(
            options.expert_blocks,
            len(tower.blocks),
            lambda block: LoRAPatternLayer(tower.width, towers.modalities, options.rank),
        )

    def constant(self, present: Sequence[int]) -> dict[int, LowRank]:
        """The updates of the pattern.

        Args:
            present: Numbers of the modalities.
        """
        layers, pattern = cast(Mapping[str, LoRAPatternLayer], self.layers), sum(2**i for i in present) - 1
        return {int(block): LowRank(**layer.updates.state_of([pattern])) for block, layer in layers.items()}
