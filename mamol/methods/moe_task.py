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
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from mamol.errors import MamolError
from mamol.methods.base import Context, FeedForward
from mamol.methods.layered import CLIPMLP, Layered
from mamol.methods.lora import StackedLoRA
from mamol.methods.moe_ada import DROPOUT
from mamol.methods.patterns import pattern_index
from mamol.methods.routing import PATTERN_WIDTH
from mamol.models.tower import Tower

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

    def forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """Frozen MLP plus ``Σ_k g_k B_k A_k z``, (N, T, width); ``context.pattern`` is ψ(m), (N, 8)."""
        features, pattern = self.router.weight.split([z.shape[-1], PATTERN_WIDTH], 1)
        shift = functional.linear(context.prepared(), pattern)  # the same for all tokens of a stream
        gates = (functional.linear(z, features) + shift[:, None]).float().softmax(-1)
        context.record(layer, gates)
        return mlp(z) + self.experts(z, gates)


class MoELoRALayer(nn.Module):
    """MOELoRA: experts inside both linear maps of the MLP of one block, gates from the pattern."""

    def __init__(self, width: int, hidden: int, options: MoETaskOptions) -> None:
        """Makes the layer.

        Args:
            width: Token width d.
            hidden: Width inside the MLP.
            options: Number and total rank of the experts.
        """
        super().__init__()
        experts = options.experts_dynamic
        self.drop = nn.Dropout(DROPOUT)
        self.c_fc = StackedLoRA(experts, width, options.rank // experts, hidden)
        self.c_proj = StackedLoRA(experts, hidden, options.rank // experts, width)
        for update in (self.c_fc, self.c_proj):
            nn.init.normal_(update.down, std=INITIAL_STD)

    def forward(self, layer: int, z: Tensor, mlp: CLIPMLP, context: Context) -> Tensor:
        """The MLP with its updates, (N, T, width); ``context.pattern`` are the gates (N, K)."""
        gates = context.prepared()[:, None]
        context.record(layer, gates.expand(-1, z.shape[1], -1))
        hidden = mlp.gelu(mlp.c_fc(z) + SCALE * self.c_fc(self.drop(z), gates))
        return mlp.c_proj(hidden) + SCALE * self.c_proj(self.drop(hidden), gates)


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
        """From ``available`` (N, M) to gates (N, K)."""
        return self.gate(self.embedding(pattern_index(available))).float().softmax(-1)


class MoETask(Layered):
    """The experts of all chosen blocks and what they share: ψ, or the gates."""

    def __init__(self, tower: Tower, modalities: int, options: MoETaskOptions) -> None:
        """Makes the method for one tower.

        Args:
            tower: It says the sizes.
            modalities: M.
            options: Form, number, rank and place of the experts.
        """
        moelora = options.moe_task_form == "moelora"
        width, hidden = tower.width, tower.mlp_width
        super().__init__(
            options.expert_blocks,
            len(tower.blocks),
            lambda block: MoELoRALayer(width, hidden, options) if moelora else TaskRoutedLayer(width, options),
        )
        self.pattern: nn.Module = (
            PatternGates(modalities, options.experts_dynamic) if moelora else nn.Linear(modalities, PATTERN_WIDTH)
        )

    def begin(self, context: Context) -> None:
        """ψ(m) of each stream, (N, 8), or its gates, (N, K)."""
        context.pattern = self.pattern(context.available)

    def routing(self) -> list[nn.Module]:
        """The routers and what knows the pattern."""
        return [*super().routing(), self.pattern]
