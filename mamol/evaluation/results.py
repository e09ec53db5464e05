"""The files of a finished run: metrics.json, predictions, confusion matrix, curves."""

from pathlib import Path
from typing import Any

import pandas as pd

from mamol.data.datamodules import RemoteSensingData
from mamol.evaluation.plots import confusion_plot, save_figure, training_curves
from mamol.evaluation.predictions import frame, write_predictions
from mamol.files import write_json
from mamol.models.clip import RANDOM
from mamol.training.module import Classifier


def write_results(folder: Path, module: Classifier, data: RemoteSensingData, facts: dict[str, Any]) -> None:
    """Writes a tested run's results; ``metrics.json`` comes last and marks the run as finished.

    Args:
        folder: The run's folder.
        module: After its test.
        data: What it was tested on.
        facts: What else belongs into ``metrics.json``: missing, params, seconds, data, backbone.
    """
    spec = module.network.spec
    if module.counts is not None:
        title = note(facts, f"test of {facts['method']} on {facts['data']['dataset']}")
        save_figure(confusion_plot(module.counts.sum(0).numpy(), spec.classes, title), folder / "confusion.png")
    if module.predictions is not None:
        index, probabilities = (part.cpu().numpy() for part in module.predictions)
        kept = frame(data.tables["test"], data.modalities, data.masks["test"].first, index, probabilities)
        about = {"method": facts["method"], "weights": facts["backbone"]["weights"]}
        write_predictions(folder / "predictions.parquet", kept, about)
    history = folder / "history.csv"
    if history.exists():
        save_figure(training_curves(pd.read_csv(history)), folder / "curves.png")
    write_json(folder / "metrics.json", {"test": module.result, **facts})


def note(facts: dict[str, Any], title: str) -> str:
    """Adds to a title what a reader of results with these facts must know."""
    return marked(title, facts["data"]["dataset"], facts["backbone"]["weights"])


def marked(title: str, dataset: str, weights: str) -> str:
    """Adds to a title what a reader must know: stand-in data, random frozen weights."""
    remarks = []
    if dataset == "synthetic":
        remarks.append("synthetic scene")
    if weights.startswith(RANDOM):
        remarks.append("random frozen weights")
    return title + (f" ({', '.join(remarks)})" if remarks else "")
