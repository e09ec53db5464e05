"""Replace-based mixture of experts, Eq. 7 of arXiv 2511.11460: ``h = Σ_k g_k(z) F_k(z)``, every F_k a whole MLP.

After DeepSpeed-MoE (Rajbhandari et al. 2022, arXiv 2201.05596): the MLPs begin as copies of the frozen one and are
trained, the router is one matrix in float32, one expert per token, its gate kept as it is (those of several are
renormalised), and a load-balancing loss of weight 0.01. Left out: expert capacity, as batches are small; jitter; and
the residual form with the frozen MLP beside one expert.

At initialisation this is *not* the frozen tower: the copy is scaled by its gate, about 0.5 for two experts.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mamol.core.backbone import MLP, Backbone
from mamol.core.gates import balance_loss, top_k_gates
from mamol.core.method import Pass, Towers, method
from mamol.methods.layered import Layered


@dataclass(frozen=True)
class MoERepOptions:
    """Number and place from MaMOL's paper, the rest from DeepSpeed-MoE.

    Attributes:
        experts_dynamic: K, experts per layer.
        top_k: How many of them a token uses.
        expert_blocks: Blocks whose MLP is replaced.
        balance_weight: Weight of the load-balancing loss.
    """

    experts_dynamic: int = 2
    top_k: int = 1
    expert_blocks: str | Sequence[int] = "last6"
    balance_weight: float = 0.01


class MoERepLayer(nn.Module):
    """The experts of one block: ``K·(8·d² + 5·d)`` parameters and the router's ``K·d``."""

    def __init__(self, mlp: MLP, options: MoERepOptions) -> None:
        """Makes the layer.

        Args:
            mlp: The block's frozen MLP.
            options: How many experts.
        """
        super().__init__()
        self.options = options
        self.router = nn.Linear(mlp.width, options.experts_dynamic, bias=False)
        self.experts = nn.ModuleList(deepcopy(mlp).requires_grad_(True) for _ in range(options.experts_dynamic))

    def forward(self, layer: int, z: Tensor, mlp: MLP, state: Pass) -> Tensor:
        """``Σ_k g_k F_k(z)``; every expert computes only its own tokens.

        Args:
            layer: Block number from 0, for the trace.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP; not used, the experts stand in its place.
            state: Of this pass; takes gates and auxiliary loss.

        Returns:
            (N, T, width).
        """
        with torch.autocast(z.device.type, enabled=False):
            logits = self.router(z.float())
        gates, probabilities = top_k_gates(logits, self.options.top_k, renormalise=self.options.top_k > 1)
        state.record(layer, gates)
        if self.options.balance_weight:
            balance = balance_loss(gates, probabilities, state.streams.mask(z.shape[1]))
            state.losses.append(self.options.balance_weight * balance)
        tokens, weights = z.flatten(0, 1), gates.flatten(0, 1)
        out = torch.zeros_like(tokens)
        for k, expert in enumerate(self.experts):
            # An expert without tokens runs on none of them, so that its parameters get a gradient, of zero.
            rows = weights[:, k].nonzero().squeeze(1)
            out = out.index_add(0, rows, (weights[rows, k, None] * expert(tokens[rows])).to(out.dtype))
        return out.view_as(z)


@method(
    "moe_rep",
    summary="routed trainable copies of the MLPs in place of the frozen ones",
    source="arXiv 2511.11460, Eq. 7, after DeepSpeed-MoE, arXiv 2201.05596",
    settings=MoERepOptions,
)
class MoERep(Layered[Pass]):
    """The experts of all chosen blocks."""

    def __init__(self, towers: Towers, options: MoERepOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: Its MLPs are copied; routing does not see which modalities are present.
            options: Number and place of the experts.
        """
        blocks = towers.only.blocks
        super().__init__(
            options.expert_blocks, len(blocks), lambda block: MoERepLayer(blocks[block].feed_forward, options)
        )

    def replaced(self, backbone: Backbone) -> Iterable[Tensor]:
        """The MLPs of the chosen blocks."""
        return (weight for block in self.layers for weight in backbone.blocks[int(block)].feed_forward.parameters())
