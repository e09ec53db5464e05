"""MaMOL, Eq. 12 to 17 of arXiv 2511.11460: dynamic, shared and modality-specific low-rank experts.

``h' = h + Σ_k g_k B_k A_k z + B_shr A_shr z + Σ_i m_i B_i A_i z`` beside the frozen MLP, on the same ``z = ln_2(x)``,
with ``g = TopK(softmax(W φ([z; ψ(m)])))``. With ``router_input=modality``, which is not the paper's, the router sees an
embedding of the token's modality besides, ``[z; e_mod; ψ(m)]``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mamol.core.backbone import MLP
from mamol.core.gates import balance_loss, balance_per_modality, top_k_gates
from mamol.core.method import Towers, method
from mamol.core.streams import Streams, Trace
from mamol.methods.layered import Layered
from mamol.methods.router import MODALITY, PATTERN_WIDTH, Routed, Router
from mamol.methods.stacked import StackedLoRA


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
        router_input: What the router sees: ``both``, ``features``, ``pattern`` or ``modality`` (all that, and the
            token's modality).
        gate_renormalise: Whether the kept gates are divided by their sum.
        balance_weight: Weight of the load-balancing loss; of each modality by itself where the router sees it.
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

    def forward(self, layer: int, z: Tensor, mlp: MLP, state: Routed) -> Tensor:
        """Frozen MLP plus Δ (Eq. 12).

        Args:
            layer: Block number from 0, for the trace.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP.
            state: Of this pass, with ψ(m) and e_mod where a router sees them; takes gates and auxiliary loss.

        Returns:
            (N, T, width).
        """
        return mlp(z) + self.experts(z, self._gates(layer, z, state))

    def _gates(self, layer: int, z: Tensor, state: Routed) -> Tensor:
        """The weight of every expert, in the order dynamic, shared, per modality: (N, T, E)."""
        streams, tokens = z.shape[:2]
        parts = []
        if self.router is not None:
            logits = self.router(z, state.pattern, state.own(tokens))
            gates, probabilities = top_k_gates(logits, self.options.top_k, self.options.gate_renormalise)
            if self.options.balance_weight:
                balance = self._balance(gates, probabilities, state.streams)
                state.losses.append(self.options.balance_weight * balance)
            state.record(layer, gates)
            parts.append(gates)
        if self.options.shared_expert:
            parts.append(z.new_ones(streams, tokens, 1, dtype=torch.float32))
        if self.options.modality_experts:
            parts.append(state.streams.available[:, None].expand(-1, tokens, -1))
        return torch.cat(parts, -1)

    def _balance(self, gates: Tensor, probabilities: Tensor, streams: Streams) -> Tensor:
        """How evenly the experts are used; pooled, it would work against what a router that sees modalities is for."""
        tokens = gates.shape[1]
        if self.options.router_input == MODALITY:
            return balance_per_modality(gates, probabilities, streams.owners(tokens), streams.mask(tokens))
        return balance_loss(gates, probabilities, streams.mask(tokens))


@method(
    "mamol",
    summary="dynamic, shared and modality-specific low-rank experts beside the frozen MLPs",
    source="arXiv 2511.11460, Eq. 12-17",
    settings=MaMOLOptions,
)
class MaMOL(Layered[Routed]):
    """The experts of all chosen blocks of one tower, and what their routers share: ψ (Eq. 15), e_mod."""

    def __init__(self, towers: Towers, options: MaMOLOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: It says width, number of blocks and M.
            options: Which experts there are, and where.
        """
        width, blocks, modalities = towers.only.width, len(towers.only.blocks), towers.modalities
        super().__init__(options.expert_blocks, blocks, lambda block: MaMOLLayer(width, modalities, options))
        routed = options.dynamic_experts and options.router_input != "features"
        self.pattern_embedding = nn.Linear(modalities, PATTERN_WIDTH) if routed else None
        named = routed and options.router_input == MODALITY
        self.modality_embedding = nn.Embedding(modalities, PATTERN_WIDTH) if named else None

    def begin(self, streams: Streams, trace: Trace | None = None) -> Routed:
        """ψ(m) of each stream, (N, 8), and e_mod of each modality, (M, 8), where a router sees them."""
        pattern, modality = self.pattern_embedding, self.modality_embedding
        return Routed(
            streams,
            trace,
            pattern=None if pattern is None else pattern(streams.available),
            modality=None if modality is None else modality.weight,
        )

    def routers(self) -> list[nn.Module]:
        """The routers, ψ and e_mod."""
        shared = (self.pattern_embedding, self.modality_embedding)
        return [*super().routers(), *(each for each in shared if each is not None)]
