"""The page of the stand-in comparison."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd

from mamol.data.facts import DATASETS
from mamol.data.tables import Table
from mamol.evaluation.markdown import markdown
from mamol.evaluation.statistics import mean_std
from mamol.methods import METHODS
from mamol.settings import Settings

TITLES = {"trento_hybrid": "hybrid Trento", "idtrees": "IDTReeS"}
COMMAND = "python run.py standin with standin"
UNEVEN = "The same command goes on with them. Until then, rows with different numbers of seeds do not compare."

Tables = Mapping[str, Mapping[str, Table]]
Results = Sequence[Mapping[str, Any]]


def page(settings: Settings, tables: Tables, results: Results) -> str:
    """The comparison as Markdown.

    Args:
        settings: Of the command.
        tables: Scene to split to table.
        results: One of each finished run, as the runs' files have them.

    Returns:
        Heading, how it was made, one table per scene, and which runs are missing.
    """
    names = " / ".join(_title(name) for name in tables)
    return "\n\n".join(
        [
            "# Stand-in comparison of the methods",
            f"**Stand-in: {settings.backbone} backbone with random frozen weights, {names}; says nothing about the "
            "paper's numbers.** It shows that all methods run under the same conditions, no more. Every method has "
            "the same training; none was tuned, and whatever came out stands.",
            _how(settings, tables, results),
            *(_scene(settings, name, splits["train"], results) for name, splits in tables.items()),
            *_missing(settings, tables, results),
        ]
    )


def _title(dataset: str) -> str:
    return TITLES.get(dataset, dataset)


def _how(settings: Settings, tables: Tables, results: Results) -> str:
    ratio, kind = settings.missing("train")
    batches = f" of at most {settings.limit_batches} batches (validation, too)" if settings.limit_batches else ""
    lines = [
        *(_make_arrow(settings, name, splits) for name, splits in tables.items()),
        COMMAND,
    ]
    seconds = [result["seconds"] for result in results]
    spent = (
        f"median {median(seconds):.0f} s a run ({min(seconds):.0f} to {max(seconds):.0f})" if seconds else "no run yet"
    )
    machines = "; ".join(sorted({result["machine"] for result in results}))
    return "\n".join(
        [
            "```",
            *lines,
            "```",
            "",
            f"Training: {settings.max_epoch} epochs{batches}"
            + (f", at most {settings.max_steps} steps" if settings.max_steps else "")
            + f", batch {settings.batch_size}, {settings.optim_type}, learning rate {settings.learning_rate:g}, "
            f"precision {settings.precision}; {100 * ratio:g} % of the samples incomplete ({kind}). The checkpoint "
            "with the best validation OA is tested: under the same rate and type, with one modality missing in every "
            "sample (rate 1), and complete.",
            "",
            f"Budget: {spent} of wall time, tests included, whatever else the machine did meanwhile ({machines}).",
            "",
            "OA in percent, mean ± standard deviation over the seeds (of weights, order and missing patterns; the "
            "split is one). Where all classes have as many test samples, AA is the same number.",
        ]
    )


def _make_arrow(settings: Settings, name: str, splits: Mapping[str, Table]) -> str:
    info = splits["test"].info
    known = info.dataset if info.dataset in DATASETS else "scene"
    per_class = max(info.counts["test"].values())
    return (
        f"python make_arrow.py --dataset {known} --root RAW --out {settings.data_root}/{name} --patch-size "
        f"{info.patch_size} --modalities {','.join(info.modalities)} --protocol {info.protocol} "
        f"--test-per-class {per_class}" + (f" --scene datasets/{info.scene}.json" if known == "scene" else "")
    )


def _scene(settings: Settings, dataset: str, table: Table, results: Results) -> str:
    info = table.info
    rows = []
    for method in settings.methods or METHODS:
        done = [r for r in results if (r["dataset"], r["method"]) == (dataset, method)]
        if not done:
            continue
        row: dict[str, Any] = {"method": method, "trainable": f"{done[0]['trainable']:,}", "seeds": len(done)}
        for condition in done[0]["tests"]:
            mean, std = mean_std([r["tests"][condition]["OA"] for r in done])
            row[condition] = f"{mean:.2f}" + ("" if std is None else f" ± {std:.2f}")
        rows.append(row)
    counts = ", ".join(f"{sum(per.values())} {split}" for split, per in info.counts.items())
    bands = ", ".join(f"{name} {count}" for name, count in info.modalities.items())
    per_epoch = min(-(-len(table) // settings.batch_size), settings.limit_batches or len(table))
    steps = min(settings.max_epoch * per_epoch, settings.max_steps or settings.max_epoch * per_epoch)
    about = (
        f"{steps} training steps; {len(info.classes)} classes (chance: {100 / len(info.classes):.1f} %), "
        f"{bands} bands, {counts} samples, windows of {info.patch_size} × {info.patch_size}, protocol {info.protocol}."
    )
    return "\n\n".join(
        [f"## {_title(dataset)}", about, markdown(pd.DataFrame(rows)) if rows else "No run is finished."]
    )


def _missing(settings: Settings, tables: Tables, results: Results) -> list[str]:
    done = {(r["dataset"], r["method"], r["seed"]) for r in results}
    lines = []
    for dataset in tables:
        for seed in range(settings.seed, settings.seed + settings.seeds):
            left = [m for m in settings.methods or METHODS if (dataset, m, seed) not in done]
            if left:
                lines.append(f"- {_title(dataset)}, seed {seed}: {', '.join(left)}")
    return ["## Missing runs", UNEVEN, "\n".join(lines)] if lines else []
