"""What the experts cost beside the bare tower, and what leaving the last block early gains."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.harness import Figure, alternate, operations, ratio_figure
from benchmarks.workload import BACKBONE, BATCH_OF_3, TOKENS, Batch, batch, frozen_tower, network, present_streams
from mamol.core.method import Method
from mamol.core.streams import VISUAL
from mamol.network.encoder import encode
from mamol.network.network import Network

MAMOL, BARE, ALL_TOKENS = "with experts", "bare frozen tower", "all tokens through the last block"


def run(backbone: str = BACKBONE, rounds: int = 5) -> list[Figure]:
    """Forward and backward through the encoder alone, on the present streams of a batch of 3.

    Args:
        backbone: Tower.
        rounds: Timed passes of each.
    """
    data = batch(BATCH_OF_3)
    model = network(frozen_tower(backbone), backbone=backbone)
    tokens = torch.randn(present_streams(data), TOKENS - 1, model.tower.width, requires_grad=True)

    candidates = {
        MAMOL: both_ways(model, data, tokens, model.method),
        BARE: both_ways(model, data, tokens, Method()),
        ALL_TOKENS: both_ways(model, data, tokens, model.method, shortcut=False),
    }
    seconds = alternate(candidates, rounds)
    with sdpa_kernel(SDPBackend.MATH):
        products = operations(candidates[MAMOL]) / operations(candidates[BARE])
    what = f"{backbone}, {len(tokens)} streams, forward and backward"
    least = f"{what}; {products:.3f} × as many operations in products"
    return [
        ratio_figure("adapter cost", seconds, MAMOL, BARE, at_most=1.06, note=least),
        ratio_figure("last block for the class token only", seconds, MAMOL, ALL_TOKENS, at_most=1.0, note=what),
    ]


def both_ways(
    model: Network, data: Batch, tokens: Tensor, method: Method, *, shortcut: bool = True
) -> Callable[[], None]:
    """Forward and backward through a network's tower.

    Args:
        model: It has the tower.
        data: Batch; it says which streams are present.
        tokens: (present streams, T - 1, d), with gradients.
        method: What is beside the tower.
        shortcut: Whether the last block is left to the class token alone.
    """

    def call() -> None:
        streams = model.streams(data)[VISUAL]
        encode(model.tower, tokens, method, streams, shortcut=shortcut).features.sum().backward()

    return call
