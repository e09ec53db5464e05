"""In what runs differ from the paper's, so that nobody takes a stand-in for a reproduction."""

from functools import singledispatch

from mamol.backbones.architectures import TINY_NAME
from mamol.core.backbone import RANDOM
from mamol.core.groups import NetworkSettings
from mamol.data.imagetext.info import ImageTextInfo
from mamol.data.imagetext.mmimdb import SIZES
from mamol.data.sceneinfo import SceneInfo
from mamol.data.splits import DEFAULT_PER_CLASS
from mamol.data.tableinfo import TableInfo
from mamol.experiments.reproduce.plan import Plan, Source
from mamol.experiments.reproduce.reported import DATASETS

BACKBONE = "ViT-B-16-quickgelu"
PROTOCOL = "paper"
PATCH_SIZE = 14


def differences(plan: Plan, source: Source) -> str:
    """Why results on the tables of one source are only a stand-in for the paper's, in words; empty if they are not.

    Args:
        plan: The runs.
        source: The tables.
    """
    return "; ".join([*_of_the_runs(plan), *_of_the_data(source)])


def all_differences(plan: Plan) -> str:
    """Why results of a plan are only a stand-in for the paper's, over all its tables, each reason once.

    Args:
        plan: The runs.
    """
    reasons = _of_the_runs(plan)
    for source in plan.sources:
        reasons += [reason for reason in _of_the_data(source) if reason not in reasons]
    return "; ".join(reasons)


def backbone(settings: NetworkSettings) -> str:
    """The backbone, in words.

    Args:
        settings: Backbone and weights.
    """
    random = settings.clip_weights == RANDOM or settings.backbone == TINY_NAME
    return f"backbone {settings.backbone}" + (" with random frozen weights" if random else "")


def _of_the_runs(plan: Plan) -> list[str]:
    settings, reasons = plan.settings.training, []
    used = backbone(plan.settings.network)
    if used != f"backbone {BACKBONE}":
        reasons.append(f"{used}, not {BACKBONE} with CLIP's")
    shortened = {
        "max_epoch": settings.max_epoch if settings.max_epoch < plan.table.epochs else None,
        "max_steps": settings.max_steps,
    }
    if any(shortened.values()):
        reasons.append("short training: " + ", ".join(f"{key}={value}" for key, value in shortened.items() if value))
    if settings.limit_batches:
        reasons.append(f"limit_batches={settings.limit_batches} per epoch of training and in validation and test")
    return reasons


def _of_the_data(source: Source) -> list[str]:
    info, reasons = source.info, []
    if source.dataset not in DATASETS or info.dataset != source.dataset:
        note = f" ({info.note})" if info.note else ""
        reasons.append(f"{source.dataset} is not data of the paper{note}")
    return reasons + _of_the_samples(info, source.dataset)


@singledispatch
def _of_the_samples(info: TableInfo, dataset: str) -> list[str]:
    """What depends on the kind of table."""
    return []


@_of_the_samples.register
def _of_the_movies(info: ImageTextInfo, dataset: str) -> list[str]:
    sizes = {split: info.samples[split] for split in SIZES}
    if info.plots == "all" or sizes == SIZES:
        return []
    found, known = ("/".join(map(str, part.values())) for part in (sizes, SIZES))
    return [f"{found} movies, not {known}"]


@_of_the_samples.register
def _of_the_pixels(info: SceneInfo, dataset: str) -> list[str]:
    reasons = []
    if info.protocol != PROTOCOL:
        reasons.append(f"split of {dataset} by protocol {info.protocol}, not {PROTOCOL}")
    if info.patch_size != PATCH_SIZE:
        reasons.append(f"windows of {info.patch_size} pixels, not {PATCH_SIZE}")
    for split in ("train", "test"):
        if max(info.counts[split].values()) != DEFAULT_PER_CLASS[split]:
            reasons.append(f"{split} has not {DEFAULT_PER_CLASS[split]} pixels per class")
    return reasons
