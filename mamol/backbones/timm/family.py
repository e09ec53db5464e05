"""``backbone=timm:<name>``: timm's plain vision transformers, also those with rotary positions."""

from collections.abc import Sequence

from mamol.backbones.timm import PREFIX
from mamol.core.backbone import BACKBONES, Backbone, BackboneFamily, BackboneRequest
from mamol.core.errors import MamolError


@BACKBONES.register("timm")
class Timm(BackboneFamily):
    """Whatever of timm is a plain ViT, by timm's name: ``timm:vit_base_patch14_dinov2``.

    ``clip_weights`` is a file or a folder with timm's ``model.safetensors``; its default ``openai`` is what was
    published under the name, if huggingface_hub's cache has it.
    """

    summary = "a plain ViT of timm, timm:<name>: supervised, MAE, DINOv2, DINOv3, SigLIP"

    def claims(self, name: str, weights: str) -> bool:
        """By the prefix; whether timm knows the rest is said in words."""
        return name.startswith(PREFIX)

    def known(self) -> Sequence[str]:
        """The form of the names: there are hundreds."""
        return (f"{PREFIX}<name>",)

    def visual(self, request: BackboneRequest, grid: int) -> Backbone:
        """The model as a tower, positions for ``grid`` × ``grid`` tokens."""
        from mamol.backbones.timm.models import tower_of  # importing timm takes seconds

        return tower_of(request, grid)

    def image_grid(self, name: str, image_size: int | None) -> int:
        """Patches per side."""
        from mamol.backbones.timm.models import described, published

        own = name.removeprefix(PREFIX)
        patch: int = described(own).patch_embed.patch_size[0]
        side = published(own).input_size[-1] if image_size is None else image_size
        if side % patch:
            raise MamolError(f"image_size={side} must be a multiple of {patch}, the patch of {name}")
        return side // patch
