"""A plain LoRA beside the frozen MLP, as large as MaMOL: the control for everything that MaMOL's experts decide.

``h' = h + B A z`` with one update per adapted block, always on. Source: Hu et al. 2021 (arXiv 2106.09685); placed
beside the MLP on ``z = ln_2(x)``, where MaMOL's experts are, instead of inside the attention's projections, and
unscaled.
"""

import torch
from torch import Tensor, nn

from mamol.methods.base import Context, FeedForward, chosen_blocks
from mamol.methods.layered import Layered
from mamol.methods.lora import StackedLoRA
from mamol.methods.mamol import MaMOL, MaMOLOptions
from mamol.models.tower import Tower


class SingleLoRALayer(nn.Module):
    """One low-rank update of one block."""

    def __init__(self, width: int, rank: int) -> None:
        """Makes the update.

        Args:
            width: Token width d.
            rank: Its rank.
        """
        super().__init__()
        self.update = StackedLoRA(1, width, rank)

    def forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """Frozen MLP plus ``B A z``, (N, T, width)."""
        return mlp(z) + self.update(z, z.new_ones(1, 1, 1))


class SingleLoRA(Layered):
    """The update of each chosen block.

    Attributes:
        rank: ``matching_rank`` of MaMOL with the same options.
    """

    def __init__(self, tower: Tower, modalities: int, options: MaMOLOptions) -> None:
        """Makes the method for one tower.

        Args:
            tower: It says width and number of blocks.
            modalities: M.
            options: Those of the MaMOL whose size is matched.
        """
        width, rank = tower.width, matching_rank(tower, modalities, options)
        super().__init__(options.expert_blocks, len(tower.blocks), lambda block: SingleLoRALayer(width, rank))
        self.rank = rank


def matching_rank(tower: Tower, modalities: int, options: MaMOLOptions) -> int:
    """The rank at which the updates together have as many parameters as MaMOL: 235 for ViT-B/16, M = 2.

    A rank costs ``2·width`` parameters per adapted block, so the totals differ by at most ``width`` per block.

    Args:
        tower: It says width and number of blocks.
        modalities: M.
        options: Of that MaMOL.

    Returns:
        At least 1.
    """
    with torch.device("meta"):
        size = sum(p.numel() for p in MaMOL(tower, modalities, options).parameters())
    blocks = chosen_blocks(options.expert_blocks, len(tower.blocks))
    return max(1, round(size / (2 * tower.width * len(blocks))))
