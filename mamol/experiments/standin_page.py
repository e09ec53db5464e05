"""The page of the stand-in comparison."""

import os
import platform
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import pandas as pd
import torch

from mamol.core.method import METHODS
from mamol.core.settings import Settings
from mamol.data.facts import DATASETS
from mamol.evaluation.markdown import markdown
from mamol.evaluation.statistics import mean_std
from mamol.experiments.reproduce.plan import Source

TITLES = {"trento_hybrid": "hybrid Trento", "idtrees": "IDTReeS"}
COMMAND = "python run.py standin with standin"
UNEVEN = "The same command goes on with them. Until then, rows with different numbers of seeds do not compare."

Sources = Sequence[Source]
Results = Sequence[Mapping[str, Any]]


def page(settings: Settings, sources: Sources, results: Results) -> str:
    """The comparison as Markdown.

    Args:
        settings: Of the command.
        sources: The scenes.
        results: Of each finished run, what ``StandIn.result`` gives.

    Returns:
        Heading, how it was made, one table per scene, and which runs are missing.
    """
    names = " / ".join(_title(source.dataset) for source in sources)
    return "\n\n".join(
        [
            "# Stand-in comparison of the methods",
            f"**Stand-in: {settings.network.backbone} backbone with random frozen weights, {names}; says nothing about "
            "the paper's numbers.** It shows that all methods run under the same conditions, no more. Every method has "
            "the same training; none was tuned, and whatever came out stands.",
            _how(settings, sources, results),
            *(_scene(settings, source, results) for source in sources),
            *_missing(settings, sources, results),
        ]
    )


def _title(dataset: str) -> str:
    return TITLES.get(dataset, dataset)


def _how(settings: Settings, sources: Sources, results: Results) -> str:
    ratio, kind = settings.missing.of("train")
    training = settings.training
    batches = f" of at most {training.limit_batches} batches (validation, too)" if training.limit_batches else ""
    lines = [
        *(_make_arrow(settings, source) for source in sources),
        COMMAND,
    ]
    seconds = [result["seconds"] for result in results]
    spent = (
        f"median {median(seconds):.0f} s a run ({min(seconds):.0f} to {max(seconds):.0f})" if seconds else "no run yet"
    )
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    return "\n".join(
        [
            "```",
            *lines,
            "```",
            "",
            f"Training: {training.max_epoch} epochs{batches}"
            + (f", at most {training.max_steps} steps" if training.max_steps else "")
            + f", batch {training.batch_size}, {training.optim_type}, learning rate {training.learning_rate:g}, "
            f"precision {training.precision}; {100 * ratio:g} % of the samples incomplete ({kind}). The checkpoint "
            "with the best validation OA is tested: under the same rate and type, with one modality missing in every "
            "sample (rate 1), and complete.",
            "",
            f"Budget: {spent} of wall time for training and test, whatever else the machine did meanwhile (this "
            f"page was made on {machine}).",
            "",
            "OA in percent, mean ± standard deviation over the seeds (of weights, order and missing patterns; the "
            "split is one). Where all classes have as many test samples, AA is the same number.",
        ]
    )


def _make_arrow(settings: Settings, source: Source) -> str:
    info = source.info
    known = info.dataset if info.dataset in DATASETS else "scene"
    per_class = max(info.counts["test"].values())
    return (
        f"python make_arrow.py --dataset {known} --root RAW --out {settings.data.data_root}/{source.dataset} "
        f"--patch-size {info.window} --modalities {','.join(info.names)} --protocol {info.protocol} "
        f"--test-per-class {per_class}"
        + (f" --scene datasets/{info.plain()['scene']}.json" if known == "scene" else "")
    )


def _scene(settings: Settings, source: Source, results: Results) -> str:
    info, dataset = source.info, source.dataset
    rows = []
    for method in dict.fromkeys(settings.reproduce.methods or METHODS):
        done = [r for r in results if (r["dataset"], r["method"]) == (dataset, method)]
        if not done:
            continue
        row: dict[str, Any] = {"method": method, "trainable": f"{done[0]['trainable']:,}", "seeds": len(done)}
        for condition in done[0]["tests"]:
            mean, std = mean_std([r["tests"][condition] for r in done])
            row[condition] = f"{mean:.2f}" + ("" if std is None else f" ± {std:.2f}")
        rows.append(row)
    counts = ", ".join(f"{sum(per.values())} {split}" for split, per in info.counts.items())
    bands = ", ".join(f"{each.name} {each.size}" for each in info.inputs)
    training, samples = settings.training, sum(info.counts["train"].values())
    per_epoch = min(-(-samples // training.batch_size), training.limit_batches or samples)
    steps = min(training.max_epoch * per_epoch, training.max_steps or training.max_epoch * per_epoch)
    about = (
        f"{steps} training steps; {len(info.classes)} classes (chance: {100 / len(info.classes):.1f} %), "
        f"{bands} bands, {counts} samples, windows of {info.window} × {info.window}, protocol {info.protocol}."
    )
    return "\n\n".join(
        [f"## {_title(dataset)}", about, markdown(pd.DataFrame(rows)) if rows else "No run is finished."]
    )


def _missing(settings: Settings, sources: Sources, results: Results) -> list[str]:
    done = {(r["dataset"], r["method"], r["seed"]) for r in results}
    lines = []
    for source in sources:
        for seed in range(settings.run.seed, settings.run.seed + settings.reproduce.seeds):
            left = [m for m in settings.reproduce.methods or METHODS if (source.dataset, m, seed) not in done]
            if left:
                lines.append(f"- {_title(source.dataset)}, seed {seed}: {', '.join(left)}")
    return ["## Missing runs", UNEVEN, "\n".join(lines)] if lines else []
