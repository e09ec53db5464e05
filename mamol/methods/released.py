"""The adapter of the authors' released code (github Jiahuiqu/mamol, commit 6d7dd48), which is not Eq. 12 to 17.

``h' = h + W_o GELU(Σ_k g_k B_k A_k z + B_0 A_0 z + Σ_j [e_j > 0.5] B_j A_j z) + b_o`` beside the frozen MLP, with
``e = W_e code + b_e`` and ``g = TopK(softmax(router([z; e])))``. It differs from the paper in the output projection, in
experts that start at random (at initialisation this is *not* the frozen tower), and in the gate of the specific
experts: a threshold on the learned ``e``, through which no gradient flows, instead of the presence of a modality.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.backbone import MLP, Backbone
from mamol.core.gates import top_k_gates
from mamol.core.method import Towers, method
from mamol.core.streams import Streams, Trace
from mamol.methods.layered import Layered
from mamol.methods.router import PATTERN_WIDTH, Routed, Router
from mamol.methods.stacked import StackedLoRA
from mamol.methods.trained_end import TrainedEnd

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

    def forward(self, layer: int, z: Tensor, mlp: MLP, state: Routed) -> Tensor:
        """Frozen MLP plus adapter.

        Args:
            layer: Block number from 0, for the trace.
            z: (N, T, width), the tokens behind attention and norm.
            mlp: The block's frozen MLP.
            state: Of this pass, with e, (N, 8); takes the gates.

        Returns:
            (N, T, width).
        """
        return mlp(z) + self.adapter(layer, z, state)

    def adapter(self, layer: int, z: Tensor, state: Routed) -> Tensor:
        """What is added to the frozen MLP.

        Args:
            layer: As of ``forward``.
            z: As of ``forward``.
            state: As of ``forward``.

        Returns:
            (N, T, width).
        """
        dynamic, _ = top_k_gates(self.router(z, state.pattern), self.options.top_k)
        state.record(layer, dynamic)
        static = self._static_gates(state.known_pattern())[:, None].expand(-1, z.shape[1], -1)
        mixed = self.experts(z, torch.cat([dynamic, static.to(dynamic)], -1))
        added: Tensor = self.options.adapter_scale * self.out(functional.gelu(mixed))
        return added

    def _static_gates(self, pattern: Tensor) -> Tensor:
        """(N, S) bool: the shared expert is always on, specific ones where their component of e is large."""
        specific = pattern[:, self.first : self.first + self.options.experts_static - 1] > THRESHOLD
        return torch.cat([specific.new_ones(len(specific), 1), specific], 1)


@method(
    "released",
    summary="the released code's adapter: output projection, random experts, thresholded gates",
    source="github Jiahuiqu/mamol; use the named config released",
    settings=ReleasedOptions,
    fixed=("experts_static",),
)
class Released(Layered[Routed]):
    """The adapters of all chosen blocks of one tower, and the embedding e of the missing code, which they share."""

    def __init__(self, towers: Towers, options: ReleasedOptions) -> None:
        """Makes the method for one tower.

        Args:
            towers: It says width, number of blocks and M.
            options: Sizes, and which blocks.
        """
        tower, modalities = towers.only, towers.modalities
        width = tower.width
        super().__init__(
            options.expert_blocks, len(tower.blocks), lambda block: ReleasedLayer(width, modalities, options)
        )
        self.pattern_embedding = nn.Linear(3 if modalities == 2 else modalities, PATTERN_WIDTH)
        self.end = TrainedEnd(tower) if options.train_end else None

    def begin(self, streams: Streams, trace: Trace | None = None) -> Routed:
        """Embeds the missing code: e of each stream, (N, 8)."""
        return Routed(streams, trace, pattern=self.pattern_embedding(missing_code(streams.available)))

    def finish(self, x: Tensor, backbone: Backbone, state: Routed) -> Tensor:
        """The trained copies of last norm and projection, or the tower's: (…, width) to (…, output_dim)."""
        if self.end is None:
            return super().finish(x, backbone, state)
        feature: Tensor = self.end(x, backbone)
        return feature

    def replaced(self, backbone: Backbone) -> Iterable[Tensor]:
        """The end of the tower, where it is copied."""
        return () if self.end is None else self.end.replaced(backbone)

    def routers(self) -> list[nn.Module]:
        """The routers and the embedding of the missing code."""
        return [*super().routers(), self.pattern_embedding]
