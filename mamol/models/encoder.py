"""The one loop over the frozen blocks, with a method hooked in."""

from torch import Tensor

from mamol.methods.base import Context, Method
from mamol.models.tower import Tower, attention


def encode(tower: Tower, tokens: Tensor, method: Method, context: Context, *, shortcut: bool = True) -> Tensor:
    """Encodes N streams.

    ``x = x + attention(ln_1(x)); z = ln_2(x); x = x + method.feed_forward(l, z, mlp, context)`` for every block.

    Args:
        tower: The frozen tower.
        tokens: (N, T, width), embedded windows, images or texts, without class token and positions.
        method: What is added to the tower.
        context: The streams.
        shortcut: Only one token of a stream is read behind the last block, so only it goes through that block's query,
            MLP and experts. Exact; False keeps all tokens, for parity checks stage by stage.

    Returns:
        (N, output_dim) features.
    """
    method.begin(context)
    x = tower.begin(tokens)
    last = len(tower.blocks) - 1
    prompts = 0  # they stand in front
    for layer, block in enumerate(tower.blocks):
        length = x.shape[1]
        x = method.before_block(layer, x, context)
        prompts += x.shape[1] - length
        h = block.ln_1(x)
        query, mask, causal = h, context.mask(h.shape[1]), tower.causal
        if shortcut and layer == last:
            query, x = context.read(h, prompts), context.read(x, prompts)
            causal = False  # the mask ends where the token that is read stands
        # Behind the end of a text nothing is read, so that a causal tower needs no mask beside its own.
        prefix = method.attention_prefix(layer, context)
        x = x + attention(block.attn, query, h, prefix, None if causal else mask, causal=causal)
        x = x + method.feed_forward(layer, block.ln_2(x), block.mlp, context)
    return method.finish((x if shortcut else context.read(x, prompts))[:, 0], tower)
