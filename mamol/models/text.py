"""The frozen CLIP text tower: causal, and its feature is that of the end token."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from open_clip.transformer import LayerNorm, ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn

from mamol.errors import MamolError
from mamol.models.activation import QuickGELU
from mamol.models.architectures import TextSpec, clip_spec
from mamol.models.clip import RANDOM, frozen_weights
from mamol.models.tower import TEXT, Tower


class TextTower(Tower):
    """A frozen text transformer.

    Attributes:
        text: open_clip's module.
    """

    name = TEXT
    causal = True

    def __init__(self, text: TextTransformer, origin: str) -> None:
        """Freezes ``text``, open_clip's module with its weights, which come from ``origin``."""
        super().__init__(text, origin)
        self.text = text

    @property
    def width(self) -> int:
        """Token width d."""
        return self.text.width

    @property
    def output_dim(self) -> int:
        """Width of the feature that leaves the tower."""
        return self.text.output_dim

    @property
    def blocks(self) -> Sequence[ResidualAttentionBlock]:
        """The residual attention blocks, in order."""
        return self.text.transformer.resblocks

    @property
    def last_norm(self) -> nn.LayerNorm:
        """``ln_final``."""
        return self.text.ln_final

    @property
    def projection(self) -> Tensor:
        """``text_projection``, (width, output_dim)."""
        return self.text.text_projection

    def embed(self, x: Tensor) -> Tensor:
        """Token numbers (N, T) to tokens (N, T, width)."""
        return self.text.token_embedding(x)

    def begin(self, tokens: Tensor) -> Tensor:
        """Positions added: (N, T, width), T at most the context length."""
        return tokens + self.text.positional_embedding[: tokens.shape[1]]


def end_of_text(ids: Tensor) -> Tensor:
    """Where each text ends: the place (N,) of the end token, which is the largest of the numbers ``ids`` (N, T)."""
    return ids.argmax(-1)


def text_transformer(spec: TextSpec, output_dim: int) -> TextTransformer:
    """open_clip's module of these sizes, with random weights."""
    return TextTransformer(
        context_length=spec.context_length,
        vocab_size=spec.vocab_size,
        width=spec.width,
        heads=spec.heads,
        layers=spec.layers,
        output_dim=output_dim,
        act_layer=QuickGELU if spec.quick_gelu else nn.GELU,
        norm_layer=LayerNorm,
    )


def text_tower(backbone: str, clip_weights: str, seed: int = 0, *, activation: str = "auto") -> TextTower:
    """Builds the frozen text tower of a backbone.

    Args:
        backbone: An open_clip ViT, or ``tiny``.
        clip_weights: ``openai``, a path, or ``random``; ``tiny`` is always random.
        seed: Of random weights.
        activation: Of the frozen MLPs: ``quickgelu``, ``gelu``, or ``auto``.

    Returns:
        The tower.

    Raises:
        MamolError: As ``frozen_weights``, or weights of a visual tower alone.
    """
    spec = clip_spec(backbone)
    loaded, quick_gelu = frozen_weights(backbone, clip_weights, activation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = text_transformer(replace(spec.text, quick_gelu=quick_gelu), spec.visual.output_dim)
    if loaded is None:
        return TextTower(text, f"{RANDOM} (seed {seed})")
    state = {name: value for name, value in loaded.state.items() if not name.startswith("visual.")}
    if not state:
        raise MamolError(
            f"clip_weights={clip_weights}: {loaded.source} holds a visual tower alone; texts need the whole CLIP"
        )
    text.load_state_dict(state)
    return TextTower(text, loaded.source)
