"""Hugging Face ``CLIPModel`` folders, in open_clip's naming."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mamol.backbones.architectures import ClipSpec
from mamol.backbones.weight_files import read_tensors
from mamol.core.errors import MamolError

_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
_QUICK_GELU = {"quick_gelu": True, "gelu": False}
_LAYER_NORM_EPS = 1e-5
_DEFAULT_HEADS = {"visual": 12, "text": 8}

_PROJECTIONS = {"visual_projection.weight": "visual.proj", "text_projection.weight": "text_projection"}
_TOWERS = {"vision_model.": "visual.", "text_model.": ""}
_PARTS = {
    "embeddings.class_embedding": "class_embedding",
    "embeddings.patch_embedding.": "conv1.",
    "embeddings.position_embedding.weight": "positional_embedding",
    "embeddings.token_embedding.": "token_embedding.",
    "pre_layrnorm.": "ln_pre.",  # the library's own spelling
    "post_layernorm.": "ln_post.",
    "final_layer_norm.": "ln_final.",
    "encoder.layers.": "transformer.resblocks.",
    ".self_attn.": ".attn.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
}


def read_folder(folder: Path, spec: ClipSpec) -> tuple[dict[str, Tensor], bool, Path]:
    """Reads a folder of ``CLIPModel.save_pretrained`` (or ``CLIPVisionModelWithProjection``).

    Args:
        folder: Holds ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``.
        spec: What the network will be built with; checked for what parameter shapes do not show (the heads).

    Returns:
        The tensors in open_clip's naming, whether they were trained with QuickGELU, and the weight file.

    Raises:
        MamolError: A file is missing or unreadable, another kind of model, or other heads than ``spec`` has.
    """
    quick_gelu = _check_config(folder, spec)
    path = weight_file(folder)
    tensors, _ = read_tensors(path)
    return to_open_clip_names(tensors), quick_gelu, path


def weight_file(folder: Path) -> Path:
    """The file with the weights of a folder.

    Args:
        folder: Of a Hugging Face model; ``model.safetensors`` goes before ``pytorch_model.bin``.

    Raises:
        MamolError: There is none.
    """
    path = next((folder / name for name in _WEIGHT_FILES if (folder / name).is_file()), None)
    if path is None:
        raise MamolError(f"clip_weights={folder}: no weight file; expected {' or '.join(_WEIGHT_FILES)} in this folder")
    return path


def read_config(folder: Path) -> dict[str, Any]:
    """The settings in a folder's ``config.json``.

    Args:
        folder: Of a Hugging Face model.

    Raises:
        MamolError: It is not there, or not a JSON object.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        if not isinstance(config, dict):
            raise TypeError
    except (OSError, ValueError, TypeError) as error:
        raise MamolError(
            f"clip_weights={folder}: config.json cannot be read ({type(error).__name__}); expected the folder of a "
            f"Hugging Face CLIPModel with config.json and {' or '.join(_WEIGHT_FILES)}"
        ) from error
    return config


def to_open_clip_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames the parameters of a ``CLIPModel``: query, key and value are stacked, projections transposed.

    Args:
        tensors: By Hugging Face's names; what belongs to neither tower keeps its name.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name in _PROJECTIONS:
            renamed[_PROJECTIONS[name]] = value.T
        else:
            renamed[_renamed(name)] = value
    for name in [name for name in renamed if ".attn.q_proj." in name]:
        parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        if all(part in renamed for part in parts):
            renamed[name.replace(".q_proj.", ".in_proj_")] = torch.cat([renamed.pop(part) for part in parts])
    return renamed


def _renamed(name: str) -> str:
    tower = next((tower for tower in _TOWERS if name.startswith(tower)), None)
    if tower is None:
        return name
    name = name.removeprefix(tower)
    for theirs, ours in _PARTS.items():
        name = name.replace(theirs, ours)
    return _TOWERS[tower] + name


def _check_config(folder: Path, spec: ClipSpec) -> bool:
    """Checks ``config.json`` and returns whether the activation is QuickGELU."""
    where, config = f"clip_weights={folder}", read_config(folder)
    kind = config.get("model_type")
    if kind == "clip":
        towers = {"visual": config.get("vision_config") or {}, "text": config.get("text_config") or {}}
    elif kind == "clip_vision_model":
        towers = {"visual": config}
    else:
        raise MamolError(f"{where}: config.json says model_type {kind!r}; allowed: 'clip', 'clip_vision_model', 'vilt'")
    activations = {_checked_tower(where, name, tower, spec) for name, tower in towers.items()}
    if len(activations) > 1:
        raise MamolError(f"{where}: the two towers have different hidden_act; a CLIP model uses one activation")
    return activations.pop()


def _checked_tower(where: str, tower: str, config: Mapping[str, Any], spec: ClipSpec) -> bool:
    """Checks the settings of one tower; keys that the file leaves out have the library's defaults."""
    activation = config.get("hidden_act", "quick_gelu")
    if activation not in _QUICK_GELU:
        raise MamolError(f"{where}: {tower} hidden_act {activation!r}; allowed: {', '.join(_QUICK_GELU)}")
    expected = {
        "num_attention_heads": (spec.visual if tower == "visual" else spec.text).heads,
        "layer_norm_eps": _LAYER_NORM_EPS,
    }
    defaults = {"num_attention_heads": _DEFAULT_HEADS[tower], "layer_norm_eps": _LAYER_NORM_EPS}
    for key, value in expected.items():
        found = config.get(key, defaults[key])
        if found != value:
            raise MamolError(
                f"{where}: {tower} {key} is {found}, the backbone has {value}; choose the matching backbone"
            )
    return _QUICK_GELU[activation]
