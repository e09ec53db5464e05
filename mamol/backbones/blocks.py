"""Residual attention blocks as the encoder needs them, and open_clip's among them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from mamol.core.attention import Prefix, attention
from mamol.core.backbone import MLP, Block

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock


class ClipMLP(MLP):
    """``c_proj(gelu(c_fc(z)))``; holds open_clip's modules themselves, under open_clip's names."""

    def __init__(self, parts: nn.Sequential) -> None:
        """Takes the parts of a block's ``mlp``.

        Args:
            parts: open_clip's ``c_fc``, ``gelu`` and ``c_proj``.
        """
        super().__init__()
        self.c_fc: nn.Linear = parts.get_submodule("c_fc")  # type: ignore[assignment]
        self.gelu = parts.get_submodule("gelu")
        self.c_proj: nn.Linear = parts.get_submodule("c_proj")  # type: ignore[assignment]
        self.width = self.c_fc.in_features
        self.expanded = self.inner = self.c_fc.out_features

    def expand(self, z: Tensor) -> Tensor:
        """``c_fc``."""
        hidden: Tensor = self.c_fc(z)
        return hidden

    def activate(self, hidden: Tensor) -> Tensor:
        """QuickGELU or GELU."""
        activated: Tensor = self.gelu(hidden)
        return activated

    def contract(self, hidden: Tensor) -> Tensor:
        """``c_proj``."""
        out: Tensor = self.c_proj(hidden)
        return out

    def absorb(self, down: Tensor, up: Tensor) -> None:
        """Behind the units that are there; the added ones have no bias."""
        first, second = self.c_fc, self.c_proj
        down, up = (each.to(first.weight) for each in (down, up))
        rows, columns = torch.cat([first.weight.data, down, -down]), torch.cat([second.weight.data, up, -up], 1)
        first.weight = nn.Parameter(rows, requires_grad=first.weight.requires_grad)
        first.bias = nn.Parameter(pad(first.bias.data, (0, 2 * len(down))), requires_grad=first.bias.requires_grad)
        second.weight = nn.Parameter(columns, requires_grad=second.weight.requires_grad)
        first.out_features = second.in_features = self.expanded = self.inner = len(rows)


class PreNormBlock(Block):
    """A view of a block's parts, each behind a norm; their weights stay where they are. Positions are in the tokens."""

    def __init__(self, norms: tuple[nn.Module, nn.Module], heads: nn.MultiheadAttention, feed_forward: MLP) -> None:
        """Takes the parts.

        Args:
            norms: In front of the attention, and in front of the feed-forward part.
            heads: The attention.
            feed_forward: The MLP.
        """
        self.norms, self.heads, self.feed_forward = norms, heads, feed_forward

    def norm_attention(self, x: Tensor) -> Tensor:
        """The first norm."""
        normed: Tensor = self.norms[0](x)
        return normed

    def attend(
        self,
        query: Tensor,
        context: Tensor,
        *,
        prefix: Prefix | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        prompts: int = 0,
    ) -> Tensor:
        """The attention; as positions are in the tokens, prompts need no care."""
        return attention(self.heads, query, context, prefix, mask, causal=causal)

    def norm_mlp(self, x: Tensor) -> Tensor:
        """The second norm."""
        normed: Tensor = self.norms[1](x)
        return normed

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of all parts."""
        return (weight for part in (*self.norms, self.heads, self.feed_forward) for weight in part.parameters())


def blocks_of(resblocks: Sequence["ResidualAttentionBlock"]) -> tuple[PreNormBlock, ...]:
    """All blocks of a transformer of open_clip's.

    Args:
        resblocks: ``transformer.resblocks``.
    """
    return tuple(PreNormBlock((block.ln_1, block.ln_2), block.attn, ClipMLP(block.mlp)) for block in resblocks)
