"""The frozen CLIP visual tower: open_clip's modules, called block by block by the encoder."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from open_clip.transformer import LayerNorm, QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from mamol.errors import MamolError
from mamol.models.architectures import TowerSpec, describe_sizes
from mamol.models.vilt import is_vilt, read_vilt
from mamol.models.weights import clip_spec, fingerprint, interpolate_positions, load_clip_weights

logger = logging.getLogger(__name__)

RANDOM = "random"
ACTIVATIONS = ("auto", "quickgelu", "gelu")  # of the frozen MLPs


class VisualTower(nn.Module):
    """A frozen vision transformer that takes tokens instead of images.

    Attributes:
        visual: open_clip's module; its ``conv1`` is used only by images.
        origin: What the weights are, for reports: a source, or ``random``.
        fingerprint: sha256 of the frozen weights.
        modality_type: (width,), where the type embeddings of modalities begin; None for weights that have none (CLIP).
    """

    def __init__(self, visual: VisionTransformer, origin: str, modality_type: Tensor | None = None) -> None:
        """Freezes ``visual``.

        Args:
            visual: open_clip's module, weights loaded.
            origin: What the weights are.
            modality_type: Type embedding of images, of weights that were trained with one.
        """
        super().__init__()
        self.visual = visual.requires_grad_(False).eval()
        self.origin = origin
        self.modality_type = modality_type
        self.fingerprint = fingerprint(visual.state_dict())

    @property
    def width(self) -> int:
        """Token width d."""
        return self.visual.class_embedding.shape[0]

    @property
    def output_dim(self) -> int:
        """Width of the feature that leaves the tower."""
        return self.visual.output_dim

    @property
    def mlp_width(self) -> int:
        """Width inside the blocks' MLPs."""
        return self.blocks[0].mlp.c_fc.out_features

    @property
    def blocks(self) -> Sequence[ResidualAttentionBlock]:
        """The residual attention blocks, in order."""
        return self.visual.transformer.resblocks

    def train(self, mode: bool = True) -> "VisualTower":
        """Stays in evaluation mode: the tower is frozen."""
        return super().train(False)

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

    def begin(self, tokens: Tensor) -> Tensor:
        """Class token in front, positions added, ``ln_pre``: (N, S·grid², width) to (N, 1 + S·grid², width).

        Every one of the S grids of a sequence gets the same positions: one pixel, one position.
        """
        visual = self.visual
        positions = visual.positional_embedding
        first = (visual.class_embedding + positions[0]).expand(tokens.shape[0], 1, -1)
        placed = (tokens.unflatten(1, (-1, len(positions) - 1)) + positions[1:]).flatten(1, 2)
        return visual.ln_pre(torch.cat([first.to(tokens.dtype), placed], 1))

    def finish(self, x: Tensor) -> Tensor:
        """``ln_post`` and projection of class tokens: (N, width) to (N, output_dim)."""
        return self.visual.ln_post(x) @ self.visual.proj


def attention(
    module: nn.MultiheadAttention,
    query: Tensor,
    context: Tensor,
    prefix: tuple[Tensor, Tensor] | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Multi-head attention with the weights of ``module``; ``query`` may be part of ``context``.

    Written out because ``nn.MultiheadAttention`` takes different paths in training, in evaluation and without
    gradients, and this one is the same, and as fast, in all of them.

    Args:
        module: A block's attention.
        query: (N, Q, width).
        context: (N, T, width), keys and values.
        prefix: (N, L, width) keys and values in front of the projected ones.
        mask: (N, T) bool, False at tokens that nothing attends to.

    Returns:
        (N, Q, width).
    """
    width, heads = module.embed_dim, module.num_heads
    weight, bias = module.in_proj_weight, module.in_proj_bias
    if query is context:
        q, k, v = functional.linear(context, weight, bias).chunk(3, -1)
    else:
        q = functional.linear(query, weight[:width], bias[:width])
        k, v = functional.linear(context, weight[width:], bias[width:]).chunk(2, -1)
    if prefix is not None:
        k, v = (torch.cat([extra.to(x.dtype), x], 1) for extra, x in zip(prefix, (k, v), strict=True))
        mask = mask if mask is None else functional.pad(mask, (prefix[0].shape[1], 0), value=True)
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    mixed = functional.scaled_dot_product_attention(q, k, v, None if mask is None else mask[:, None, None])
    return module.out_proj(mixed.transpose(1, 2).flatten(2))


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
    loaded = None
    if clip_weights != RANDOM and backbone != "tiny":
        loaded = load_clip_weights(clip_weights, backbone)
    trained_with = loaded.quick_gelu if loaded else spec.quick_gelu
    quick_gelu = trained_with if activation == "auto" else activation == "quickgelu"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        visual = vision_transformer(replace(spec, grid=grid, quick_gelu=quick_gelu))
    if loaded is None:
        logger.warning("backbone %s has RANDOM frozen weights: results mean nothing as CLIP results", backbone)
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
