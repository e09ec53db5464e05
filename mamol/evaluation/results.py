"""The files of a finished run: metrics.json, confusion matrix, curves."""

from pathlib import Path
from typing import Any

import pandas as pd

from mamol.evaluation.plots import confusion_plot, save_figure, training_curves
from mamol.files import write_json
from mamol.training.module import Classifier


def write_results(folder: Path, module: Classifier, facts: dict[str, Any]) -> None:
    """Writes a tested run's results; ``metrics.json`` comes last and marks the run as finished.

    Args:
        folder: The run's folder.
        module: After its test.
        facts: What else belongs into ``metrics.json``: missing, params, seconds, data, backbone.
    """
    spec = module.network.spec
    if module.counts is not None:
        title = note(facts, f"test of {facts['method']} on {facts['data']['dataset']}")
        save_figure(confusion_plot(module.counts.sum(0).numpy(), spec.classes, title), folder / "confusion.png")
    history = folder / "history.csv"
    if history.exists():
        save_figure(training_curves(pd.read_csv(history)), folder / "curves.png")
    write_json(folder / "metrics.json", {"test": module.result, **facts})


def note(facts: dict[str, Any], title: str) -> str:
    """Adds to a title what a reader must know: stand-in data, random frozen weights."""
    remarks = []
    if facts["data"]["dataset"] == "synthetic":
        remarks.append("synthetic scene")
    if facts["backbone"]["weights"].startswith("random"):
        remarks.append("random frozen weights")
    return title + (f" ({', '.join(remarks)})" if remarks else "")
