"""MaMOL, Eq. 12 to 17 of arXiv 2511.11460: dynamic, shared and modality-specific low-rank experts.

``h' = h + Σ_k g_k B_k A_k z + B_shr A_shr z + Σ_i m_i B_i A_i z`` beside the frozen MLP, on the same ``z = ln_2(x)``,
with ``g = TopK(softmax(W φ([z; ψ(m)])))``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.methods.base import Context, FeedForward, Method, chosen_blocks
from mamol.methods.lora import StackedLoRA

PATTERN_WIDTH = 8  # of ψ(m); the release's value, the paper gives none


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


class Router(nn.Module):
    """``W φ([z; ψ(m)])`` of Eq. 15, with φ = Linear(d + 8, d/2) and GELU."""

    def __init__(self, width: int, experts: int, sees: str = "both") -> None:
        """Makes the router.

        Args:
            width: Token width d.
            experts: K_d.
            sees: ``both``, ``features`` (z alone) or ``pattern`` (ψ(m) alone).
        """
        super().__init__()
        self.sees = sees
        inputs = {"both": width + PATTERN_WIDTH, "features": width, "pattern": PATTERN_WIDTH}[sees]
        self.hidden = nn.Linear(inputs, width // 2)
        self.out = nn.Linear(width // 2, experts)

    def forward(self, z: Tensor, pattern: Tensor | None) -> Tensor:
        """The logits of the experts.

        Args:
            z: (N, T, width) tokens.
            pattern: (N, 8), ψ(m) of each stream; None where the router sees features alone.

        Returns:
            (N, T, K_d).
        """
        width = z.shape[-1]
        weight = self.hidden.weight
        if self.sees == "features" or pattern is None:
            hidden = self.hidden(z)
        elif self.sees == "pattern":
            hidden = self.hidden(pattern)[:, None].expand(-1, z.shape[1], -1)
        else:
            # ψ(m) is the same for all tokens of a stream: its part of the product is made once per stream.
            shift = functional.linear(pattern, weight[:, width:], self.hidden.bias)
            hidden = functional.linear(z, weight[:, :width]) + shift[:, None]
        return self.out(functional.gelu(hidden))


def top_k_gates(logits: Tensor, top_k: int, renormalise: bool = False) -> tuple[Tensor, Tensor]:
    """Eq. 15: softmax, of which the ``top_k`` largest are kept.

    Args:
        logits: (N, T, K).
        top_k: How many gates stay.
        renormalise: Whether the kept gates are divided by their sum; the paper and the release do not.

    Returns:
        The gates (N, T, K), zero where not kept, and all probabilities (N, T, K), both float32.
    """
    probabilities = logits.float().softmax(-1)
    kept, index = probabilities.topk(top_k, dim=-1)
    if renormalise:
        kept = kept / kept.sum(-1, keepdim=True)
    return torch.zeros_like(probabilities).scatter(-1, index, kept), probabilities


def balance_loss(gates: Tensor, probabilities: Tensor) -> Tensor:
    """Load balancing, ``K Σ_k mean(p_k) · share(k)``; 1 when the experts are used evenly (Fedus et al. 2022).

    Args:
        gates: (N, T, K), zero where an expert is not used.
        probabilities: (N, T, K).

    Returns:
        A scalar.
    """
    used = (gates > 0).float()
    share = used.mean((0, 1)) / used.sum(-1).mean()
    return gates.shape[-1] * (probabilities.mean((0, 1)) * share).sum()


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

    def forward(self, layer: int, z: Tensor, context: Context) -> Tensor:
        """Δ (N, T, width) of the tokens ``z`` (N, T, width) of block ``layer``."""
        return self.experts(z, self._gates(layer, z, context))

    def _gates(self, layer: int, z: Tensor, context: Context) -> Tensor:
        """The weight of every expert, in the order dynamic, shared, per modality: (N, T, E)."""
        streams, tokens = z.shape[:2]
        parts = []
        if self.router is not None:
            logits = self.router(z, context.pattern)
            gates, probabilities = top_k_gates(logits, self.options.top_k, self.options.gate_renormalise)
            if self.options.balance_weight:
                context.losses.append(self.options.balance_weight * balance_loss(gates, probabilities))
            if context.routing is not None:
                context.routing[layer] = gates.detach()
            parts.append(gates)
        if self.options.shared_expert:
            parts.append(z.new_ones(streams, tokens, 1, dtype=torch.float32))
        if self.options.modality_experts:
            parts.append(context.available[:, None].expand(-1, tokens, -1))
        return torch.cat(parts, -1)


class MaMOL(Method):
    """The experts of all chosen blocks of one tower, and ψ, which they share (Eq. 14)."""

    def __init__(self, width: int, blocks: int, modalities: int, options: MaMOLOptions) -> None:
        """Makes the method for one tower.

        Args:
            width: Token width d of the tower.
            blocks: How many blocks the tower has.
            modalities: M.
            options: Which experts there are, and where.
        """
        super().__init__()
        routed = options.dynamic_experts and options.router_input != "features"
        self.pattern_embedding = nn.Linear(modalities, PATTERN_WIDTH) if routed else None
        self.layers = nn.ModuleDict(
            {
                str(block): MaMOLLayer(width, modalities, options)
                for block in chosen_blocks(options.expert_blocks, blocks)
            }
        )

    def begin(self, context: Context) -> None:
        """ψ(m) of each stream, (N, 8), where a router sees it."""
        if self.pattern_embedding is not None:
            context.pattern = self.pattern_embedding(context.available)

    def feed_forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """Frozen MLP plus Δ in the chosen blocks (Eq. 12)."""
        if str(layer) not in self.layers:
            return mlp(z)
        return mlp(z) + self.layers[str(layer)](layer, z, context)
