"""The one loop over the frozen blocks, with a method hooked in."""

from torch import Tensor

from mamol.methods.base import Context, Method
from mamol.models.clip import VisualTower, attention


def encode(tower: VisualTower, tokens: Tensor, method: Method, context: Context, *, shortcut: bool = True) -> Tensor:
    """Encodes N streams.

    ``x = x + attention(ln_1(x)); z = ln_2(x); x = x + method.feed_forward(l, z, mlp, context)`` for every block.

    Args:
        tower: The frozen tower.
        tokens: (N, T, width), embedded windows, one or several per stream, without class token and positions.
        method: What is added to the tower.
        context: The streams.
        shortcut: Only the class token leaves the last block, so only it goes through that block's query, MLP and
            experts. Exact; False keeps all tokens, for parity checks stage by stage.

    Returns:
        (N, output_dim) features.
    """
    method.begin(context)
    x = tower.begin(tokens)
    last = len(tower.blocks) - 1
    class_token = 0
    for layer, block in enumerate(tower.blocks):
        length = x.shape[1]
        x = method.before_block(layer, x, context)
        class_token += x.shape[1] - length  # prompts stand in front
        h = block.ln_1(x)
        query = h
        if shortcut and layer == last:
            query, x = (t[:, class_token : class_token + 1] for t in (h, x))
            class_token = 0
        x = x + attention(block.attn, query, h, method.attention_prefix(layer, context), context.mask(h.shape[1]))
        x = x + method.feed_forward(layer, block.ln_2(x), block.mlp, context)
    return method.finish(x[:, class_token], tower)
