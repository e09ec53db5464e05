"""In what runs differ from the paper's, so that nobody takes a stand-in for a reproduction."""

from dataclasses import fields
from functools import singledispatch
from pathlib import Path

from mamol.backbones.architectures import TINY_NAME
from mamol.backbones.huggingface import read_config
from mamol.backbones.vilt import NAME as VILT
from mamol.core.backbone import RANDOM
from mamol.core.groups import MethodSettings, NetworkSettings
from mamol.core.method import METHODS
from mamol.core.settings import Settings
from mamol.data.imagetext.info import ImageTextInfo
from mamol.data.imagetext.mmimdb import SIZES
from mamol.data.sceneinfo import SceneInfo
from mamol.data.splits import DEFAULT_PER_CLASS
from mamol.data.tableinfo import TableInfo
from mamol.experiments.reproduce.paper import AS_STATED
from mamol.experiments.reproduce.plan import Cell, Plan, Source
from mamol.experiments.reproduce.reported import DATASETS
from mamol.experiments.reproduce.variants import variants

BACKBONE = "ViT-B-16-quickgelu"
OPENAI_SHA256 = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"
"""Of OpenAI's archive for that backbone."""
VILT_SIZE = {"hidden_size": 768, "num_hidden_layers": 12, "patch_size": 32}
"""Of ViLT-B/32, the only one that its authors published; Hugging Face's defaults are the same."""
PROTOCOL = "paper"
PATCH_SIZE = 14
TOLD_OTHERWISE = frozenset(("backbone", "max_epoch", "max_steps", "limit_batches", "per_gpu_batchsize"))
"""Options with a sentence of their own; batches are of ``batch_size`` whatever goes through a device at once."""


def differences(plan: Plan, source: Source) -> str:
    """Why results on the tables of one source are only a stand-in for the paper's, in words; empty if they are not.

    Args:
        plan: The runs.
        source: The tables.
    """
    return "; ".join([*_of_the_runs(plan), *_of_the_source(plan, source)])


def all_differences(plan: Plan) -> str:
    """Why results of a plan are only a stand-in for the paper's, over all its tables, each reason once.

    Args:
        plan: The runs.
    """
    reasons = _of_the_runs(plan)
    for source in plan.sources:
        reasons += [reason for reason in _of_the_source(plan, source) if reason not in reasons]
    return "; ".join(reasons)


def backbone(settings: NetworkSettings) -> str:
    """The backbone, in words.

    Args:
        settings: Backbone and weights.
    """
    random = settings.clip_weights == RANDOM or settings.backbone == TINY_NAME
    return f"backbone {settings.backbone}" + (" with random frozen weights" if random else "")


def _of_the_runs(plan: Plan) -> list[str]:
    """The options that decide results, compared with the table's own, method by method and row by row."""
    different = {(repr(cell.row.options), cell.method): cell for cell in plan.cells}
    reasons: dict[str, None] = {}
    for cell in different.values():
        found, own = Settings.of(cell.job.config), _own_settings(plan, cell)
        reasons |= dict.fromkeys([*_of_the_weights(plan, found, own), *_of_the_length(found, own)])
        reasons |= dict.fromkeys(_of_the_options(found, own))
    return list(reasons)


def _own_settings(plan: Plan, cell: Cell) -> Settings:
    """What the table itself sets for a run."""
    own = {**plan.table.options, **cell.row.options, **variants()[cell.method]}
    return Settings.of(own | {"seed": cell.seed, "modalities": list(cell.source.modalities)})


def _of_the_weights(plan: Plan, found: Settings, own: Settings) -> list[str]:
    """Backbone and frozen weights."""
    wanted, used = own.network.backbone, backbone(found.network)
    if used != f"backbone {wanted}":
        return [f"{used}, not {wanted}" + (" with CLIP's" if wanted == BACKBONE else "")]
    if wanted == VILT:
        return _of_vilt(Path(found.network.clip_weights))
    if plan.weights in ("openai", OPENAI_SHA256):
        return []
    return [f"clip_weights={Path(found.network.clip_weights).name}, not known to be those of OpenAI's CLIP"]


def _of_vilt(folder: Path) -> list[str]:
    config = read_config(folder)
    size = {name: config.get(name, known) for name, known in VILT_SIZE.items()}
    told = ", ".join(f"{name} {value}" for name, value in size.items())
    return [] if size == VILT_SIZE else [f"a ViLT of {told}, not the published size"]


def _of_the_length(found: Settings, own: Settings) -> list[str]:
    """Training that was made shorter."""
    training, reasons = found.training, []
    shortened = {
        "max_epoch": training.max_epoch if training.max_epoch < own.training.max_epoch else None,
        "max_steps": training.max_steps,
    }
    if any(shortened.values()):
        reasons.append("short training: " + ", ".join(f"{key}={value}" for key, value in shortened.items() if value))
    if training.max_epoch > own.training.max_epoch:
        reasons.append(f"max_epoch={training.max_epoch}, not {own.training.max_epoch}")
    if training.limit_batches:
        reasons.append(f"limit_batches={training.limit_batches} per epoch of training and in validation and test")
    return reasons


def _of_the_options(found: Settings, own: Settings) -> list[str]:
    """All others that the method reads, unless they are what the paper states."""
    read = METHODS.find(found.method.method).options
    unread = {f.name for f in fields(MethodSettings)} - {"method", *read}
    theirs, stated = own.decisive(), Settings.of(AS_STATED).decisive()
    return [
        f"{name}={value}, not {theirs.get(name)}"
        for name, value in found.decisive().items()
        if name not in unread | TOLD_OTHERWISE
        and value != theirs.get(name)
        and not (name in AS_STATED and value == stated[name])
    ]


def _of_the_source(plan: Plan, source: Source) -> list[str]:
    return [*_of_the_data(source), *_of_the_modalities(plan, source)]


def _of_the_data(source: Source) -> list[str]:
    info, reasons = source.info, []
    if source.dataset not in DATASETS or info.dataset != source.dataset:
        note = f" ({info.note})" if info.note else ""
        reasons.append(f"{source.dataset} is not data of the paper{note}")
    return reasons + _of_the_samples(info, source.dataset)


def _of_the_modalities(plan: Plan, source: Source) -> list[str]:
    """Which are used; their order is none of the paper's conditions."""
    wanted = plan.table.modalities(source.dataset, source.info.names) or ()
    used = source.modalities
    return [] if set(used) == set(wanted) else [f"modalities {','.join(used)}, not {','.join(wanted)}"]


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
