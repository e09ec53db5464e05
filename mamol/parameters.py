"""Where a network's parameters are: the report of ``python run.py params with …``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mamol.building import assemble, grid_of, image_grid, network_spec
from mamol.data.facts import facts_of
from mamol.data.imagetext.info import INPUTS as IMAGE_TEXT_INPUTS
from mamol.data.imagetext.info import MODALITIES as IMAGE_TEXT_MODALITIES
from mamol.data.imagetext.registry import find
from mamol.data.tables import open_tables
from mamol.methods import METHODS
from mamol.models.clip import RANDOM, VisualTower, vision_transformer
from mamol.models.network import Network, NetworkSpec
from mamol.models.weights import clip_spec
from mamol.settings import Settings

EXAMPLE = "houston2013"  # whose bands and classes stand in where no table is given
BACKBONE, WINDOW = "ViT-B-16-quickgelu", 14  # the paper's


def count(network: Network) -> dict[str, int]:
    """Parameters per part.

    Returns:
        Trainable ones of ``embedding``, ``routers`` (pattern embeddings, too), ``experts`` (whatever else the method
        adds, so also prompts) and ``head``; ``trainable``, ``frozen`` and ``total``.
    """
    parts = {name: _trainable(module) for name, module in network.trainable_parts().items()}
    routers = sum(_trainable(module) for module in network.method.routing())
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    trainable = sum(parts.values())
    return {
        "embedding": parts["embedding"],
        "routers": routers,
        "experts": parts["method"] - routers,
        "head": parts["head"],
        "trainable": trainable,
        "frozen": frozen,
        "total": trainable + frozen,
    }


def _trainable(module: Any) -> int:  # noqa: ANN401 - any module
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def of_methods() -> dict[str, int]:
    """Trainable parameters of each method on ViT-B/16, with the two modalities and 15 classes of Houston2013.

    Returns:
        Method to number, embedding and head included, each method with its own defaults.
    """
    facts = facts_of(EXAMPLE)
    bands = {name: facts.bands[name][0] for name in facts.default_modalities}
    with torch.device("meta"):  # only sizes count; 86 million random numbers would take seconds
        visual = vision_transformer(replace(clip_spec(BACKBONE).visual, grid=WINDOW))
    tower = VisualTower(visual.to_empty(device="cpu"), "sizes alone")
    specs = {name: NetworkSpec(BACKBONE, name, bands, list(facts.classes), WINDOW) for name in METHODS}
    return {name: count(Network(spec, tower))["trainable"] for name, spec in specs.items()}


def report(settings: Settings) -> str:
    """The parameters of the network that these settings make, in numbers and percent.

    Args:
        settings: Bands and classes come from ``data_root``, or the facts of ``dataset``, or else are Houston2013's.

    Returns:
        A table for people.

    Raises:
        MamolError: Unknown dataset or backbone, or unreadable tables.
    """
    spec, shown = _described(settings)
    numbers = count(assemble(spec, RANDOM))
    bands = ", ".join(f"{name} {number}" for name, number in spec.modalities.items())
    lines = [f"{settings.method} on {settings.backbone}, {bands}, {len(spec.classes)} classes ({shown})"]
    lines += [f"{name:<9} {number:>12,}  {100 * number / numbers['total']:7.3f} %" for name, number in numbers.items()]
    return "\n".join(lines)


def _described(settings: Settings) -> tuple[NetworkSpec, str]:
    """The network that the settings mean, and whose sizes it has."""
    data_root = Path(settings.data_root) if settings.data_root else None
    if data_root and (data_root / "train.arrow").exists():
        info = open_tables(data_root)["train"].info
        bands, inputs = dict(info.modalities), info.inputs
        classes, grid, shown = info.classes, grid_of(settings, info), str(data_root)
    elif pairs := find(settings.dataset):
        bands, inputs = IMAGE_TEXT_MODALITIES, IMAGE_TEXT_INPUTS
        classes, grid, shown = pairs.classes, image_grid(settings), f"published sizes of {pairs.name}"
    else:
        facts = facts_of(settings.dataset or EXAMPLE)
        names = settings.modalities or facts.default_modalities
        bands, inputs = {name: facts.bands[name][0] for name in names if name in facts.bands}, {}
        classes, grid, shown = facts.classes, WINDOW, f"published sizes of {facts.name}"
    bands = {name: bands[name] for name in settings.modalities or bands}
    return network_spec(settings, bands, classes, grid, inputs), shown
