"""Weights in timm's format: a file, a folder, or the cache of huggingface_hub. Nothing is downloaded."""

import logging
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from timm.layers import resample_abs_pos_embed
from timm.models import PretrainedCfg
from torch import Tensor

from mamol.backbones.huggingface import read_config
from mamol.backbones.timm.tower import Model
from mamol.backbones.weight_files import read_tensors
from mamol.backbones.weights import as_float32
from mamol.core.backbone import Origin
from mamol.core.errors import MamolError

logger = logging.getLogger(__name__)

PUBLISHED = "openai"
"""The default of ``clip_weights``: the weights that were published under the backbone's name."""
FILE = "model.safetensors"
_BESIDE = ("head.", "fc_norm.", "attn_pool.", "mask_token", "rope.")
"""What a file may hold beside the tower: classifier and pooling, and what is only used in pre-training."""


def located(source: str, name: str, settings: PretrainedCfg) -> Path:
    """The file that is meant.

    Args:
        source: ``clip_weights=``: a file, a folder with ``model.safetensors``, or ``openai``: the published one, out of
            the cache.
        name: timm's name of the model.
        settings: What timm says of the published weights.

    Raises:
        MamolError: It is not there.
    """
    return _cached(name, settings) if source == PUBLISHED else _given(Path(source).expanduser(), name)


def load(model: Model, path: Path, name: str) -> Origin:
    """Puts weights into a model.

    Args:
        model: Of the grid wanted; takes the weights, positions resized as timm does.
        path: Of ``located``.
        name: timm's name of the model.

    Returns:
        Where they come from.

    Raises:
        MamolError: They are not readable, or do not fit the model.
    """
    tensors, _ = read_tensors(path)
    state = {key: value for key, value in tensors.items() if not key.startswith(_BESIDE)}
    own = model.state_dict()
    if "pos_embed" in state and "pos_embed" in own:
        state["pos_embed"] = _resized(state["pos_embed"], model, path)
    if reason := _difference(state, own):
        raise MamolError(
            f"clip_weights={path}: not the weights of timm's {name} ({reason}); choose the backbone that they were "
            "saved from, in timm's names"
        )
    model.load_state_dict(as_float32(state, path))
    return Origin(f"timm's {name}: {path}")


def _cached(name: str, settings: PretrainedCfg) -> Path:
    """The published file in the cache of huggingface_hub."""
    repository = settings.hf_hub_id
    if not repository or settings.hf_hub_filename not in (None, FILE):
        raise MamolError(f"clip_weights={PUBLISHED}: timm names no published {FILE} of {name}; give a file or random")
    found = try_to_load_from_cache(repository, FILE, HF_HUB_CACHE)
    if not isinstance(found, str):
        raise MamolError(
            f"clip_weights={PUBLISHED}: {FILE} of https://huggingface.co/{repository} is not in {HF_HUB_CACHE}, and "
            f"nothing is downloaded; get it with `hf download {repository} {FILE}`, or give clip_weights its path"
        )
    logger.info("weights of timm's %s: %s, licence %s", name, found, settings.license or "not known to timm")
    return Path(found)


def _given(path: Path, name: str) -> Path:
    """The file that a path means; a folder's ``config.json`` may say of which model it is."""
    if not path.is_dir():
        return path
    if not (path / FILE).is_file():
        raise MamolError(f"clip_weights={path}: no {FILE} in this folder; put timm's file there, or give its path")
    config = read_config(path) if (path / "config.json").is_file() else {}
    meant = config.get("architecture", name)
    if meant != name.partition(".")[0]:
        raise MamolError(f"clip_weights={path}: config.json says architecture {meant!r}; use backbone=timm:{meant}")
    return path / FILE


def _resized(positions: Tensor, model: Model, path: Path) -> Tensor:
    """The positions for the model's grid: bicubic, as timm; those of class token and registers are kept."""
    front = 0 if model.no_embed_class else model.num_prefix_tokens
    rows = positions.shape[1] if positions.ndim == 3 else 0
    side = round(max(rows - front, 0) ** 0.5)
    if side < 1 or side**2 + front != rows:
        raise MamolError(
            f"clip_weights={path}: pos_embed of shape {tuple(positions.shape)} cannot be resized to a grid of "
            f"{model.patch_embed.grid_size[0]} x {model.patch_embed.grid_size[0]}; expected (1, {front} + g*g, width)"
        )
    resized: Tensor = resample_abs_pos_embed(
        positions, list(model.patch_embed.grid_size), [side, side], num_prefix_tokens=front
    )
    return resized


def _difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """How the parameters of a file differ from a model's, in words; empty where they do not."""
    for what, keys in (("missing", expected.keys() - found.keys()), ("unknown", found.keys() - expected.keys())):
        if keys:
            return f"{len(keys)} parameters {what}: {', '.join(sorted(keys)[:3])}{', …' * (len(keys) > 3)}"
    for key, value in expected.items():
        if found[key].shape != value.shape:
            return f"'{key}' has shape {tuple(found[key].shape)}, the model's {tuple(value.shape)}"
    return ""
