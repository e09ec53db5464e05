"""Plain ViTs of timm's ``VisionTransformer``: positions are added to the tokens. Supervised, MAE, DINOv2, SigLIP."""

from collections.abc import Sequence
from typing import cast

from timm.layers import Attention, LayerScale
from timm.models.vision_transformer import Block as PlainViTBlock
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mamol.backbones.timm.tower import TimmBlock

PARTS: tuple[type, ...] = (PlainViTBlock, Attention)
"""Classes of a block and of its attention; models with others are built differently."""


class PlainBlock(TimmBlock):
    """Queries, keys and values out of one map."""

    def stacked(self) -> tuple[Tensor, Tensor | None]:
        """``qkv``."""
        qkv: nn.Linear = self.block.attn.qkv
        return qkv.weight, qkv.bias

    def placed(self, x: Tensor, prompts: int) -> Tensor:
        """As it is: positions are in the tokens."""
        return x


def _scale(part: nn.Module) -> nn.Parameter | None:
    return part.gamma if isinstance(part, LayerScale) else None


def blocks_of(model: VisionTransformer) -> Sequence[PlainBlock]:
    """All blocks.

    Args:
        model: timm's.
    """
    blocks = cast(Sequence[PlainViTBlock], model.blocks)
    return [PlainBlock(block, (_scale(block.ls1), _scale(block.ls2))) for block in blocks]
