"""A plain LoRA beside the frozen MLP, as large as MaMOL: the control for everything that MaMOL's experts decide.

``h' = h + B A z`` with one update per adapted block, always on. Source: Hu et al. 2021 (arXiv 2106.09685); placed
beside the MLP on ``z = ln_2(x)``, where MaMOL's experts are, instead of inside the attention's projections, and
unscaled.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mamol.core.backbone import MLP, chosen_blocks
from mamol.core.merging import LowRank
from mamol.core.method import Pass, Towers, method
from mamol.methods.layered import Layered
from mamol.methods.mamol import MaMOL, MaMOLOptions
from mamol.methods.stacked import StackedLoRA


class LoRALayer(nn.Module):
    """One low-rank update of one block."""

    def __init__(self, width: int, rank: int) -> None:
        """Makes the update.

        Args:
            width: Token width d.
            rank: Its rank.
        """
        super().__init__()
        self.update = StackedLoRA(1, width, rank)

    def forward(self, layer: int, z: Tensor, mlp: MLP, state: Pass) -> Tensor:
        """Frozen MLP plus ``B A z``.

        Args:
            layer: Block number from 0; not used.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP.
            state: Of this pass; not used.

        Returns:
            (N, T, width).
        """
        return mlp(z) + self.update(z, z.new_ones(1, 1, 1))


@method(
    "lora",
    summary="one low-rank update per block, always on, as many parameters as MaMOL: the control",
    source="Hu et al. 2021, arXiv 2106.09685",
    settings=MaMOLOptions,
)
class LoRA(Layered[Pass]):
    """The update of each chosen block.

    Attributes:
        rank: ``matching_rank`` of MaMOL with the same options.
    """

    def __init__(self, towers: Towers, options: MaMOLOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: It says width, number of blocks and M.
            options: Those of the MaMOL whose size is matched.
        """
        width, rank, blocks = towers.only.width, matching_rank(towers, options), len(towers.only.blocks)
        super().__init__(options.expert_blocks, blocks, lambda block: LoRALayer(width, rank))
        self.rank = rank

    def constant(self, present: Sequence[int]) -> dict[int, LowRank]:
        """The updates themselves.

        Args:
            present: Not used; they are the same under all patterns.
        """
        layers = cast(Mapping[str, LoRALayer], self.layers)
        return {int(block): LowRank(**layer.update.state_of([0])) for block, layer in layers.items()}


def matching_rank(towers: Towers, options: MaMOLOptions) -> int:
    """The rank at which the updates together have as many parameters as MaMOL: 235 for ViT-B/16, M = 2.

    A rank costs ``2·width`` parameters per adapted block, so the totals differ by at most ``width`` per block.

    Args:
        towers: One tower; it says width, number of blocks and M.
        options: Of that MaMOL.

    Returns:
        At least 1.
    """
    with torch.device("meta"):
        size = sum(p.numel() for p in MaMOL(towers, options).parameters())
    tower = towers.only
    blocks = chosen_blocks(options.expert_blocks, len(tower.blocks))
    return max(1, round(size / (2 * tower.width * len(blocks))))
