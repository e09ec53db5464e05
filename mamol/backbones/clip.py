"""CLIP as a backbone: the frozen visual tower of open_clip's modules, and the family that ``backbone=`` names."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mamol.backbones.architectures import (
    TINY_NAME,
    clip_spec,
    describe_sizes,
    image_size_of,
    supported_backbones,
)
from mamol.backbones.blocks import blocks_of
from mamol.backbones.text import TextTower
from mamol.backbones.weights import ClipWeights, interpolate_positions, load_clip_weights
from mamol.core.backbone import BACKBONES, RANDOM, Backbone, BackboneFamily, BackboneRequest, Origin
from mamol.core.errors import MamolError
from mamol.core.fingerprint import fingerprint
from mamol.core.streams import VISUAL

if TYPE_CHECKING:
    from open_clip.transformer import VisionTransformer

logger = logging.getLogger(__name__)


class VisualTower(Backbone):
    """A frozen vision transformer that takes windows, embedded elsewhere, or images.

    Attributes:
        visual: open_clip's module; its ``conv1`` is used only by images.
    """

    name = VISUAL

    def __init__(self, visual: "VisionTransformer", origin: Origin, modality_type: Tensor | None = None) -> None:
        """Freezes ``visual``.

        Args:
            visual: open_clip's module, weights loaded.
            origin: What the weights are.
            modality_type: Type embedding of images, of weights that were trained with one.
        """
        super().__init__(visual, origin)
        self.visual = visual
        self.width, self.output_dim = len(visual.class_embedding), visual.output_dim
        self.blocks = blocks_of(visual.transformer.resblocks)
        self.patch = visual.patch_size[0]
        self.modality_type = modality_type

    @property
    def last_norm(self) -> nn.LayerNorm:
        """``ln_post``."""
        norm: nn.LayerNorm = self.visual.ln_post
        return norm

    @property
    def projection(self) -> Tensor:
        """``proj``, (width, output_dim)."""
        projection: Tensor = self.visual.proj
        return projection

    def load_weights(self, state: Mapping[str, Tensor], origin: Origin) -> None:
        """Takes other frozen weights; position embeddings are interpolated where their grid is another one.

        Args:
            state: In open_clip's naming without ``visual.``.
            origin: What they are.

        Raises:
            MamolError: They are of another architecture.
        """
        own = self.visual.state_dict()
        state = dict(state)
        if "positional_embedding" in state:
            grid = round((len(own["positional_embedding"]) - 1) ** 0.5)
            state["positional_embedding"] = interpolate_positions(state["positional_embedding"], grid)
        here, there = ({f"visual.{n}": w.shape for n, w in weights.items()} for weights in (own, state))
        if here != there:
            raise MamolError(
                f"{origin} holds another tower ({describe_sizes(there)}) than backbone gives ({describe_sizes(here)}); "
                "choose the backbone it was made with"
            )
        self.visual.load_state_dict(state)
        self.origin, self.fingerprint = origin, fingerprint(self.visual.state_dict())

    def embed(self, x: Tensor) -> Tensor:
        """Images (N, 3, S, S), CLIP's normalisation, to tokens (N, grid², width)."""
        patches: Tensor = self.visual.conv1(x)
        return patches.flatten(2).transpose(1, 2)

    def of_embed(self) -> Iterator[nn.Parameter]:
        """``conv1``."""
        yield from self.visual.conv1.parameters()

    def begin(self, tokens: Tensor) -> Tensor:
        """Class token in front, positions added, ``ln_pre``: (N, S·grid², width) to (N, 1 + S·grid², width).

        Every one of the S grids of a sequence gets the same positions: one pixel, one position.
        """
        visual = self.visual
        positions = visual.positional_embedding
        first = (visual.class_embedding + positions[0]).expand(tokens.shape[0], 1, -1)
        placed = (tokens.unflatten(1, (-1, len(positions) - 1)) + positions[1:]).flatten(1, 2)
        entering: Tensor = visual.ln_pre(torch.cat([first.to(tokens.dtype), placed], 1))
        return entering


def frozen_weights(request: BackboneRequest) -> tuple[ClipWeights | None, bool]:
    """What ``clip_weights`` means for a backbone.

    Args:
        request: Name, weights and activation; ``tiny`` is always random.

    Returns:
        The weights, None for random ones; and whether the MLPs have QuickGELU.

    Raises:
        MamolError: Unknown backbone, or weights that are not there, not readable or of another architecture.
    """
    spec = clip_spec(request.name).visual
    loaded = None
    if request.weights != RANDOM and request.name != TINY_NAME:
        loaded = load_clip_weights(request.weights, request.name)
    else:
        logger.warning("backbone %s has RANDOM frozen weights: results mean nothing as CLIP results", request.name)
    trained_with = loaded.quick_gelu if loaded else spec.quick_gelu
    return loaded, trained_with if request.activation == "auto" else request.activation == "quickgelu"


@BACKBONES.register("clip")
class Clip(BackboneFamily):
    """open_clip's plain ViTs, and ``tiny``."""

    summary = "CLIP's two towers: a plain ViT of open_clip, or tiny, a small offline stand-in with random weights"

    def claims(self, name: str, weights: str) -> bool:
        """Names that open_clip's register has, and ``tiny``; others are refused by the architectures, with the list."""
        import open_clip

        return name == TINY_NAME or name in open_clip.list_models()

    def known(self) -> Sequence[str]:
        """``tiny`` and the plain ViTs."""
        return supported_backbones()

    def visual(self, request: BackboneRequest, grid: int) -> VisualTower:
        """The visual tower; position embeddings are interpolated where CLIP's grid is another one."""
        from mamol.backbones.openclip import vision_transformer

        spec = clip_spec(request.name).visual
        loaded, quick_gelu = frozen_weights(request)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            visual = vision_transformer(replace(spec, grid=grid, quick_gelu=quick_gelu))
        if loaded is None:
            return VisualTower(visual, drawn(request.seed))
        tower = VisualTower(visual, Origin(loaded.source))
        state = {name.removeprefix("visual."): w for name, w in loaded.state.items() if name.startswith("visual.")}
        tower.load_weights(state, Origin(loaded.source))
        return tower

    def text(self, request: BackboneRequest) -> TextTower:
        """The text tower; weights of a visual tower alone are refused."""
        from mamol.backbones.openclip import text_transformer

        spec = clip_spec(request.name)
        loaded, quick_gelu = frozen_weights(request)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(request.seed)
            text = text_transformer(replace(spec.text, quick_gelu=quick_gelu), spec.visual.output_dim)
        if loaded is None:
            return TextTower(text, drawn(request.seed))
        state = {name: value for name, value in loaded.state.items() if not name.startswith("visual.")}
        if not state:
            raise MamolError(
                f"clip_weights={request.weights}: {loaded.source} holds a visual tower alone; texts need the whole CLIP"
            )
        text.load_state_dict(state)
        return TextTower(text, Origin(loaded.source))

    def image_grid(self, name: str, image_size: int | None) -> int:
        """Patches per side."""
        return image_size_of(name, image_size) // clip_spec(name).visual.patch_size


def drawn(seed: int) -> Origin:
    """The origin of random weights.

    Args:
        seed: With which they were drawn.
    """
    return Origin(f"{RANDOM} (seed {seed})", random=True)
