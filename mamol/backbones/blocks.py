"""open_clip's residual attention blocks as the encoder needs them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

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


class ClipBlock(Block):
    """A view of an open_clip block: its weights stay where they are."""

    def __init__(self, block: "ResidualAttentionBlock") -> None:
        """Takes a block apart.

        Args:
            block: open_clip's.
        """
        self.block = block
        self.feed_forward = ClipMLP(block.mlp)

    def norm_attention(self, x: Tensor) -> Tensor:
        """``ln_1``."""
        normed: Tensor = self.block.ln_1(x)
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
        """``attn``; positions are in the tokens, so prompts need no care."""
        return attention(self.block.attn, query, context, prefix, mask, causal=causal)

    def norm_mlp(self, x: Tensor) -> Tensor:
        """``ln_2``."""
        normed: Tensor = self.block.ln_2(x)
        return normed


def blocks_of(resblocks: Sequence["ResidualAttentionBlock"]) -> tuple[ClipBlock, ...]:
    """All blocks of a transformer of open_clip's.

    Args:
        resblocks: ``transformer.resblocks``.
    """
    return tuple(ClipBlock(block) for block in resblocks)
