"""Where a network's parameters are: the report of ``python run.py params with …``."""

from dataclasses import replace
from pathlib import Path

import torch

from mamol.backbones.architectures import clip_spec
from mamol.backbones.clip import VisualTower
from mamol.core.backbone import RANDOM, Origin
from mamol.core.method import METHODS
from mamol.core.modality import WINDOW as WINDOWS
from mamol.core.modality import Modality
from mamol.core.network import AnyNetwork
from mamol.core.settings import Settings
from mamol.core.spec import NetworkSpec
from mamol.core.streams import VISUAL
from mamol.data.facts import facts_of
from mamol.data.imagetext.info import INPUTS as IMAGE_AND_TEXT
from mamol.data.imagetext.registry import find
from mamol.data.tables import open_tables
from mamol.network.building import assemble, chosen_inputs, spec_of
from mamol.network.network import Network

EXAMPLE = "houston2013"  # whose bands and classes stand in where no table is given
BACKBONE, WINDOW = "ViT-B-16-quickgelu", 14  # the paper's


def count(network: AnyNetwork) -> dict[str, int]:
    """Parameters per part.

    Args:
        network: Trainable are those that require a gradient.

    Returns:
        Trainable ones of the network's parts, such as ``embedding``, ``routers``, ``experts`` and ``head``;
        ``trainable``, ``frozen`` and ``total``.
    """
    parts = network.count_trainable()
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    own = sum(parts.values())
    return {**parts, "trainable": own, "frozen": frozen, "total": own + frozen}


def of_methods() -> dict[str, int]:
    """Trainable parameters of each method on ViT-B/16, with the two modalities and 15 classes of Houston2013.

    Returns:
        Method to number, embedding and head included, each method with its own defaults.
    """
    from mamol.backbones.openclip import vision_transformer

    facts = facts_of(EXAMPLE)
    inputs = tuple(Modality(name, WINDOWS, facts.bands[name][0]) for name in facts.default_modalities)
    with torch.device("meta"):  # only sizes count; 86 million random numbers would take seconds
        visual = vision_transformer(replace(clip_spec(BACKBONE).visual, grid=WINDOW))
    towers = {VISUAL: VisualTower(visual.to_empty(device="cpu"), Origin("sizes alone", random=True))}
    specs = {name: NetworkSpec(BACKBONE, name, inputs, facts.classes, WINDOW) for name in METHODS}
    return {name: count(Network(spec, towers))["trainable"] for name, spec in specs.items()}


def report(settings: Settings) -> str:
    """The parameters of the network that these settings make, in numbers and percent.

    Args:
        settings: Bands and classes come from ``data_root``, or the facts of ``dataset``, or else are Houston2013's.

    Returns:
        A table for people.

    Raises:
        MamolError: Unknown dataset or backbone, or unreadable tables.
    """
    inputs, classes, window, shown = _samples(settings)
    spec = spec_of(inputs, classes, window, settings.network, settings.method, settings.data.image_size)
    numbers = count(assemble(spec, RANDOM))
    sizes = ", ".join(f"{name} {number}" for name, number in spec.sizes.items())
    made = f"{spec.label} on {spec.backbone}" if spec.backbone else spec.label
    lines = [f"{made}, {sizes}, {len(spec.classes)} classes ({shown})"]
    lines += [f"{name:<9} {number:>12,}  {100 * number / numbers['total']:7.3f} %" for name, number in numbers.items()]
    return "\n".join(lines)


def _samples(settings: Settings) -> tuple[list[Modality], tuple[str, ...], int | None, str]:
    """Modalities, classes and window of the samples that the settings mean, and whose sizes they are."""
    data = settings.data
    root = Path(data.data_root) if data.data_root else None
    if root and (root / "train.arrow").exists():
        info = open_tables(root)["train"].info
        return chosen_inputs(info, data.modalities or info.names), info.classes, info.window, str(root)
    if pairs := find(data.dataset):
        known, classes, window = list(IMAGE_AND_TEXT), pairs.classes, None
        shown = f"published sizes of {pairs.name}"
    else:
        facts = facts_of(data.dataset or EXAMPLE)
        names = data.modalities or facts.default_modalities
        known = [Modality(name, WINDOWS, facts.bands[name][0]) for name in names if name in facts.bands]
        classes, window, shown = facts.classes, WINDOW, f"published sizes of {facts.name}"
    by_name = {modality.name: modality for modality in known}
    return [by_name[name] for name in data.modalities or by_name], classes, window, shown
