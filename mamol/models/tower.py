"""What the encoder needs of a frozen CLIP transformer, whatever comes into it: blocks, a beginning and an end."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn import functional

from mamol.models.weights import fingerprint

VISUAL, TEXT = "visual", "text"


class Tower(nn.Module, ABC):
    """A frozen transformer of open_clip's blocks.

    Attributes:
        name: ``visual`` or ``text``.
        causal: Whether a token attends only to itself and to those before it.
        origin: What the weights are, for reports: a source, or ``random``.
        fingerprint: sha256 of the frozen weights.
    """

    name: str
    causal: bool

    def __init__(self, frozen: nn.Module, origin: str) -> None:
        """Freezes ``frozen``, open_clip's module with its weights, which come from ``origin``."""
        super().__init__()
        frozen.requires_grad_(False).eval()
        self.origin = origin
        self.fingerprint = fingerprint(frozen.state_dict())

    @property
    @abstractmethod
    def width(self) -> int:
        """Token width d."""

    @property
    @abstractmethod
    def output_dim(self) -> int:
        """Width of the feature that leaves the tower."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[ResidualAttentionBlock]:
        """The residual attention blocks, in order."""

    @property
    @abstractmethod
    def last_norm(self) -> nn.LayerNorm:
        """The norm of the token that leaves the blocks."""

    @property
    @abstractmethod
    def projection(self) -> Tensor:
        """(width, output_dim), what makes the feature of it."""

    @property
    def mlp_width(self) -> int:
        """Width inside the blocks' MLPs."""
        return self.blocks[0].mlp.c_fc.out_features

    def train(self, mode: bool = True) -> "Tower":
        """Stays in evaluation mode: the tower is frozen."""
        return super().train(False)

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """CLIP's own embedding: images or token numbers to tokens (N, T, width)."""

    @abstractmethod
    def begin(self, tokens: Tensor) -> Tensor:
        """From embedded tokens (N, T, width) to what enters the first block."""

    def finish(self, x: Tensor) -> Tensor:
        """Last norm and projection of the tokens that are read: (N, width) to (N, output_dim)."""
        return self.last_norm(x) @ self.projection


def attention(
    module: nn.MultiheadAttention,
    query: Tensor,
    context: Tensor,
    prefix: tuple[Tensor, Tensor] | None = None,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """Multi-head attention with the weights of ``module``; ``query`` may be part of ``context``.

    Written out because ``nn.MultiheadAttention`` takes different paths in training, in evaluation and without
    gradients, and this one is the same, and as fast, in all of them.

    Args:
        module: A block's attention.
        query: (N, Q, width).
        context: (N, T, width), keys and values.
        prefix: (N, L, width) keys and values in front of the projected ones.
        mask: (N, T) bool, False at tokens that nothing attends to.
        causal: Whether query i attends to the keys 0 to i alone, and to the prefix; with Q = T and no mask.

    Returns:
        (N, Q, width).
    """
    width, heads = module.embed_dim, module.num_heads
    weight, bias = module.in_proj_weight, module.in_proj_bias
    if query is context:
        q, k, v = functional.linear(context, weight, bias).chunk(3, -1)
    else:
        q = functional.linear(query, weight[:width], bias[:width])
        k, v = functional.linear(context, weight[width:], bias[width:]).chunk(2, -1)
    seen = mask if mask is None else mask[:, None, None]
    if prefix is not None:
        extra = prefix[0].shape[1]
        k, v = (torch.cat([own.to(x.dtype), x], 1) for own, x in zip(prefix, (k, v), strict=True))
        if causal:
            seen, causal = q.new_ones(q.shape[1], k.shape[1], dtype=torch.bool).tril(extra), False
        elif seen is not None:
            seen = functional.pad(seen, (extra, 0), value=True)
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    mixed = functional.scaled_dot_product_attention(q, k, v, seen, is_causal=causal)
    return module.out_proj(mixed.transpose(1, 2).flatten(2))
