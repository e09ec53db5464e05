"""Multi-head attention with a prefix and a mask, for backbones and for methods that attend by themselves."""

import torch
from torch import Tensor, nn
from torch.nn import functional

Prefix = tuple[Tensor, Tensor]
"""Keys and values, (N, L, width) each, in front of the projected ones."""


def attention(
    module: nn.MultiheadAttention,
    query: Tensor,
    context: Tensor,
    prefix: Prefix | None = None,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """Multi-head attention with the weights of ``module``; ``query`` may be part of ``context``.

    Written out because ``nn.MultiheadAttention`` takes different paths in training, in evaluation and without
    gradients, and this one is the same, and as fast, in all of them.

    Args:
        module: Of one stacked projection of query, key and value.
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
    mixed: Tensor = module.out_proj(attend(q, k, v, heads, prefix, mask, causal=causal))
    return mixed


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    prefix: Prefix | None = None,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """Scaled dot-product attention of projected queries, keys and values.

    Args:
        q: (N, Q, width).
        k: (N, T, width).
        v: (N, T, width).
        heads: They share the width.
        prefix: As of ``attention``.
        mask: As of ``attention``.
        causal: As of ``attention``.

    Returns:
        (N, Q, width), without an output projection.
    """
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
    return mixed.transpose(1, 2).flatten(2)
