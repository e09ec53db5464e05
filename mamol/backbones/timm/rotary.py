"""Models of timm's ``Eva``: positions turn queries and keys, in every block. DINOv3, and CLIP's EVA-02."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from timm.layers import AttentionRope, apply_rot_embed_cat
from timm.models.eva import Eva, EvaAttention, EvaBlock
from torch import Tensor, nn

from mamol.backbones.timm.tower import TimmBlock

PARTS: tuple[type, ...] = (EvaBlock, EvaAttention, AttentionRope)
"""Classes of a block and of its attention; models with others are built differently."""


class Rotation(nn.Module):
    """Turns queries and keys by the place of their token in its window; all windows of a sequence have the same places.

    Attributes:
        front: Class token and registers, which have no place.
        halves: Whether the first half of a head is turned with the second, not neighbours with each other.
    """

    places: Tensor  # (grid², 2 · width of a head), sines and cosines

    def __init__(self, places: Tensor, front: int, halves: bool) -> None:
        """Takes the places.

        Args:
            places: timm's, for the grid at hand.
            front: As the attribute.
            halves: As the attribute.
        """
        super().__init__()
        self.front, self.halves = front, halves
        self.register_buffer("places", places.detach().clone(), persistent=False)

    def forward(self, x: Tensor, prompts: int) -> Tensor:
        """Turns them.

        Args:
            x: (N, T, heads, width of a head).
            prompts: Tokens in front of all others, without a place either.
        """
        still = prompts + self.front
        windows = (x.shape[1] - still) // len(self.places)
        places = self.places.repeat(windows, 1)[:, None]
        return torch.cat([x[:, :still], apply_rot_embed_cat(x[:, still:], places, half=self.halves)], 1)


class RotaryBlock(TimmBlock):
    """A block whose queries and keys are turned."""

    def __init__(self, block: EvaBlock, rotation: Rotation | None) -> None:
        """Takes a block.

        Args:
            block: timm's.
            rotation: Of the tower; None: its positions are in the tokens alone.
        """
        super().__init__(block, (block.gamma_1, block.gamma_2))
        self.rotation = rotation

    def stacked(self) -> tuple[Tensor, Tensor | None]:
        """One map with the biases of queries and values beside it, or three maps; keys need no bias."""
        own = self.block.attn
        if own.qkv is None:
            maps = (own.q_proj, own.k_proj, own.v_proj)
            biases = [own.q_proj.bias, own.k_proj.bias, own.v_proj.bias]
            weight = torch.cat([each.weight for each in maps])
        else:
            weight = own.qkv.weight
            biases = [own.q_bias, None, own.v_bias] if isinstance(own, EvaAttention) else [own.qkv.bias]
        if biases[0] is None:
            return weight, None
        return weight, torch.cat([torch.zeros_like(biases[0]) if bias is None else bias for bias in biases])

    def placed(self, x: Tensor, prompts: int) -> Tensor:
        """Turned by the places of the tokens."""
        turned: Tensor = x if self.rotation is None else self.rotation(x, prompts)
        return turned


def blocks_of(model: Eva) -> Sequence[RotaryBlock]:
    """All blocks; the rotation that they share becomes a part of the model.

    Args:
        model: timm's, for the grid at hand.
    """
    blocks = cast(Sequence[EvaBlock], model.blocks)
    rope: Any = model.rope
    if rope is not None:
        places = rope.get_embed(list(model.patch_embed.grid_size))
        rope = model.rope = Rotation(places, model.num_prefix_tokens, blocks[0].attn.rotate_half)
    return [RotaryBlock(block, rope) for block in blocks]
