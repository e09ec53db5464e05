"""Task-driven mixture of experts, Eq. 9 of arXiv 2511.11460: the router knows the missing pattern. Two forms.

``eq9`` (default): ``h = F_0(z) + Σ_k g_k B_k A_k z`` with ``g = softmax(W [z; ψ(m)])`` per token, all experts at
once; ψ is one layer for all blocks, as in MaMOL. The paper gives no more than that.

``moelora``: its source, MOELoRA (Liu et al. 2024, arXiv 2310.18339), with the missing pattern as the task. The gates
``softmax(W_T e_p)`` depend on an embedding of the pattern alone, one for the whole model; experts are inside both
linear maps of the MLP, ``y = W x + s Σ_k g_k B_k A_k drop(x)``, and share the total rank. From the source: embedding
width 64, dropout 0.1, A normal with standard deviation 0.01, s = 2 (its alpha 32 over its rank 16). Adapted: total
rank and number of experts are those of the run (8 and 2), not 16 and 8; the MLP's two maps in place of the language
model's.

Both start as the frozen tower.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn
from torch.nn import functional

from mamol.core.backbone import MLP
from mamol.core.errors import MamolError
from mamol.core.method import Method, Pass, Towers, method
from mamol.core.streams import Streams, Trace
from mamol.methods.layered import Layered
from mamol.methods.moe_ada import DROPOUT
from mamol.methods.patterns import pattern_index
from mamol.methods.router import PATTERN_WIDTH, Routed
from mamol.methods.stacked import StackedLoRA

TASK_WIDTH = 64  # of the pattern's embedding in MOELoRA
SCALE = 2.0  # s
INITIAL_STD = 0.01  # of MOELoRA's A


@dataclass(frozen=True)
class MoETaskOptions:
    """Number and place from MaMOL's paper.

    Attributes:
        experts_dynamic: K, experts per layer.
        rank: Rank of every expert; of all experts of a layer together in the form ``moelora``.
        expert_blocks: Blocks with experts.
        moe_task_form: ``eq9`` or ``moelora``.
    """

    experts_dynamic: int = 2
    rank: int = 8
    expert_blocks: str | Sequence[int] = "last6"
    moe_task_form: str = "eq9"

    def __post_init__(self) -> None:
        """Checks that MOELoRA's rank can be shared.

        Raises:
            MamolError: It cannot.
        """
        if self.moe_task_form == "moelora" and self.rank % self.experts_dynamic:
            raise MamolError(
                f"rank={self.rank} must be a multiple of experts_dynamic={self.experts_dynamic} "
                "for moe_task_form=moelora: the experts share it"
            )


class TaskRoutedLayer(nn.Module):
    """Eq. 9: dense low-rank experts beside the MLP of one block, gates from features and pattern."""

    def __init__(self, width: int, options: MoETaskOptions) -> None:
        """Makes the layer.

        Args:
            width: Token width d.
            options: Number and rank of the experts.
        """
        super().__init__()
        self.router = nn.Linear(width + PATTERN_WIDTH, options.experts_dynamic, bias=False)
        self.experts = StackedLoRA(options.experts_dynamic, width, options.rank)

    def forward(self, layer: int, z: Tensor, mlp: MLP, state: Routed) -> Tensor:
        """Frozen MLP plus ``Σ_k g_k B_k A_k z``.

        Args:
            layer: Block number from 0, for the trace.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP.
            state: Of this pass, with ψ(m), (N, 8); takes the gates.

        Returns:
            (N, T, width).
        """
        features, pattern = self.router.weight.split([z.shape[-1], PATTERN_WIDTH], 1)
        shift = functional.linear(state.known_pattern(), pattern)  # the same for all tokens of a stream
        gates = (functional.linear(z, features) + shift[:, None]).float().softmax(-1)
        state.record(layer, gates)
        return mlp(z) + self.experts(z, gates)


@dataclass
class Gated(Pass):
    """A pass whose gates are the same in all layers.

    Attributes:
        gates: (N, K) of each stream.
    """

    gates: Tensor = field(kw_only=True)


class MoELoRALayer(nn.Module):
    """MOELoRA: experts inside both linear maps of the MLP of one block, gates from the pattern."""

    def __init__(self, mlp: MLP, options: MoETaskOptions) -> None:
        """Makes the layer.

        Args:
            mlp: The block's frozen MLP, for its sizes.
            options: Number and total rank of the experts.
        """
        super().__init__()
        experts = options.experts_dynamic
        self.drop = nn.Dropout(DROPOUT)
        self.c_fc = StackedLoRA(experts, mlp.width, options.rank // experts, mlp.expanded)
        self.c_proj = StackedLoRA(experts, mlp.inner, options.rank // experts, mlp.width)
        for update in (self.c_fc, self.c_proj):
            nn.init.normal_(update.down, std=INITIAL_STD)

    def forward(self, layer: int, z: Tensor, mlp: MLP, state: Gated) -> Tensor:
        """The MLP with its updates.

        Args:
            layer: Block number from 0, for the trace.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP.
            state: Of this pass, with the gates of each stream, (N, K).

        Returns:
            (N, T, width).
        """
        gates = state.gates[:, None]
        state.record(layer, gates.expand(-1, z.shape[1], -1))
        hidden = mlp.activate(mlp.expand(z) + SCALE * self.c_fc(self.drop(z), gates))
        return mlp.contract(hidden) + SCALE * self.c_proj(self.drop(hidden), gates)


class PatternGates(nn.Module):
    """MOELoRA's gates, ``softmax(W_T e_p)``."""

    def __init__(self, modalities: int, experts: int) -> None:
        """Makes embedding and gate.

        Args:
            modalities: M.
            experts: K.
        """
        super().__init__()
        self.embedding = nn.Embedding(2**modalities - 1, TASK_WIDTH)
        self.gate = nn.Linear(TASK_WIDTH, experts, bias=False)

    def forward(self, available: Tensor) -> Tensor:
        """The gates of each stream.

        Args:
            available: (N, M), 1 where the stream's sample has the modality.

        Returns:
            (N, K) float32, of sum one.
        """
        logits: Tensor = self.gate(self.embedding(pattern_index(available)))
        return logits.float().softmax(-1)


class TaskRouted(Layered[Routed]):
    """The form ``eq9``: the experts of all chosen blocks, and ψ, which they share."""

    def __init__(self, towers: Towers, options: MoETaskOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: It says the sizes and M.
            options: Number, rank and place of the experts.
        """
        width, blocks = towers.only.width, len(towers.only.blocks)
        super().__init__(options.expert_blocks, blocks, lambda block: TaskRoutedLayer(width, options))
        self.pattern = nn.Linear(towers.modalities, PATTERN_WIDTH)

    def begin(self, streams: Streams, trace: Trace | None = None) -> Routed:
        """ψ(m) of each stream, (N, 8)."""
        return Routed(streams, trace, pattern=self.pattern(streams.available))

    def routers(self) -> list[nn.Module]:
        """The routers and ψ."""
        return [*super().routers(), self.pattern]


class MoELoRA(Layered[Gated]):
    """The form ``moelora``: the experts of all chosen blocks, and the gates, which they share."""

    def __init__(self, towers: Towers, options: MoETaskOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: It says the sizes and M.
            options: Number, rank and place of the experts.
        """
        blocks = towers.only.blocks
        super().__init__(
            options.expert_blocks, len(blocks), lambda block: MoELoRALayer(blocks[block].feed_forward, options)
        )
        self.pattern = PatternGates(towers.modalities, options.experts_dynamic)

    def begin(self, streams: Streams, trace: Trace | None = None) -> Gated:
        """The gates of each stream, (N, K)."""
        return Gated(streams, trace, gates=self.pattern(streams.available))

    def routers(self) -> list[nn.Module]:
        """What makes the gates."""
        return [*super().routers(), self.pattern]


@method(
    "moe_task",
    summary="low-rank experts whose router knows the missing pattern",
    source="arXiv 2511.11460, Eq. 9; moe_task_form=moelora: MOELoRA, arXiv 2310.18339",
    settings=MoETaskOptions,
)
def moe_task(towers: Towers, options: MoETaskOptions) -> Method[Routed] | Method[Gated]:
    """Makes the form that ``moe_task_form`` asks for.

    Args:
        towers: One tower.
        options: Form, number, rank and place of the experts.
    """
    return MoELoRA(towers, options) if options.moe_task_form == "moelora" else TaskRouted(towers, options)
