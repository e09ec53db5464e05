"""MaMOL, Eq. 12 to 17 of arXiv 2511.11460: dynamic, shared and modality-specific low-rank experts.

``h' = h + Σ_k g_k B_k A_k z + B_shr A_shr z + Σ_i m_i B_i A_i z`` beside the frozen MLP, on the same ``z = ln_2(x)``,
with ``g = TopK(softmax(W φ([z; ψ(m)])))``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mamol.methods.base import Context, FeedForward
from mamol.methods.layered import Layered
from mamol.methods.lora import StackedLoRA
from mamol.methods.routing import PATTERN_WIDTH, Router, balance_loss, top_k_gates
from mamol.models.tower import Tower


@dataclass(frozen=True)
class MaMOLOptions:
    """The choices of the paper's ablations; the defaults are the paper's model.

    Attributes:
        experts_dynamic: K_d, routed experts per layer.
        top_k: How many of them a token uses.
        rank: Rank of every expert.
        expert_blocks: Blocks with experts.
        dynamic_experts: Whether there are routed experts.
        shared_expert: Whether there is a shared expert.
        modality_experts: Whether there are experts per modality.
        router_input: What the router sees: ``both``, ``features`` or ``pattern``.
        gate_renormalise: Whether the kept gates are divided by their sum.
        balance_weight: Weight of the load-balancing loss.
    """

    experts_dynamic: int = 2
    top_k: int = 1
    rank: int = 8
    expert_blocks: str | Sequence[int] = "last6"
    dynamic_experts: bool = True
    shared_expert: bool = True
    modality_experts: bool = True
    router_input: str = "both"
    gate_renormalise: bool = False
    balance_weight: float = 0.0


class MaMOLLayer(nn.Module):
    """The experts of one block; Δ of Eq. 12."""

    def __init__(self, width: int, modalities: int, options: MaMOLOptions) -> None:
        """Makes the layer.

        Args:
            width: Token width d.
            modalities: M.
            options: Which experts there are.
        """
        super().__init__()
        self.options = options
        dynamic = options.experts_dynamic if options.dynamic_experts else 0
        experts = dynamic + int(options.shared_expert) + (modalities if options.modality_experts else 0)
        self.router = Router(width, dynamic, options.router_input) if dynamic else None
        self.experts = StackedLoRA(experts, width, options.rank)

    def forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """Frozen MLP plus Δ (Eq. 12), (N, T, width), of the tokens ``z`` (N, T, width) of block ``layer``."""
        return mlp(z) + self.experts(z, self._gates(layer, z, context))

    def _gates(self, layer: int, z: Tensor, context: Context) -> Tensor:
        """The weight of every expert, in the order dynamic, shared, per modality: (N, T, E)."""
        streams, tokens = z.shape[:2]
        parts = []
        if self.router is not None:
            logits = self.router(z, context.pattern)
            gates, probabilities = top_k_gates(logits, self.options.top_k, self.options.gate_renormalise)
            if self.options.balance_weight:
                balance = balance_loss(gates, probabilities, context.mask(tokens))
                context.losses.append(self.options.balance_weight * balance)
            context.record(layer, gates)
            parts.append(gates)
        if self.options.shared_expert:
            parts.append(z.new_ones(streams, tokens, 1, dtype=torch.float32))
        if self.options.modality_experts:
            parts.append(context.available[:, None].expand(-1, tokens, -1))
        return torch.cat(parts, -1)


class MaMOL(Layered):
    """The experts of all chosen blocks of one tower, and ψ, which they share (Eq. 15)."""

    def __init__(self, tower: Tower, modalities: int, options: MaMOLOptions) -> None:
        """Makes the method for one tower.

        Args:
            tower: It says width and number of blocks.
            modalities: M.
            options: Which experts there are, and where.
        """
        width = tower.width
        super().__init__(options.expert_blocks, len(tower.blocks), lambda block: MaMOLLayer(width, modalities, options))
        routed = options.dynamic_experts and options.router_input != "features"
        self.pattern_embedding = nn.Linear(modalities, PATTERN_WIDTH) if routed else None

    def begin(self, context: Context) -> None:
        """ψ(m) of each stream, (N, 8), where a router sees it."""
        if self.pattern_embedding is not None:
            context.pattern = self.pattern_embedding(context.available)

    def routing(self) -> list[nn.Module]:
        """The routers and ψ."""
        return [*super().routing(), *([self.pattern_embedding] if self.pattern_embedding is not None else [])]
