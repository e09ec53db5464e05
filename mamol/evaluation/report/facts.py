"""What a page is of: data, split, missing modalities, weights, settings, versions, the command."""

import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypedDict

import torch

from mamol.core.settings import Settings, flat_defaults
from mamol.core.version import VERSION
from mamol.evaluation.marking import is_transductive
from mamol.evaluation.results import METRICS, read_metrics
from mamol.evaluation.trained import Trained, config_of
from mamol.training.checkpoints import run_of

OVERLAP = {
    "identical_pixels": "test pixels that are training pixels",
    "identical_percent": "the same in percent",
    "shared_window_percent": "test windows that share pixels with a training window, percent",
    "same_class_window_percent": "test windows that share pixels with a training window of their class, percent",
}


class Facts(TypedDict):
    """A table of the page.

    Attributes:
        title: Its heading.
        head: Of its columns.
        rows: Texts.
    """

    title: str
    head: list[str]
    rows: list[list[str]]


def remarks(trained: Trained) -> list[str]:
    """What every reader must know, as sentences.

    Args:
        trained: Checkpoint and tables.
    """
    info, said = trained.table.info, []
    if info.dataset == "synthetic":
        said.append("Stand-in: the scene is synthetic, so the scores say nothing about real ground.")
    if trained.network.random_weights:
        said.append("Stand-in: the frozen weights are random, so the scores say nothing about published weights.")
    if is_transductive(trained.network, info.sources):
        said.append("Transductive: the frozen weights were trained on this scene, without its labels.")
    return said


def facts(trained: Trained, shown: Mapping[str, str]) -> list[Facts]:
    """All tables.

    Args:
        trained: Checkpoint and tables.
        shown: What the page itself is made with, name to version.
    """
    folder = run_of(trained.checkpoint)
    known = read_metrics(folder) if folder and (folder / METRICS).is_file() else {}
    return [
        _of_data(trained, known.get("data", {})),
        *_of_missing(known.get("missing", {})),
        _of_network(trained, known),
        _of_settings(trained),
        _table("Versions", ["what", "version"], {**_versions(), **shown}),
    ]


def command(settings: Settings) -> str:
    """The command line that makes the page.

    Args:
        settings: Of the command.
    """
    defaults = {name: default for name, default, _ in flat_defaults()}
    plain = Settings.of(defaults).flat()
    given = {name: value for name, value in settings.flat().items() if name in plain and value != plain[name]}
    words = [f"{name}={_word(value)}" for name, value in given.items() if name != "progress_bar"]
    return "python run.py report with " + " ".join(map(shlex.quote, words))


def _word(value: object) -> str:
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return ",".join(value)
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _of_data(trained: Trained, known: Mapping[str, Any]) -> Facts:
    info, tables = trained.table.info, trained.data.tables
    sensors = [f"{name} ({bands} band{'s' * (bands != 1)})" for name, bands in trained.network.spec.sizes.items()]
    rows = {
        "dataset": info.shown,
        "protocol": known.get("protocol", "unknown"),
        "samples of training, validation, test": ", ".join(f"{len(tables[name]):,}" for name in tables),
        "classes": ", ".join(info.classes),
        "sensors": ", ".join(sensors),
    }
    for name, value in known.get("overlap", {}).items():
        rows[OVERLAP.get(name, name)] = "not measured" if value is None else f"{value:g}"
    rows["training table, fingerprint"] = str(known.get("fingerprint", "unknown"))
    return _table("Data and split", ["what", "value"], rows)


def _of_missing(known: Mapping[str, Any]) -> list[Facts]:
    """The table of what was really missing in each split."""
    if not known:
        return []
    sensors = list(next(iter(known.values()))["available_percent"])
    rows = []
    for split, real in known.items():
        shares = [f"{real['available_percent'][name]:.1f}" for name in sensors]
        patterns = ", ".join(f"{name} {count}" for name, count in real["patterns"].items())
        rows.append([split, str(real["n"]), f"{real['incomplete_percent']:.1f}", *shares, patterns])
    head = ["split", "samples", "incomplete, percent", *(f"{name} there, percent" for name in sensors), "patterns"]
    return [{"title": "Missing modalities of the run, as drawn", "head": head, "rows": rows}]


def _of_network(trained: Trained, known: Mapping[str, Any]) -> Facts:
    frozen, network = known.get("backbone", {}), trained.network
    rows = {
        "network": network.spec.label,
        "checkpoint": trained.checkpoint.name,
        "checkpoint, sha256": str(known.get("checkpoint_sha256", "unknown")),
        "backbone": str(frozen.get("name", "unknown")),
        "frozen weights": str(frozen.get("weights", "unknown")),
        "frozen weights, fingerprint": str(frozen.get("sha256", "unknown")),
    }
    rows |= {f"parameters, {name}": f"{count:,}" for name, count in known.get("params", {}).items()}
    return _table("Network and frozen weights", ["what", "value"], rows)


def _of_settings(trained: Trained) -> Facts:
    config = config_of(trained.checkpoint)
    return _table("Settings of the run", ["option", "value"], {name: _word(value) for name, value in config.items()})


def _versions() -> dict[str, str]:
    return {
        "mamol": VERSION,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "pytorch-lightning": version("pytorch-lightning"),
    }


def _table(title: str, head: Sequence[str], rows: Mapping[str, str]) -> Facts:
    return {"title": title, "head": list(head), "rows": [[name, value] for name, value in rows.items()]}
