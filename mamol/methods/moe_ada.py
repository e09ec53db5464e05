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

from mamol.errors import MamolError
from mamol.methods.base import Context
from mamol.methods.layered import CLIPMLP, Layered
from mamol.methods.routing import balance_loss, top_k_gates
from mamol.models.tower import Tower

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
    """``B A drop(x)`` with A normal of standard deviation 1/rank and B zero."""
    down, up = nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs, bias=False)
    nn.init.normal_(down.weight, std=1 / rank)
    nn.init.zeros_(up.weight)
    return nn.Sequential(nn.Dropout(DROPOUT), down, up)


class MoEAdaLayer(nn.Module):
    """The experts of one block: ``2·K·rank·(d + hidden)`` parameters and the router's ``2·K·d``."""

    def __init__(self, width: int, hidden: int, options: MoEAdaOptions) -> None:
        """Makes the layer.

        Args:
            width: Token width d.
            hidden: Width inside the MLP.
            options: Number and rank of the experts.
        """
        super().__init__()
        self.options = options
        experts, rank = options.experts_dynamic, options.rank
        self.router = nn.Linear(width, experts, bias=False)
        self.noise = nn.Linear(width, experts, bias=False)
        self.c_fc = nn.ModuleList(low_rank(width, hidden, rank) for _ in range(experts))
        self.c_proj = nn.ModuleList(low_rank(hidden, width, rank) for _ in range(experts))

    def forward(self, layer: int, z: Tensor, mlp: CLIPMLP, context: Context) -> Tensor:
        """``Σ_k g_k f_k(z)``, (N, T, width).

        The frozen maps run once for all experts: W_1 before the experts differ, and W_2 on ``Σ_k g_k h_k``, as the
        gates sum to one.
        """
        gates = self._gates(layer, z, context)
        frozen = mlp.c_fc(z)
        mixed, update = torch.zeros_like(frozen), torch.zeros_like(z)
        for k, (first, second) in enumerate(zip(self.c_fc, self.c_proj, strict=True)):
            hidden = mlp.gelu(frozen + first(z))
            gate = gates[..., k, None].to(hidden.dtype)
            mixed = mixed + gate * hidden
            update = update + gate * second(hidden)
        return mlp.c_proj(mixed) + update

    def _gates(self, layer: int, z: Tensor, context: Context) -> Tensor:
        logits = self.router(z)
        if self.training:
            logits = logits + torch.randn_like(logits) * functional.softplus(self.noise(z))
        top_k = self.options.top_k
        gates, probabilities = top_k_gates(logits, top_k, renormalise=True)
        context.record(layer, gates)
        if self.options.balance_weight:
            # Mixtral's sum counts each of the kept gates.
            balance = balance_loss(gates, probabilities, context.mask(z.shape[1]))
            context.losses.append(self.options.balance_weight * top_k * balance)
        return gates


class MoEAda(Layered):
    """The experts of all chosen blocks."""

    def __init__(self, tower: Tower, modalities: int, options: MoEAdaOptions) -> None:
        """Makes the method for one tower.

        Args:
            tower: It says the sizes.
            modalities: M; routing does not see which are present.
            options: Number, rank and place of the experts.
        """
        super().__init__(
            options.expert_blocks,
            len(tower.blocks),
            lambda block: MoEAdaLayer(tower.width, tower.mlp_width, options),
        )
