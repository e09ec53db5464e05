"""Where a network's parameters are: the report of ``python run.py params with …``."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mamol.building import assemble, network_spec
from mamol.data.facts import facts_of
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
    data_root = Path(settings.data_root) if settings.data_root else None
    if data_root and (data_root / "train.arrow").exists():
        info = open_tables(data_root)["train"].info
        bands, classes, patch_size, shown = info.modalities, list(info.classes), info.patch_size, str(data_root)
    else:
        facts = facts_of(settings.dataset or EXAMPLE)
        names = settings.modalities or facts.default_modalities
        bands = {name: facts.bands[name][0] for name in names if name in facts.bands}
        classes, patch_size, shown = list(facts.classes), WINDOW, f"published sizes of {facts.name}"
    bands = {name: bands[name] for name in settings.modalities or bands}
    spec = network_spec(settings, bands, classes, patch_size)
    numbers = count(assemble(spec, RANDOM))
    title = f"{settings.method} on {settings.backbone}, {', '.join(f'{n} {b}' for n, b in bands.items())}, "
    lines = [title + f"{len(classes)} classes ({shown})"]
    lines += [f"{name:<9} {number:>12,}  {100 * number / numbers['total']:7.3f} %" for name, number in numbers.items()]
    return "\n".join(lines)
