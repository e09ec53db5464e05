"""open_clip's modules, with random weights.

Importing open_clip takes seconds, so this file is imported where a tower is built, and in front of any context that
sets a seed or a device: open_clip's imports compute, too.
"""

from functools import partial

import torch
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from open_clip.transformer import LayerNorm, TextTransformer, VisionTransformer
from torch import Size, nn

from mamol.backbones.activation import QuickGELU
from mamol.backbones.architectures import ClipSpec, TextSpec, TowerSpec


def vision_transformer(spec: TowerSpec) -> VisionTransformer:
    """open_clip's visual module, with random weights.

    Args:
        spec: Its sizes, activation and norms.
    """
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


def build_clip(spec: ClipSpec) -> CLIP:
    """An untrained open_clip model; its state dict has the names that ``load_clip_weights`` returns.

    Args:
        spec: Sizes of both towers.
    """
    visual, text = spec.visual, spec.text
    return CLIP(
        embed_dim=visual.output_dim,
        vision_cfg=CLIPVisionCfg(
            layers=visual.layers,
            width=visual.width,
            head_width=visual.width // visual.heads,
            mlp_ratio=visual.mlp_ratio,
            patch_size=visual.patch_size,
            image_size=visual.grid * visual.patch_size,
        ),
        text_cfg=CLIPTextCfg(
            context_length=text.context_length,
            vocab_size=text.vocab_size,
            width=text.width,
            heads=text.heads,
            layers=text.layers,
        ),
        quick_gelu=visual.quick_gelu,
    )


def parameter_shapes(spec: ClipSpec) -> dict[str, Size]:
    """Name and shape of every parameter of both towers (without the logit scale), in open_clip's naming.

    Args:
        spec: Sizes of both towers.
    """
    with torch.device("meta"):
        model = build_clip(spec)
    return {name: value.shape for name, value in model.state_dict().items() if name != "logit_scale"}


def text_transformer(spec: TextSpec, output_dim: int) -> TextTransformer:
    """open_clip's text module, with random weights.

    Args:
        spec: Its sizes and activation.
        output_dim: Width of the feature that leaves it.
    """
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
