"""The one loop over the frozen blocks, with a method hooked in."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mamol.core.backbone import Backbone
from mamol.core.head import ALL, CLASS
from mamol.core.method import Method
from mamol.core.streams import Streams, Trace


class Encoded(NamedTuple):
    """What leaves a tower.

    Attributes:
        features: (N, output_dim), or (N, T, output_dim) where all tokens are read; of several blocks side by side.
        loss: The method's auxiliary loss of this pass, if it has one.
    """

    features: Tensor
    loss: Tensor | None


def encode(
    backbone: Backbone,
    tokens: Tensor,
    method: Method[Any],
    streams: Streams,
    trace: Trace | None = None,
    *,
    reads: str = CLASS,
    blocks: Sequence[int] = (),
    shortcut: bool = True,
) -> Encoded:
    """Encodes N streams.

    ``x = x + attend(norm(x)); z = norm(x); x = x + method.feed_forward(l, z, mlp, state)`` for every block.

    Args:
        backbone: The frozen tower.
        tokens: (N, T, width), embedded windows, images or texts, without class token and positions.
        method: What is added to the tower.
        streams: What is known of them.
        trace: Where the routing is recorded, if anybody asks for it.
        reads: Which tokens become features: ``class`` (the class token, the end token of a text; of a tower without
            one, the mean over the features of its tokens) or ``all`` embedded.
        blocks: Behind which all tokens are read, too, by the same norm and projection; only where all are read.
        shortcut: Where one token of a stream is read behind the last block, only it goes through that block's query,
            MLP and experts. Exact; False keeps all tokens, for parity checks stage by stage and to record them all.

    Returns:
        Features and auxiliary loss.
    """
    state = method.begin(streams, trace)
    x = backbone.begin(tokens)
    last = len(backbone.blocks) - 1
    one = reads != ALL and backbone.class_token
    early = shortcut and one
    prompts = 0  # they stand in front
    found = []
    for layer, block in enumerate(backbone.blocks):
        length = x.shape[1]
        x = method.before_block(layer, x, state)
        prompts += x.shape[1] - length
        h = block.norm_attention(x)
        query, mask, causal = h, streams.mask(h.shape[1]), backbone.causal
        if early and layer == last:
            query, x = streams.read(h, prompts), streams.read(x, prompts)
            causal = False  # the mask ends where the token that is read stands
        # Behind the end of a text nothing is read, so that a causal tower needs no mask beside its own.
        mask = None if causal else mask
        prefix = method.attention_prefix(layer, state)
        x = x + block.attend(query, h, prefix=prefix, mask=mask, causal=causal, prompts=prompts)
        x = x + method.feed_forward(layer, block.norm_mlp(x), block.mlp(streams), state)
        if layer in blocks:
            found.append(method.finish(x[:, prompts + backbone.front :], backbone, state))
    if one and not early:
        x = streams.read(x, prompts)
    features = method.finish(x[:, 0] if one else x[:, prompts + backbone.front :], backbone, state)
    found.append(features if one or reads == ALL else streams.mean(features))
    return Encoded(torch.cat(found, -1), method.auxiliary_loss(state))
