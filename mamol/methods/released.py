"""The adapter of the authors' released code (github Jiahuiqu/mamol, commit 6d7dd48), which is not Eq. 12 to 17.

``h' = h + W_o GELU(Σ_k g_k B_k A_k z + B_0 A_0 z + Σ_j [e_j > 0.5] B_j A_j z) + b_o`` beside the frozen MLP, with
``e = W_e code + b_e`` and ``g = TopK(softmax(router([z; e])))``. It differs from the paper in the output projection, in
experts that start at random (at initialisation this is *not* the frozen tower), and in the gate of the specific
experts: a threshold on the learned ``e``, through which no gradient flows, instead of the presence of a modality.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.methods.base import Context, FeedForward
from mamol.methods.layered import Layered
from mamol.methods.lora import StackedLoRA
from mamol.methods.per_tower import TrainedEnd
from mamol.methods.routing import PATTERN_WIDTH, Router, top_k_gates
from mamol.models.tower import Tower

INITIAL_STD = 0.02  # of both matrices of every expert
THRESHOLD = 0.5  # of a component of e, above which a specific expert is on


@dataclass(frozen=True)
class ReleasedOptions:
    """The sizes of the release's adapter; the defaults are its remote-sensing model.

    Attributes:
        experts_dynamic: K, routed experts per layer.
        top_k: How many of them a token uses; their gates are not renormalised.
        rank: Rank of every expert.
        expert_blocks: Blocks with an adapter.
        adapter_scale: Factor of what is added to the frozen MLP.
        train_end: Whether copies of the tower's last norm and of the visual projection are trained.
        experts_static: The shared expert and the specific ones. The release has 3 for three modalities, too, so no
            option of a run changes it; parity files may hold another number.
    """

    experts_dynamic: int = 2
    top_k: int = 1
    rank: int = 8
    expert_blocks: str | Sequence[int] = "last6"
    adapter_scale: float = 1.0
    train_end: bool = False
    experts_static: int = 3


def missing_code(available: Tensor) -> Tensor:
    """What ψ sees in the release.

    Args:
        available: (N, M), 1 where the sample has the modality.

    Returns:
        (N, 3) for two modalities: one-hot of complete, first missing, second missing. Otherwise (N, M), 1 where a
        modality is missing, as in the release's code for three.
    """
    absent = 1 - available
    return torch.cat([available.prod(1, keepdim=True), absent], 1) if available.shape[1] == 2 else absent


class ReleasedLayer(nn.Module):
    """The adapter of one block."""

    def __init__(self, width: int, modalities: int, options: ReleasedOptions) -> None:
        """Makes the adapter.

        Args:
            width: Token width d.
            modalities: M.
            options: Sizes.
        """
        super().__init__()
        self.options = options
        # Component j of e switches expert j in the release's code for two modalities, component j-1 in that for three.
        self.first = 1 if modalities == 2 else 0
        self.router = Router(width, options.experts_dynamic)
        self.experts = StackedLoRA(options.experts_dynamic + options.experts_static, width, options.rank)
        self.out = nn.Linear(width, width)
        for matrix in (self.experts.down, self.experts.up):
            nn.init.normal_(matrix, std=INITIAL_STD)

    def forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """Frozen MLP plus adapter, (N, T, width), for the tokens ``z`` (N, T, width) of block ``layer``."""
        return mlp(z) + self.adapter(layer, z, context)

    def adapter(self, layer: int, z: Tensor, context: Context) -> Tensor:
        """What is added to the frozen MLP, (N, T, width)."""
        dynamic, _ = top_k_gates(self.router(z, context.pattern), self.options.top_k)
        context.record(layer, dynamic)
        static = self._static_gates(context)[:, None].expand(-1, z.shape[1], -1)
        mixed = self.experts(z, torch.cat([dynamic, static.to(dynamic)], -1))
        return self.options.adapter_scale * self.out(functional.gelu(mixed))

    def _static_gates(self, context: Context) -> Tensor:
        """(N, S) bool: the shared expert is always on, specific ones where their component of e is large."""
        specific = (
            cast(Tensor, context.pattern)[:, self.first : self.first + self.options.experts_static - 1] > THRESHOLD
        )
        return torch.cat([specific.new_ones(len(specific), 1), specific], 1)


class Released(Layered):
    """The adapters of all chosen blocks of one tower, and the embedding e of the missing code, which they share."""

    def __init__(self, tower: Tower, modalities: int, options: ReleasedOptions) -> None:
        """Makes the method for one tower.

        Args:
            tower: It says width and number of blocks.
            modalities: M.
            options: Sizes, and which blocks.
        """
        width = tower.width
        super().__init__(
            options.expert_blocks, len(tower.blocks), lambda block: ReleasedLayer(width, modalities, options)
        )
        self.pattern_embedding = nn.Linear(3 if modalities == 2 else modalities, PATTERN_WIDTH)
        self.end = TrainedEnd(tower) if options.train_end else None

    def begin(self, context: Context) -> None:
        """Embeds the missing code: e of each stream, (N, 8)."""
        context.pattern = self.pattern_embedding(missing_code(context.available))

    def finish(self, x: Tensor, tower: Tower) -> Tensor:
        """The trained copies of last norm and projection, or the tower's: (N, width) to (N, output_dim)."""
        return super().finish(x, tower) if self.end is None else self.end(x, tower)

    def routing(self) -> list[nn.Module]:
        """The routers and the embedding of the missing code."""
        return [*super().routing(), self.pattern_embedding]
