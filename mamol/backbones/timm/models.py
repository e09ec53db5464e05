"""Which of timm's models is meant, whether it is one that can be taken apart, and the tower that it becomes.

timm is imported here, and in front of any context that sets a seed: imports compute, too.
"""

import logging
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, cast

import timm
import torch
from timm.layers import PatchEmbed, RotaryEmbeddingCat
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from timm.models import PretrainedCfg, get_arch_pretrained_cfgs
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from mamol.backbones.clip import drawn
from mamol.backbones.timm import PREFIX, plain, rotary, weights
from mamol.backbones.timm.tower import MLPS, Images, Model, TimmBlock, TimmTower
from mamol.core.backbone import RANDOM, BackboneRequest, Origin
from mamol.core.errors import MamolError

logger = logging.getLogger(__name__)

EXAMPLES = ("vit_base_patch14_dinov2", "vit_small_patch16_dinov3", "vit_base_patch16_224.mae")
KINDS: dict[type[nn.Module], tuple[tuple[type, ...], Callable[[Any], Sequence[TimmBlock]]]] = {
    VisionTransformer: (plain.PARTS, plain.blocks_of),
    Eva: (rotary.PARTS, rotary.blocks_of),
}
"""Class of a model to the classes of its blocks and attentions, and what makes views of its blocks."""


def published(name: str) -> PretrainedCfg:
    """What timm says of published weights.

    Args:
        name: timm's, with or without the tag of the weights: ``vit_base_patch16_224.mae``.

    Raises:
        MamolError: There is no such model, or there are no such weights of it.
    """
    architecture, _, tag = name.partition(".")
    if architecture not in (names := timm.list_models()):
        close = get_close_matches(architecture, names, n=3) or EXAMPLES
        raise MamolError(f"backbone={PREFIX}{name}: timm has no such model; near it are {', '.join(close)}")
    found: dict[str, PretrainedCfg] = get_arch_pretrained_cfgs(architecture)
    settings = timm.get_pretrained_cfg(architecture) if not tag else found.get(name)
    if settings is None:
        raise MamolError(f"backbone={PREFIX}{name}: timm knows no such weights; allowed: {', '.join(found) or 'none'}")
    return settings


def described(name: str) -> Model:
    """A model without weights, for its sizes.

    Args:
        name: As of ``published``.

    Raises:
        MamolError: It is not one of ``KINDS``, or has parts that these towers have no place for.
    """
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    if odd := oddities(model):
        raise MamolError(
            f"backbone={PREFIX}{name}: not a plain ViT ({', '.join(odd)}); plain are {', '.join(EXAMPLES)} and others"
        )
    return cast(Model, model)


def oddities(model: nn.Module) -> list[str]:
    """What of a model is not a plain ViT's; nothing where it can be a tower.

    Args:
        model: timm's.
    """
    if type(model) not in KINDS:
        return [f"a {type(model).__name__}"]
    own, parts = cast(Any, model), KINDS[type(model)][0]
    rope = getattr(own, "rope", None)
    checks = {
        type(own.patch_embed).__name__: type(own.patch_embed) is PatchEmbed,
        "no LayerNorm behind the blocks": isinstance(own.norm, nn.LayerNorm),
        f"a {type(rope).__name__}": isinstance(rope, (RotaryEmbeddingCat, RotaryEmbeddingDinoV3, type(None))),
    }
    known = [type(b) in parts and type(b.attn) in parts and type(b.mlp) in MLPS for b in own.blocks]
    if all(known):
        checks |= {
            "gated attention": all(b.attn.gate is None for b in own.blocks),
            "an attention of another width": all(b.attn.proj.in_features == own.embed_dim for b in own.blocks),
            "fewer keys than queries": all(getattr(b.attn, "num_kv_groups", 1) == 1 for b in own.blocks),
            "a gate behind its value": not any(getattr(b.mlp, "gate_last", False) for b in own.blocks),
        }
    else:
        checks[f"blocks of {type(own.blocks[known.index(False)]).__name__}"] = False
    return [what for what, fits in checks.items() if not fits]


def tower_of(request: BackboneRequest, grid: int) -> TimmTower:
    """The frozen tower.

    Args:
        request: Its name begins with ``PREFIX``.
        grid: Tokens per side; positions are those of timm for so many.

    Raises:
        MamolError: As ``published``, ``described`` and ``weights.load``; or the activation is not the model's own.
    """
    name = request.name.removeprefix(PREFIX)
    settings, sizes = published(name), described(name)
    if request.activation != "auto":
        raise MamolError(
            f"activation={request.activation}: backbone={request.name} has the one that timm gives it; leave it auto"
        )
    file = None if request.weights == RANDOM else weights.located(request.weights, name, settings)
    side = grid * sizes.patch_embed.patch_size[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        model = cast(Model, timm.create_model(name, num_classes=0)).eval()
    model.reset_classifier(0, "")  # drops the pooling, too
    model.set_input_size((side, side))
    if file is not None:
        origin = weights.load(model, file, name)
    else:
        logger.warning("backbone %s has RANDOM frozen weights: results mean nothing as those of %s", request.name, name)
        _without_small_scales(model)
        origin = drawn(request.seed)
    return assembled(model, origin, (settings.mean, settings.std))


def assembled(model: Model, origin: Origin, images: Images) -> TimmTower:
    """The tower of a model of one of the ``KINDS``.

    Args:
        model: Of the grid at hand, weights loaded.
        origin: Where they come from.
        images: Mean and standard deviation of those that it was trained with.
    """
    return TimmTower(model, KINDS[type(model)][1](model), origin, images)


def _without_small_scales(model: nn.Module) -> None:
    """Sets every LayerScale to one: as timm begins, with 1e-5, a tower that stays random would do nothing."""
    for name, weight in model.named_parameters():
        if name.rpartition(".")[2] in ("gamma", "gamma_1", "gamma_2"):
            nn.init.ones_(weight)
