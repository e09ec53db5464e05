"""Very small models of timm's, of each kind that a tower is made of, all weights random."""

from typing import Any

import timm
import torch
from torch import Tensor

from mamol.backbones.timm.models import assembled
from mamol.backbones.timm.tower import Model, TimmTower
from mamol.core.backbone import Origin

WIDTH, LAYERS, PATCH = 32, 4, 4
NAMES = {
    "supervised": "vit_tiny_patch16_224",
    "clip": "vit_base_patch16_clip_224",
    "dinov2": "vit_small_patch14_reg4_dinov2",
    "swiglu": "vit_giant_patch14_dinov2",
    "siglip": "vit_base_patch16_siglip_224",
    "gap": "vit_so150m_patch16_reg4_gap_256",
    "dinov3": "vit_small_patch16_dinov3",
    "dinov3_swiglu": "vit_small_plus_patch16_dinov3",
    "eva02": "eva02_base_patch16_clip_224",
}
"""Kind to timm's name of a model; here each has few and narrow blocks, and everything else as timm has it."""
IMAGES = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def model_of(kind: str, grid: int = 4, seed: int = 0) -> Model:
    """A model for grid × grid patches of 4 × 4 pixels."""
    sizes = {"embed_dim": WIDTH, "depth": LAYERS, "num_heads": 2, "patch_size": PATCH, "img_size": grid * PATCH}
    model: Any = timm.create_model(NAMES[kind], num_classes=0, **sizes).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            draw = 0.2 * torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + draw if "gamma" in name or (weight.ndim == 1 and name.endswith("weight")) else draw)
    return model  # type: ignore[no-any-return]


def tower(kind: str, grid: int = 4, seed: int = 0) -> TimmTower:
    """Its tower."""
    model = model_of(kind, grid, seed)
    model.reset_classifier(0, "")
    return assembled(model, Origin("test"), IMAGES)


def seen_by(images: Tensor) -> Tensor:
    """Images with CLIP's normalisation as a model with that of ``IMAGES`` wants them."""
    clip_mean, clip_std, mean, std = (
        torch.tensor(each)[:, None, None]
        for each in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711), *IMAGES)
    )
    return (images * clip_std + clip_mean - mean) / std
