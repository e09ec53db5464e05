"""MaMOL, Eq. 12 to 17 of arXiv 2511.11460: dynamic, shared and modality-specific low-rank experts.

``h' = h + Σ_k g_k B_k A_k z + B_shr A_shr z + Σ_i m_i B_i A_i z`` beside the frozen MLP, on the same ``z = ln_2(x)``,
with ``g = TopK(softmax(W φ([z; ψ(m)])))``. With ``router_input=modality``, which is not the paper's, the router sees an
embedding of the token's modality besides, ``[z; e_mod; ψ(m)]``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mamol.core.backbone import MLP, chosen_blocks
from mamol.core.errors import MamolError
from mamol.core.gates import balance_loss, balance_per_modality, top_k_gates
from mamol.core.merging import LowRank
from mamol.core.method import Towers, method
from mamol.core.pruning import Cut, Remains
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
        experts_per_block: Routed experts of each of these blocks, as ``prune`` leaves them; None: K_d in all.
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
    experts_per_block: Sequence[int] | None = None

    def dynamic(self, blocks: int) -> dict[int, int]:
        """Block with experts -> how many of them are routed.

        Args:
            blocks: How many blocks the tower has.

        Raises:
            MamolError: A block outside the tower, or another number of blocks than ``experts_per_block`` is for.
        """
        chosen, each = chosen_blocks(self.expert_blocks, blocks), self.experts_per_block
        if each is not None and len(each) != len(chosen):
            raise MamolError(
                f"experts_per_block={list(each)}: there are {len(chosen)} blocks with experts; give one number for each"
            )
        counts = [self.experts_dynamic] * len(chosen) if each is None else each
        return {block: count if self.dynamic_experts else 0 for block, count in zip(chosen, counts, strict=True)}


class MaMOLLayer(nn.Module):
    """The experts of one block; Δ of Eq. 12."""

    def __init__(self, width: int, modalities: int, options: MaMOLOptions, dynamic: int | None = None) -> None:
        """Makes the layer.

        Args:
            width: Token width d.
            modalities: M.
            options: Which experts there are.
            dynamic: How many routed ones; None: K_d.
        """
        super().__init__()
        if dynamic is None:
            dynamic = options.experts_dynamic if options.dynamic_experts else 0
        self.options, self.dynamic = options, dynamic
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
            top_k = min(self.options.top_k, self.dynamic)
            gates, probabilities = top_k_gates(logits, top_k, self.options.gate_renormalise)
            if self.options.balance_weight:
                balance = self._balance(gates, probabilities, state.streams)
                state.losses.append(self.options.balance_weight * balance)
            state.record(layer, gates, lambda: self.experts.norms(z)[..., : self.dynamic])
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

    def experts_of(self, inputs: Sequence[int], routed: Sequence[int]) -> dict[str, Tensor]:
        """The weights of some of the experts, as of ``StackedLoRA.state_of``; the shared one is always among them.

        Args:
            inputs: Numbers of the modalities.
            routed: Numbers of the routed experts.
        """
        static = self.dynamic + int(self.options.shared_expert)
        own = [static + i for i in inputs] if self.options.modality_experts else []
        return self.experts.state_of([*routed, *range(self.dynamic, static), *own])

    def pruned(self, inputs: Sequence[int], routed: Sequence[int]) -> dict[str, Tensor]:
        """The weights of a layer with some of the modalities and routed experts.

        Args:
            inputs: Numbers of the modalities.
            routed: Numbers of the routed experts.
        """
        state = {f"experts.{name}": value for name, value in self.experts_of(inputs, routed).items()}
        if self.router is not None:
            state |= {f"router.{name}": value for name, value in self.router.pruned(routed).items()}
        return state


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
        dynamic = options.dynamic(blocks)
        super().__init__(
            options.expert_blocks, blocks, lambda block: MaMOLLayer(width, modalities, options, dynamic[block])
        )
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

    def constant(self, present: Sequence[int]) -> dict[int, LowRank]:
        """Shared expert, experts of the present modalities and the one routed expert, whose gate is 1, side by side.

        Args:
            present: Numbers of the modalities.

        Raises:
            MamolError: A block has several routed experts.
        """
        layers = cast(Mapping[str, MaMOLLayer], self.layers)
        if several := {block: layer.dynamic for block, layer in layers.items() if layer.dynamic > 1}:
            block, count = next(iter(several.items()))
            raise MamolError(
                f"block {block} has {count} routed experts, among which each token chooses: leave one in each block "
                "first, with prune, keep=<the same modalities> and a large tau=99, and merge the pruned run"
            )
        return {
            int(block): LowRank(**layer.experts_of(present, range(layer.dynamic))) for block, layer in layers.items()
        }

    def pruned(self, cut: Cut) -> Remains:
        """Experts of modalities and routed ones, with their rows of the routers, columns of ψ and e_mod.

        Args:
            cut: What stays.
        """
        state: dict[str, Tensor] = {}
        counts, before = [], []
        for block, layer in cast(Mapping[str, MaMOLLayer], self.layers).items():
            routed = cut.experts.get(int(block), ())
            counts.append(len(routed))
            before.append(layer.dynamic)
            state |= {f"layers.{block}.{name}": value for name, value in layer.pruned(cut.inputs, routed).items()}
        if self.pattern_embedding is not None:
            # An absent modality is a zero in m: leaving its column out changes nothing.
            weight, bias = self.pattern_embedding.weight.detach(), self.pattern_embedding.bias.detach()
            state |= {"pattern_embedding.weight": weight[:, list(cut.inputs)], "pattern_embedding.bias": bias}
        if self.modality_embedding is not None:
            state["modality_embedding.weight"] = self.modality_embedding.weight.detach()[list(cut.inputs)]
        return Remains({} if counts == before else {"experts_per_block": counts}, state)
