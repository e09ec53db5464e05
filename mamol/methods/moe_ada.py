"""Adapt-based mixture of experts, Eq. 8 of arXiv 2511.11460, in the form of its source (github maidacundo/MoE-LoRA).

Expert k is the frozen MLP with a LoRA inside each of its linear maps: ``h_k = gelu(W_1 z + b_1 + B_1k A_1k z)``,
``f_k = W_2 h_k + b_2 + B_2k A_2k h_k``, and ``y = Σ_k g_k f_k`` with the largest gates of a softmax renormalised to
one, so that the MLP is inside the sum and this starts as the frozen tower. The gates come from ``W_g z + ε
softplus(W_n z)``, ε normal.

From the source: rank 8, two gates kept, dropout 0.1 before each A, A normal with standard deviation 1/rank, Mixtral's
load-balancing loss of weight 0.001. Adapted: two experts as in MaMOL's paper, not eight; noise in training only;
CLIP's MLP in place of Mistral's. With two experts of which two are kept that loss is constant: it matters for more
experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.backbone import MLP
from mamol.core.errors import MamolError
from mamol.core.gates import balance_loss, top_k_gates
from mamol.core.method import Pass, Towers, method
from mamol.methods.layered import Layered

DROPOUT = 0.1


@dataclass(frozen=True)
class MoEAdaOptions:
    """Number and place from MaMOL's paper, the rest from MoE-LoRA.

    Attributes:
        experts_dynamic: K, experts per layer.
        top_k: How many of them a token uses.
        rank: Rank of every LoRA.
        expert_blocks: Blocks with experts.
        balance_weight: Weight of the load-balancing loss.
    """

    experts_dynamic: int = 2
    top_k: int = 2
    rank: int = 8
    expert_blocks: str | Sequence[int] = "last6"
    balance_weight: float = 0.001

    def __post_init__(self) -> None:
        """Checks the number of kept gates: it is not MaMOL's.

        Raises:
            MamolError: More gates than experts.
        """
        if self.top_k > self.experts_dynamic:
            raise MamolError(
                f"top_k={self.top_k} (method=moe_ada keeps 2 gates unless told) must be at most "
                f"experts_dynamic={self.experts_dynamic}"
            )


def low_rank(inputs: int, outputs: int, rank: int) -> nn.Sequential:
    """``B A drop(x)`` with A normal of standard deviation 1/rank and B zero.

    Args:
        inputs: Width of x.
        outputs: Width behind B.
        rank: Width between A and B.
    """
    down, up = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False)
    nn.init.normal_(down.weight, std=1 / rank)
    nn.init.zeros_(up.weight)
    return nn.Sequential(nn.Dropout(DROPOUT), down, up)


class MoEAdaLayer(nn.Module):
    """The experts of one block: ``2·K·rank·(d + hidden)`` parameters and the router's ``2·K·d``."""

    def __init__(self, mlp: MLP, options: MoEAdaOptions) -> None:
        """Makes the layer.

        Args:
            mlp: The block's frozen MLP, for its sizes.
            options: Number and rank of the experts.
        """
        super().__init__()
        self.options = options
        experts, rank = options.experts_dynamic, options.rank
        self.router = nn.Linear(mlp.width, experts, bias=False)
        self.noise = nn.Linear(mlp.width, experts, bias=False)
        self.c_fc = nn.ModuleList(low_rank(mlp.width, mlp.expanded, rank) for _ in range(experts))
        self.c_proj = nn.ModuleList(low_rank(mlp.inner, mlp.width, rank) for _ in range(experts))

    def forward(self, layer: int, z: Tensor, mlp: MLP, state: Pass) -> Tensor:
        """``Σ_k g_k f_k(z)``.

        The frozen maps run once for all experts: W_1 before the experts differ, and W_2 on ``Σ_k g_k h_k``, as the
        gates sum to one.

        Args:
            layer: Block number from 0, for the trace.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP.
            state: Of this pass; takes gates and auxiliary loss.

        Returns:
            (N, T, width).
        """
        gates = self._gates(layer, z, state)
        frozen = mlp.expand(z)
        mixed, update = frozen.new_zeros(*frozen.shape[:-1], mlp.inner), torch.zeros_like(z)
        for k, (first, second) in enumerate(zip(self.c_fc, self.c_proj, strict=True)):
            hidden = mlp.activate(frozen + first(z))
            gate = gates[..., k, None].to(hidden.dtype)
            mixed = mixed + gate * hidden
            update = update + gate * second(hidden)
        return mlp.contract(mixed) + update

    def _gates(self, layer: int, z: Tensor, state: Pass) -> Tensor:
        logits = self.router(z)
        if self.training:
            logits = logits + torch.randn_like(logits) * functional.softplus(self.noise(z))
        top_k = self.options.top_k
        gates, probabilities = top_k_gates(logits, top_k, renormalise=True)
        state.record(layer, gates)
        if self.options.balance_weight:
            # Mixtral's sum counts each of the kept gates.
            balance = balance_loss(gates, probabilities, state.streams.mask(z.shape[1]))
            state.losses.append(self.options.balance_weight * top_k * balance)
        return gates


@method(
    "moe_ada",
    summary="routed experts that are the frozen MLPs with a LoRA inside each linear map",
    source="arXiv 2511.11460, Eq. 8, after github maidacundo/MoE-LoRA",
    settings=MoEAdaOptions,
)
class MoEAda(Layered[Pass]):
    """The experts of all chosen blocks."""

    def __init__(self, towers: Towers, options: MoEAdaOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: It says the sizes; routing does not see which modalities are present.
            options: Number, rank and place of the experts.
        """
        blocks = towers.only.blocks
        super().__init__(
            options.expert_blocks, len(blocks), lambda block: MoEAdaLayer(blocks[block].feed_forward, options)
        )
