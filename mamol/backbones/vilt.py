"""Hugging Face ``ViltModel`` folders (Kim et al. 2021, arXiv 2102.03334) as the weights of a visual tower.

ViLT's blocks are CLIP's with other names, the exact GELU, LayerNorms of another epsilon and none in front of the first
block. Its last norm becomes ``ln_post``; there is no projection, so it is the identity and a feature is as wide as a
token. The class token is the one of ViLT's image part. Left out: the pooler, which ViLT trained on the text's first
token and for which every method here has the same linear head; text and patch embeddings, as windows have their own.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.backbones import huggingface
from mamol.backbones.architectures import TowerSpec
from mamol.backbones.clip import VisualTower
from mamol.backbones.weight_files import read_tensors
from mamol.backbones.weights import as_float32
from mamol.core.backbone import BACKBONES, RANDOM, BackboneFamily, BackboneRequest, Origin
from mamol.core.errors import MamolError

logger = logging.getLogger(__name__)

NAME = "vilt"
IMAGE = 1  # row of ViLT's type embeddings; 0 is text
_NEEDED = re.compile(
    r"embeddings\.(cls_token|position_embeddings|token_type_embeddings\.weight)|encoder\.layer\..*|layernorm\..*"
)
_BLOCK = {
    "layernorm_before": "ln_1",
    "layernorm_after": "ln_2",
    "attention.output.dense": "attn.out_proj",
    "intermediate.dense": "mlp.c_fc",
    "output.dense": "mlp.c_proj",
}


@dataclass(frozen=True)
class ViltWeights:
    """A ViLT as a visual tower.

    Attributes:
        spec: Sizes; ``patch_size`` is 1, as a token is a pixel of the window.
        state: float32 tensors in open_clip's naming without ``visual.`` and without ``conv1``.
        modality_type: (width,), type embedding of images: that of the class token, in which it is contained, and where
            those of the modalities begin.
        source: What was loaded, for people.
    """

    spec: TowerSpec
    state: dict[str, Tensor]
    modality_type: Tensor
    source: str


def is_vilt(folder: Path) -> bool:
    """Whether a folder is one whose ``config.json`` says ViLT.

    Args:
        folder: Any path; what is no folder is no ViLT.

    Raises:
        MamolError: It is a folder, but without a readable ``config.json``.
    """
    return folder.is_dir() and huggingface.read_config(folder).get("model_type") == "vilt"


def read_vilt(folder: Path, grid: int) -> ViltWeights:
    """Reads a folder of ``ViltModel.save_pretrained``, or of a ViLT with a head for some task.

    Args:
        folder: Holds ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``.
        grid: Tokens per side wanted.

    Returns:
        The weights; position embeddings are interpolated as in ViLT, bilinear with aligned corners.

    Raises:
        MamolError: A file is missing or unreadable, or a parameter or setting is not ViLT's.
    """
    config, path = huggingface.read_config(folder), huggingface.weight_file(folder)
    tensors, _ = read_tensors(path)
    named = {name.removeprefix("vilt."): value for name, value in tensors.items()}
    given = as_float32({name: value for name, value in named.items() if _NEEDED.fullmatch(name)}, path)
    layers = sum(name.endswith(".layernorm_before.weight") for name in given)
    try:
        state = _state(given, layers, grid)
        modality_type = given["embeddings.token_type_embeddings.weight"][IMAGE].clone()
    except (KeyError, IndexError, RuntimeError) as error:
        raise MamolError(
            f"clip_weights={path}: not the complete weights of a ViLT ({str(error).splitlines()[0]}); get them again"
        ) from error
    width, hidden = len(modality_type), len(given["encoder.layer.0.intermediate.dense.bias"])
    heads, activation = config.get("num_attention_heads", 12), config.get("hidden_act", "gelu")
    if activation != "gelu" or not isinstance(heads, int) or heads < 1 or width % heads:
        raise MamolError(
            f"clip_weights={folder}: config.json says hidden_act {activation!r} and num_attention_heads {heads!r}; "
            f"allowed: 'gelu' and a divisor of the width {width}"
        )
    spec = TowerSpec(
        width=width,
        layers=layers,
        heads=heads,
        patch_size=1,
        grid=grid,
        output_dim=width,
        mlp_ratio=hidden / width,
        quick_gelu=False,
        norm_eps=config.get("layer_norm_eps", 1e-12),
        norm_first=False,
    )
    return ViltWeights(spec, state, modality_type, f"ViLT: {path}")


def _state(given: Mapping[str, Tensor], layers: int, grid: int) -> dict[str, Tensor]:
    """The parameters of the tower."""
    class_type = given["embeddings.token_type_embeddings.weight"][IMAGE]
    state = {
        "class_embedding": given["embeddings.cls_token"].flatten() + class_type,
        "positional_embedding": _positions(given["embeddings.position_embeddings"], grid),
        "proj": torch.eye(len(class_type)),
    }
    for kind in ("weight", "bias"):
        state[f"ln_post.{kind}"] = given[f"layernorm.{kind}"]
        for layer in range(layers):
            theirs, ours = f"encoder.layer.{layer}.", f"transformer.resblocks.{layer}."
            parts = [given[f"{theirs}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            state[f"{ours}attn.in_proj_{kind}"] = torch.cat(parts)
            for part, name in _BLOCK.items():
                state[f"{ours}{name}.{kind}"] = given[f"{theirs}{part}.{kind}"]
    return state


def _positions(positions: Tensor, grid: int) -> Tensor:
    """From (1, 1 + g², width) to (1 + grid², width)."""
    side = round((positions.shape[1] - 1) ** 0.5)
    image = positions[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    image = functional.interpolate(image, size=(grid, grid), mode="bilinear", align_corners=True)
    return torch.cat([positions[0, :1], image[0].flatten(1).T])


@BACKBONES.register(NAME)
class Vilt(BackboneFamily):
    """Folders of ViLT: ``backbone=vilt clip_weights=<folder>``; the folder says the sizes itself.

    Such a folder is taken whatever ``backbone`` says, as earlier versions did.
    """

    summary = "a Hugging Face folder of ViLT, given as clip_weights; for fusion=single_stream"

    def claims(self, name: str, weights: str) -> bool:
        """``vilt`` by name, or by its folder."""
        return name == NAME or (weights not in ("", RANDOM) and is_vilt(Path(weights).expanduser()))

    def known(self) -> Sequence[str]:
        """``vilt``."""
        return (NAME,)

    def visual(self, request: BackboneRequest, grid: int) -> VisualTower:
        """Its transformer as a visual tower."""
        folder = Path(request.weights).expanduser()
        if not is_vilt(folder):
            raise MamolError(
                f"backbone={NAME}: clip_weights={request.weights} is not the folder of a ViLT; give one with "
                "config.json (model_type vilt) and model.safetensors"
            )
        if request.name != NAME:
            logger.info("%s: a ViLT, which says the sizes of the tower; backbone=%s is not used", folder, request.name)
        from mamol.backbones.openclip import vision_transformer

        weights = read_vilt(folder, grid)
        with torch.random.fork_rng(devices=[]):
            visual = vision_transformer(replace(weights.spec, quick_gelu=request.activation == "quickgelu"))
        visual.conv1 = nn.Identity()
        try:
            visual.load_state_dict(weights.state)
        except RuntimeError as error:
            first = str(error).splitlines()[1].strip()
            raise MamolError(
                f"{weights.source}: the sizes of its parameters contradict each other ({first}); get the file again"
            ) from error
        return VisualTower(visual, Origin(weights.source), weights.modality_type)
