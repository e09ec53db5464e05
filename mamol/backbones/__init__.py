"""Frozen transformers: CLIP's two towers, ViLT, and their weights from every source.

A family of backbones registers itself; ``mamol.core.backbone.family_of`` finds the one that a ``backbone=`` means.
"""

from mamol.backbones import clip, vilt  # a folder of ViLT is asked for before CLIP

__all__ = ["clip", "vilt"]
