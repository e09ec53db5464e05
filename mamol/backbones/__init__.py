"""Frozen transformers: CLIP's two towers, ViLT, pre-trained mixtures, timm's, and their weights from every source.

A family of backbones registers itself; ``mamol.core.backbone.family_of`` finds the one that a ``backbone=`` means.
"""

from mamol.backbones import clip, vilt  # a folder of ViLT is asked for before CLIP
from mamol.backbones.mixture import folder  # and a pre-trained one before both
from mamol.backbones.timm import family  # its names say all, whatever clip_weights is

__all__ = ["clip", "family", "folder", "vilt"]
