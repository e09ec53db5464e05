"""DCP, deep correlated prompting (Hu et al., NeurIPS 2024), for M modalities behind one tower or two.

Three kinds of prompts, Lp of each, in front of the tokens of a stream, all picked by the missing pattern p of its
sample:

- *Correlated*: each modality has a base prompt for "present" and one for "missing". With ``u_0`` the base prompts of
  all M modalities side by side (Lp, D), layer l gives modality i ``v_i = F_{l,i}(LN_{l,i}(u_l))``, ``u_{l+1} =
  [v_1; ...]``, F = Linear(D, D/16), GELU, Linear(D/16, d_i); D is the sum of the towers' widths d_i, M·d behind one
  tower. They replace those of the layer before.
- *Common*: one prompt per pattern as wide as the narrowest tower, d, taken to modality i by Linear(d, d/16), GELU,
  Linear(d/16, d_i); put in at layer 0.
- *Dynamic*: one query per pattern that attends with one head to the tokens of layer 0; put in there.

Layer 0 sees ``[v; common; dynamic; tokens]``; the last norms and the visual projection are trained, too. With
``fusion=single_stream`` a sequence has no modality of its own, so v and common are those of all M modalities, present
or missing, side by side; the dynamic query attends to the tokens of all present ones.

Images and texts go by the source, 1280 wide together on ViT-B/16; its dynamic queries look at a text's padding, too,
here they do not. Windows go by the form in MaMOL's release. Both are generalised from two modalities to M: 2^M - 1
patterns for their three, D/16 wide inside. In the release the dynamic queries are plain tensors, so they are neither
trained nor saved: that is ``dcp_released``, except that they are saved here. Two more defects of it are not copied:
its data numbers the patterns the other way round than its prompts, and its HSI has 63 bands whatever the scene.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from mamol.core.attention import attention
from mamol.core.backbone import Backbone
from mamol.core.errors import MamolError
from mamol.core.method import Method, Pass, Towers, method
from mamol.core.streams import Streams, Trace
from mamol.methods.mmp import check_depth
from mamol.methods.patterns import pattern_index, pattern_table
from mamol.methods.trained_end import TrainedEnd

INITIAL_STD = 0.02
REDUCTION = 16  # input width of a projection over its hidden width
KINDS = 3  # of prompts: correlated, common, dynamic


@dataclass(frozen=True)
class DCPOptions:
    """The source's choices are the defaults.

    Attributes:
        prompt_length: Prompts of the three kinds together, 3·Lp.
        prompt_depth: How many layers, from the first on, have correlated prompts.
    """

    prompt_length: int = 36
    prompt_depth: int = 6

    def __post_init__(self) -> None:
        """Checks that the three kinds are equally many.

        Raises:
            MamolError: They are not.
        """
        if self.prompt_length % KINDS:
            raise MamolError(
                f"prompt_length={self.prompt_length} must be a multiple of 3 for method=dcp: a third each are "
                "correlated, common and dynamic prompts"
            )


def normal(*shape: int) -> nn.Parameter:
    """Prompts as they begin: normal with standard deviation 0.02.

    Args:
        *shape: Of the prompts.
    """
    return nn.Parameter(torch.randn(shape) * INITIAL_STD)


def bottleneck(inputs: int, outputs: int) -> nn.Sequential:
    """Linear, GELU, Linear through a sixteenth of the input width.

    Args:
        inputs: Width in front of the first map.
        outputs: Width behind the last one.
    """
    hidden = max(1, inputs // REDUCTION)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class PerModality(nn.Module):
    """One projection per modality, all of the same input."""

    def __init__(self, projections: Iterable[nn.Module]) -> None:
        """Takes the projections.

        Args:
            projections: In the order of the modalities.
        """
        super().__init__()
        self.projections = nn.ModuleList(projections)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Projects to every modality.

        Args:
            x: (P, Lp, inputs) of the P patterns.

        Returns:
            (P, Lp, d) of each modality.
        """
        return [project(x) for project in self.projections]


class PromptLearner(nn.Module):
    """Correlated and common prompts of every pattern.

    Attributes:
        base: Per modality (2, Lp, d), the prompt for missing (0) and for present (1).
        common: (2^M - 1, Lp, d) of the narrowest tower.
        correlate: Per layer and modality, LN and F.
        to_modality: Per modality, the projection of the common prompt.
    """

    patterns: Tensor

    def __init__(self, widths: Sequence[int], length: int, depth: int) -> None:
        """Makes the learner.

        Args:
            widths: Token width d of each modality's tower.
            length: Lp.
            depth: Layers with correlated prompts.
        """
        super().__init__()
        together, narrow = sum(widths), min(widths)
        self.register_buffer("patterns", pattern_table(len(widths)).long(), persistent=False)
        self.base = nn.ParameterList(normal(2, length, width) for width in widths)
        self.common = normal(2 ** len(widths) - 1, length, narrow)
        self.correlate = nn.ModuleList(
            PerModality(nn.Sequential(nn.LayerNorm(together), bottleneck(together, width)) for width in widths)
            for _ in range(depth)
        )
        self.to_modality = PerModality(bottleneck(narrow, width) for width in widths)

    def forward(self) -> list[Tensor]:
        """All prompts, made once for every pattern.

        Returns:
            Of each modality (2^M - 1, depth + 1, Lp, d): the correlated prompts of each layer, then the common ones.
        """
        prompts = [base[has] for base, has in zip(self.base, self.patterns.T, strict=True)]  # (P, Lp, d)
        layers = []
        for correlate in self.correlate:
            prompts = correlate(torch.cat(prompts, -1))
            layers.append(prompts)
        layers.append(self.to_modality(self.common))
        return [torch.stack(of_modality, 1) for of_modality in zip(*layers, strict=True)]


@dataclass
class Prompted(Pass):
    """A pass with the prompts of every pattern made.

    Attributes:
        prompts: (2^M - 1, modalities of the tower, depth + 1, Lp, d).
    """

    prompts: Tensor = field(kw_only=True)


@method(
    "dcp",
    summary="correlated, common and dynamic prompts picked by the missing pattern",
    source="Hu et al., NeurIPS 2024, github hulianyuyy/Deep_Correlated_Prompting",
    settings=DCPOptions,
    together=True,
)
class DCP(Method[Prompted]):
    """Prompts of all towers, and trainable copies of their last norms and of the visual projection.

    Attributes:
        queries: Tower to (2^M - 1, Lp, d), of the dynamic prompts.
        look: Tower to the attention of the dynamic prompts.
        end: Tower to the copies.
        trains_queries: False keeps the dynamic queries as they were drawn.
    """

    place: Tensor

    trains_queries = True

    def __init__(self, towers: Towers, options: DCPOptions) -> None:
        """Makes the method for all towers, because prompts of one modality depend on those of the others.

        Args:
            towers: Their last norm and projection are copied.
            options: Number and depth of the prompts.

        Raises:
            MamolError: More layers with prompts than blocks.
        """
        super().__init__()
        self.depth = options.prompt_depth
        self.length = options.prompt_length // KINDS
        self.members = {name: list(own) for name, own in towers.members.items()}
        widths = {i: towers.backbones[name].width for name, own in self.members.items() for i in own}
        place = {i: number for own in self.members.values() for number, i in enumerate(own)}
        self.register_buffer("place", torch.tensor([place[i] for i in sorted(place)]), persistent=False)
        self.learner = PromptLearner([widths[i] for i in sorted(widths)], self.length, self.depth)
        self.queries, self.look, self.end = nn.ParameterDict(), nn.ModuleDict(), nn.ModuleDict()
        for name, tower in towers.backbones.items():
            check_depth(options.prompt_depth, len(tower.blocks))
            queries = normal(2 ** len(widths) - 1, self.length, tower.width)
            self.queries[name] = queries.requires_grad_(self.trains_queries)
            self.look[name] = nn.MultiheadAttention(tower.width, 1, batch_first=True)
            self.end[name] = TrainedEnd(tower)

    def begin(self, streams: Streams, trace: Trace | None = None) -> Prompted:
        """Makes the prompts of the tower's modalities."""
        made = self.learner()
        prompts = torch.stack([made[i] for i in self.members[streams.tower]], 1)
        return Prompted(streams, trace, prompts=prompts)

    def before_block(self, layer: int, x: Tensor, state: Prompted) -> Tensor:
        """Puts all prompts in at layer 0, replaces the correlated ones at the next layers."""
        if layer >= self.depth:
            return x
        own = self.prompts(layer, state).to(x.dtype)
        streams = state.streams
        if layer:
            return torch.cat([own, x[:, own.shape[1] :]], 1)
        query = self.queries[streams.tower][pattern_index(streams.available)]
        look = cast(nn.MultiheadAttention, self.look[streams.tower])
        dynamic = attention(look, query, x, mask=streams.mask(x.shape[1]))
        return torch.cat([own, dynamic.to(x.dtype), x], 1)

    def prompts(self, layer: int, state: Prompted) -> Tensor:
        """What the streams get at ``layer`` apart from the dynamic prompts.

        Args:
            layer: Below the depth.
            state: Of ``begin``.

        Returns:
            (N, 2·Lp, d) at layer 0, correlated and common; (N, Lp, d) at the next ones. As many times as the tower has
            modalities for streams of all of them.
        """
        made, pattern, modality = state.prompts, pattern_index(state.streams.available), state.streams.modality
        # Without a modality of their own, streams get those of all: from (N, M, depth + 1, Lp, d).
        own = made[pattern].transpose(1, 2).flatten(2, 3) if modality is None else made[pattern, self.place[modality]]
        return own[:, layer] if layer else own[:, [0, self.depth]].flatten(1, 2)

    def finish(self, x: Tensor, backbone: Backbone, state: Prompted) -> Tensor:
        """The trained copies of last norm and projection: (…, width) to (…, output_dim)."""
        feature: Tensor = self.end[backbone.name](x, backbone)
        return feature

    def replaced(self, backbone: Backbone) -> Iterable[Tensor]:
        """The end of the tower."""
        return cast(TrainedEnd, self.end[backbone.name]).replaced(backbone)


@method(
    "dcp_released",
    summary="dcp with dynamic queries that are not trained",
    source="the code of dcp and its form in github Jiahuiqu/mamol",
    settings=DCPOptions,
    together=True,
)
class DCPReleased(DCP):
    """DCP as it is in the release: the dynamic queries stay as they were drawn."""

    trains_queries = False
