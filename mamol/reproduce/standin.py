"""In what runs differ from the paper's, so that nobody takes a stand-in for a reproduction."""

from mamol.data.imagetext.info import ImageTextInfo
from mamol.data.imagetext.mmimdb import SIZES
from mamol.data.splits import DEFAULT_PER_CLASS
from mamol.data.tableinfo import TableInfo
from mamol.evaluation.reported import DATASETS
from mamol.reproduce.plan import Plan, Source
from mamol.settings import Settings

BACKBONE = "ViT-B-16-quickgelu"
PROTOCOL = "paper"
PATCH_SIZE = 14


def differences(plan: Plan, source: Source) -> str:
    """Why results on these tables stand only in for the paper's, in words; empty where they do not."""
    return "; ".join([*_of_the_runs(plan), *_of_the_data(source)])


def all_differences(plan: Plan) -> str:
    """The same for all tables of a plan, each reason once."""
    reasons = _of_the_runs(plan)
    for source in plan.sources:
        reasons += [reason for reason in _of_the_data(source) if reason not in reasons]
    return "; ".join(reasons)


def backbone(settings: Settings) -> str:
    """The backbone, in words."""
    random = settings.clip_weights == "random" or settings.backbone == "tiny"
    return f"backbone {settings.backbone}" + (" with random frozen weights" if random else "")


def _of_the_runs(plan: Plan) -> list[str]:
    settings, reasons = plan.settings, []
    if backbone(settings) != f"backbone {BACKBONE}":
        reasons.append(f"{backbone(settings)}, not {BACKBONE} with CLIP's")
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
    if isinstance(info, ImageTextInfo):
        reasons += _of_the_movies(info)
    if isinstance(info, TableInfo):
        reasons += _of_the_pixels(source.dataset, info)
    return reasons


def _of_the_movies(info: ImageTextInfo) -> list[str]:
    sizes = {split: info.samples[split] for split in SIZES}
    if info.plots == "all" or sizes == SIZES:
        return []
    found, known = ("/".join(map(str, part.values())) for part in (sizes, SIZES))
    return [f"{found} movies, not {known}"]


def _of_the_pixels(dataset: str, info: TableInfo) -> list[str]:
    reasons = []
    if info.protocol != PROTOCOL:
        reasons.append(f"split of {dataset} by protocol {info.protocol}, not {PROTOCOL}")
    if info.patch_size != PATCH_SIZE:
        reasons.append(f"windows of {info.patch_size} pixels, not {PATCH_SIZE}")
    for split in ("train", "test"):
        if max(info.counts[split].values()) != DEFAULT_PER_CLASS[split]:
            reasons.append(f"{split} has not {DEFAULT_PER_CLASS[split]} pixels per class")
    return reasons
