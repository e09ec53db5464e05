"""DCP, deep correlated prompting (Hu et al., NeurIPS 2024), for M modalities behind one visual tower.

Three kinds of prompts, Lp of each, in front of the tokens of a stream, all picked by the missing pattern p of its
sample:

- *Correlated*: each modality has a base prompt for "present" and one for "missing". With ``u_0`` the base prompts of
  all M modalities side by side (Lp, M·d), layer l gives modality i ``v_i = F_{l,i}(LN_{l,i}(u_l))``, ``u_{l+1} =
  [v_1; ...]``, F = Linear(M·d, M·d/16), GELU, Linear(M·d/16, d). They replace those of the layer before.
- *Common*: one prompt per pattern, taken to modality i by Linear(d, d/16), GELU, Linear(d/16, d); put in at layer 0.
- *Dynamic*: one query per pattern that attends with one head to the tokens of layer 0; put in there.

Layer 0 sees ``[v; common; dynamic; tokens]``; ``ln_post`` and the tower's projection are trained, too. With
``fusion=single_stream`` a sequence has no modality of its own, so v and common are those of all M modalities, present
or missing, side by side; the dynamic query attends to the tokens of all present ones.

Follows the remote-sensing form in MaMOL's release, generalised from two modalities to M: 2^M - 1 patterns for its
three, hidden width M·d/16 for its 2·d/16. In the release the dynamic queries are plain tensors, so they are neither
trained nor saved: that is ``dcp_released``, except that they are saved here. Two more defects of it are not copied:
its data numbers the patterns the other way round than its prompts, and its HSI has 63 bands whatever the scene.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mamol.errors import MamolError
from mamol.methods.base import Context, Method
from mamol.methods.mmp import check_depth
from mamol.methods.patterns import pattern_index, pattern_table
from mamol.models.clip import VisualTower, attention

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
    """Prompts as they begin: normal with standard deviation 0.02."""
    return nn.Parameter(torch.randn(shape) * INITIAL_STD)


def bottleneck(inputs: int, outputs: int) -> nn.Sequential:
    """Linear, GELU, Linear through a sixteenth of the input width."""
    hidden = max(1, inputs // REDUCTION)
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))


class PerModality(nn.Module):
    """One projection per modality, all of the same input."""

    def __init__(self, projections: Iterable[nn.Module]) -> None:
        """Takes them in the order of the modalities."""
        super().__init__()
        self.projections = nn.ModuleList(projections)

    def forward(self, x: Tensor) -> Tensor:
        """From (P, Lp, inputs) to (P, M, Lp, outputs)."""
        return torch.stack([project(x) for project in self.projections], 1)


class PromptLearner(nn.Module):
    """Correlated and common prompts of every pattern.

    Attributes:
        base: (M, 2, Lp, d), per modality the prompt for missing (0) and for present (1).
        common: (2^M - 1, Lp, d).
        correlate: Per layer and modality, LN and F.
        to_modality: Per modality, the projection of the common prompt.
    """

    patterns: Tensor

    def __init__(self, width: int, modalities: int, length: int, depth: int) -> None:
        """Makes the learner.

        Args:
            width: Token width d.
            modalities: M.
            length: Lp.
            depth: Layers with correlated prompts.
        """
        super().__init__()
        side_by_side = modalities * width
        self.register_buffer("patterns", pattern_table(modalities).long(), persistent=False)
        self.base = normal(modalities, 2, length, width)
        self.common = normal(2**modalities - 1, length, width)
        self.correlate = nn.ModuleList(
            PerModality(
                nn.Sequential(nn.LayerNorm(side_by_side), bottleneck(side_by_side, width)) for _ in range(modalities)
            )
            for _ in range(depth)
        )
        self.to_modality = PerModality(bottleneck(width, width) for _ in range(modalities))

    def forward(self) -> Tensor:
        """All prompts, made once for every pattern.

        Returns:
            (2^M - 1, M, depth + 1, Lp, d): the correlated prompts of each layer, then the common ones.
        """
        modality = torch.arange(self.base.shape[0], device=self.base.device)
        prompts = self.base[modality, self.patterns]  # (P, M, Lp, d)
        layers = []
        for correlate in self.correlate:
            prompts = correlate(prompts.transpose(1, 2).flatten(2))  # from (P, Lp, M·d)
            layers.append(prompts)
        return torch.stack([*layers, self.to_modality(self.common)], 2)


class DCP(Method):
    """Prompts, and trainable copies of the tower's last norm and projection.

    Attributes:
        queries: (2^M - 1, Lp, d), of the dynamic prompts.
    """

    def __init__(
        self, tower: VisualTower, modalities: int, options: DCPOptions, *, trains_queries: bool = True
    ) -> None:
        """Makes the method for one tower.

        Args:
            tower: Its last norm and projection are copied.
            modalities: M.
            options: Number and depth of the prompts.
            trains_queries: False keeps the dynamic queries as they were drawn.

        Raises:
            MamolError: More layers with prompts than blocks.
        """
        super().__init__()
        check_depth(options.prompt_depth, len(tower.blocks))
        self.depth = options.prompt_depth
        self.length = options.prompt_length // KINDS
        self.learner = PromptLearner(tower.width, modalities, self.length, self.depth)
        self.queries = normal(2**modalities - 1, self.length, tower.width).requires_grad_(trains_queries)
        self.look = nn.MultiheadAttention(tower.width, 1, batch_first=True)
        self.ln_post = deepcopy(tower.visual.ln_post).requires_grad_(True)
        self.proj = nn.Parameter(tower.visual.proj.detach().clone())

    def begin(self, context: Context) -> None:
        """Makes the prompts of all patterns: (2^M - 1, M, depth + 1, Lp, d)."""
        context.pattern = self.learner()

    def before_block(self, layer: int, x: Tensor, context: Context) -> Tensor:
        """Puts all prompts in at layer 0, replaces the correlated ones at the next layers."""
        if layer >= self.depth:
            return x
        own = self.prompts(layer, context).to(x.dtype)
        if layer:
            return torch.cat([own, x[:, own.shape[1] :]], 1)
        query = self.queries[pattern_index(context.available)]
        dynamic = attention(self.look, query, x, mask=context.mask(x.shape[1]))
        return torch.cat([own, dynamic.to(x.dtype), x], 1)

    def prompts(self, layer: int, context: Context) -> Tensor:
        """What the streams get at ``layer`` apart from the dynamic prompts.

        Args:
            layer: Below the depth.
            context: After ``begin``.

        Returns:
            (N, 2·Lp, d) at layer 0, correlated and common; (N, Lp, d) at the next ones. M times as many for streams of
            all modalities.
        """
        made, pattern = context.prepared(), pattern_index(context.available)
        if context.modality is None:
            own = made[pattern].transpose(1, 2).flatten(2, 3)  # from (N, M, depth + 1, Lp, d)
        else:
            own = made[pattern, context.modality]
        return own[:, layer] if layer else own[:, [0, self.depth]].flatten(1, 2)

    def finish(self, x: Tensor, tower: VisualTower) -> Tensor:
        """The trained copies of ``ln_post`` and projection: (N, width) to (N, output_dim)."""
        return self.ln_post(x) @ self.proj
