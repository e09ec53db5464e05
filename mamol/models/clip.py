"""The frozen CLIP visual tower: open_clip's modules, called block by block by the encoder."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from open_clip.transformer import LayerNorm, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

from mamol.errors import MamolError
from mamol.models.activation import QuickGELU
from mamol.models.architectures import TowerSpec, describe_sizes
from mamol.models.tower import VISUAL, Tower
from mamol.models.vilt import is_vilt, read_vilt
from mamol.models.weights import ClipWeights, clip_spec, fingerprint, interpolate_positions, load_clip_weights

logger = logging.getLogger(__name__)

RANDOM = "random"
ACTIVATIONS = ("auto", "quickgelu", "gelu")  # of the frozen MLPs


class VisualTower(Tower):
    """A frozen vision transformer that takes windows, embedded elsewhere, or images.

    Attributes:
        visual: open_clip's module; its ``conv1`` is used only by images.
        modality_type: (width,), where the type embeddings of modalities begin; None for weights that have none (CLIP).
    """

    name = VISUAL
    causal = False

    def __init__(self, visual: VisionTransformer, origin: str, modality_type: Tensor | None = None) -> None:
        """Freezes ``visual``.

        Args:
            visual: open_clip's module, weights loaded.
            origin: What the weights are.
            modality_type: Type embedding of images, of weights that were trained with one.
        """
        super().__init__(visual, origin)
        self.visual = visual
        self.modality_type = modality_type

    @property
    def width(self) -> int:
        """Token width d."""
        return self.visual.class_embedding.shape[0]

    @property
    def output_dim(self) -> int:
        """Width of the feature that leaves the tower."""
        return self.visual.output_dim

    @property
    def blocks(self) -> Sequence[ResidualAttentionBlock]:
        """The residual attention blocks, in order."""
        return self.visual.transformer.resblocks

    @property
    def last_norm(self) -> nn.LayerNorm:
        """``ln_post``."""
        return self.visual.ln_post

    @property
    def projection(self) -> Tensor:
        """``proj``, (width, output_dim)."""
        return self.visual.proj

    def load_weights(self, state: Mapping[str, Tensor], origin: str) -> None:
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
        return self.visual.conv1(x).flatten(2).transpose(1, 2)

    def begin(self, tokens: Tensor) -> Tensor:
        """Class token in front, positions added, ``ln_pre``: (N, S·grid², width) to (N, 1 + S·grid², width).

        Every one of the S grids of a sequence gets the same positions: one pixel, one position.
        """
        visual = self.visual
        positions = visual.positional_embedding
        first = (visual.class_embedding + positions[0]).expand(tokens.shape[0], 1, -1)
        placed = (tokens.unflatten(1, (-1, len(positions) - 1)) + positions[1:]).flatten(1, 2)
        return visual.ln_pre(torch.cat([first.to(tokens.dtype), placed], 1))


def vision_transformer(spec: TowerSpec) -> VisionTransformer:
    """open_clip's module of these sizes, with random weights."""
    return VisionTransformer(
        image_size=spec.grid * spec.patch_size,
        patch_size=spec.patch_size,
        width=spec.width,
        layers=spec.layers,
        heads=spec.heads,
        mlp_ratio=spec.mlp_ratio,
        output_dim=spec.output_dim,
        act_layer=QuickGELU if spec.quick_gelu else nn.GELU,
        norm_layer=partial(LayerNorm, eps=spec.norm_eps),
        no_ln_pre=not spec.norm_first,
    )


def frozen_weights(backbone: str, clip_weights: str, activation: str) -> tuple[ClipWeights | None, bool]:
    """What ``clip_weights`` means for a backbone.

    Args:
        backbone: An open_clip ViT, or ``tiny``.
        clip_weights: ``openai``, a path, or ``random``; ``tiny`` is always random.
        activation: ``quickgelu``, ``gelu`` or ``auto``.

    Returns:
        The weights, None for random ones; and whether the MLPs have QuickGELU.

    Raises:
        MamolError: Unknown backbone, or weights that are not there, not readable or of another architecture.
    """
    spec = clip_spec(backbone).visual
    loaded = None
    if clip_weights != RANDOM and backbone != "tiny":
        loaded = load_clip_weights(clip_weights, backbone)
    else:
        logger.warning("backbone %s has RANDOM frozen weights: results mean nothing as CLIP results", backbone)
    trained_with = loaded.quick_gelu if loaded else spec.quick_gelu
    return loaded, trained_with if activation == "auto" else activation == "quickgelu"


def visual_tower(
    backbone: str, clip_weights: str, grid: int, seed: int = 0, *, activation: str = "auto"
) -> VisualTower:
    """Builds a frozen visual tower whose token grid is the window.

    Args:
        backbone: An open_clip ViT, or ``tiny``.
        clip_weights: ``openai``, a path, or ``random``; ``tiny`` is always random. A folder of ViLT says the sizes
            itself, whatever ``backbone`` is.
        grid: Tokens per side, the window's side P.
        seed: Of random weights.
        activation: Of the frozen MLPs: ``quickgelu``, ``gelu``, or ``auto``: the one that the weights were trained
            with.

    Returns:
        The tower; position embeddings are interpolated where CLIP's grid is another one.

    Raises:
        MamolError: Unknown backbone, or weights that are not there, not readable or of another architecture.
    """
    if clip_weights != RANDOM and is_vilt(folder := Path(clip_weights).expanduser()):
        logger.info("%s: a ViLT, which says the sizes of the tower; backbone=%s is not used", folder, backbone)
        return _vilt_tower(folder, grid, activation)
    spec = clip_spec(backbone).visual
    loaded, quick_gelu = frozen_weights(backbone, clip_weights, activation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        visual = vision_transformer(replace(spec, grid=grid, quick_gelu=quick_gelu))
    if loaded is None:
        return VisualTower(visual, f"random (seed {seed})")
    tower = VisualTower(visual, loaded.source)
    state = {name.removeprefix("visual."): w for name, w in loaded.state.items() if name.startswith("visual.")}
    tower.load_weights(state, loaded.source)
    return tower


def _vilt_tower(folder: Path, grid: int, activation: str) -> VisualTower:
    weights = read_vilt(folder, grid)
    with torch.random.fork_rng(devices=[]):
        visual = vision_transformer(replace(weights.spec, quick_gelu=activation == "quickgelu"))
    visual.conv1 = nn.Identity()
    try:
        visual.load_state_dict(weights.state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise MamolError(
            f"{weights.source}: the sizes of its parameters contradict each other ({first}); get the file again"
        ) from error
    return VisualTower(visual, weights.source, weights.modality_type)
