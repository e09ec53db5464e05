"""Sizes of the CLIP architectures that can serve as backbone.

open_clip's model configurations are the register: every plain ViT with CLIP's own text tower works by its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Size

from mamol.core.errors import MamolError

_CONFIG_KEYS = {
    "": {"embed_dim", "quick_gelu", "vision_cfg", "text_cfg"},
    "vision_cfg.": {"image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"},
    "text_cfg.": {"context_length", "vocab_size", "width", "heads", "layers"},
}
"""open_clip settings that a plain ViT CLIP uses; a configuration with any other one is another kind of tower."""


@dataclass(frozen=True)
class TowerSpec:
    """A CLIP visual tower.

    Attributes:
        width: Length of a token.
        layers: Number of transformer blocks.
        heads: Attention heads per block; divides ``width``.
        patch_size: Side of the image patch that CLIP's own embedding turns into one token, in pixels.
        grid: Patches per side: the tower's position embeddings are ``1 + grid * grid``.
        output_dim: Length of the projected feature.
        mlp_ratio: Width of the feed-forward part over ``width``.
        quick_gelu: True for ``x * sigmoid(1.702 x)`` (OpenAI's weights), False for the exact GELU.
        norm_eps: Of every LayerNorm.
        norm_first: Whether tokens pass a LayerNorm (``ln_pre``) in front of the blocks; ViLT's do not.
    """

    width: int
    layers: int
    heads: int
    patch_size: int
    grid: int
    output_dim: int
    mlp_ratio: float
    quick_gelu: bool
    norm_eps: float = 1e-5
    norm_first: bool = True


@dataclass(frozen=True)
class TextSpec:
    """A CLIP text tower (causal, feature at the end token); it projects to the visual tower's ``output_dim``.

    Attributes:
        width: Length of a token.
        layers: Number of transformer blocks.
        heads: Attention heads per block; divides ``width``.
        context_length: Tokens per text.
        vocab_size: Size of the vocabulary.
        quick_gelu: As in ``TowerSpec``.
    """

    width: int
    layers: int
    heads: int
    context_length: int
    vocab_size: int
    quick_gelu: bool


@dataclass(frozen=True)
class ClipSpec:
    """Both towers of a CLIP model; they share one activation."""

    visual: TowerSpec
    text: TextSpec

    def __post_init__(self) -> None:
        """Checks that both towers use the same activation.

        Raises:
            MamolError: They do not.
        """
        if self.visual.quick_gelu != self.text.quick_gelu:
            raise MamolError(
                f"quick_gelu: the visual tower says {self.visual.quick_gelu}, the text tower {self.text.quick_gelu}; "
                "a CLIP model uses one activation, so give both the same"
            )


TINY_NAME = "tiny"
TINY = ClipSpec(
    TowerSpec(width=128, layers=12, heads=2, patch_size=16, grid=14, output_dim=128, mlp_ratio=4.0, quick_gelu=True),
    TextSpec(width=64, layers=12, heads=2, context_length=77, vocab_size=49408, quick_gelu=True),
)
"""``backbone=tiny``: the offline stand-in for demo, tests and CI; no published weights."""


def clip_spec(backbone: str) -> ClipSpec:
    """The sizes of a backbone.

    Args:
        backbone: ``tiny`` or open_clip's name of a plain ViT, for example ``ViT-B-16-quickgelu``.

    Returns:
        Its visual and text tower.

    Raises:
        MamolError: No such name, or a tower of another kind (ResNet, timm, Hugging Face text tower, other pooling).
    """
    if backbone == TINY_NAME:
        return TINY
    import open_clip  # takes seconds, so imported where a CLIP other than tiny is asked for
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    if backbone not in open_clip.list_models():
        raise MamolError(f"backbone={backbone}: unknown; allowed: {_allowed()}")
    config = open_clip.get_model_config(backbone)
    if unsupported := _unsupported(config):
        raise MamolError(
            f"backbone={backbone}: not a plain CLIP ViT (its open_clip configuration has {', '.join(unsupported)}); "
            f"allowed: {_allowed()}"
        )
    vision, text = CLIPVisionCfg(**config["vision_cfg"]), CLIPTextCfg(**config["text_cfg"])
    quick_gelu = config.get("quick_gelu", False)
    return ClipSpec(
        TowerSpec(
            width=vision.width,
            layers=vision.layers,
            heads=vision.width // vision.head_width,
            patch_size=vision.patch_size,
            grid=vision.image_size // vision.patch_size,
            output_dim=config["embed_dim"],
            mlp_ratio=vision.mlp_ratio,
            quick_gelu=quick_gelu,
        ),
        TextSpec(text.width, text.layers, text.heads, text.context_length, text.vocab_size, quick_gelu),
    )


def image_size_of(backbone: str, image_size: int | None) -> int:
    """The side of the images that enter a backbone, in pixels.

    Args:
        backbone: As for ``clip_spec``.
        image_size: What the user asks for; None is the side that the backbone was trained with.

    Returns:
        A multiple of the backbone's patch.

    Raises:
        MamolError: Unknown backbone, or a side that is no such multiple.
    """
    visual = clip_spec(backbone).visual
    if image_size is None:
        return visual.grid * visual.patch_size
    if image_size % visual.patch_size:
        raise MamolError(f"image_size={image_size} must be a multiple of {visual.patch_size}, the patch of {backbone}")
    return image_size


def supported_backbones() -> list[str]:
    """All names that ``clip_spec`` accepts, ``tiny`` first."""
    import open_clip

    names = open_clip.list_models()
    return [TINY_NAME, *(name for name in names if not _unsupported(open_clip.get_model_config(name)))]


def describe_sizes(shapes: Mapping[str, Size]) -> str:
    """The architecture that a set of parameters in open_clip's naming belongs to, in words.

    Args:
        shapes: Parameter shapes; those of the text tower may be absent.
    """

    def size(name: str, axis: int) -> int | str:
        shape = shapes.get(name)
        return shape[axis] if shape else "?"

    def layers(prefix: str) -> int:
        return sum(name.startswith(prefix) and name.endswith(".ln_1.weight") for name in shapes)

    tokens = size("visual.positional_embedding", 0)
    grid = f"{(tokens - 1) ** 0.5:g}" if isinstance(tokens, int) else tokens
    words = (
        f"width {size('visual.conv1.weight', 0)}, {layers('visual.transformer.')} layers, "
        f"patch {size('visual.conv1.weight', -1)}, grid {grid}, output {size('visual.proj', -1)}"
    )
    if "token_embedding.weight" in shapes:
        words += (
            f"; text width {size('token_embedding.weight', -1)}, {layers('transformer.')} layers, "
            f"context {size('positional_embedding', 0)}, vocabulary {size('token_embedding.weight', 0)}"
        )
    return words


def _allowed() -> str:
    return ", ".join(supported_backbones())


def _unsupported(config: Mapping[str, Any]) -> list[str]:
    """The settings of an open_clip configuration that a plain ViT CLIP does not have."""
    parts = {"": config, "vision_cfg.": config["vision_cfg"], "text_cfg.": config["text_cfg"]}
    unsupported = [prefix + key for prefix, part in parts.items() for key in part if key not in _CONFIG_KEYS[prefix]]
    if isinstance(config["vision_cfg"].get("layers"), list):
        unsupported.append("the layers of a ResNet")
    return unsupported
