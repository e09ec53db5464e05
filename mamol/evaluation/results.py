"""The files of a finished run: metrics.json, predictions, the task's figures, curves."""

from pathlib import Path
from typing import Any

import pandas as pd

from mamol.data.datamodules import MultimodalData
from mamol.evaluation.plots import save_figure, training_curves
from mamol.evaluation.predictions import frame, write_predictions
from mamol.files import write_json
from mamol.models.clip import RANDOM
from mamol.training.module import Classifier


def write_results(folder: Path, module: Classifier, data: MultimodalData, facts: dict[str, Any]) -> None:
    """Writes a tested run's results; ``metrics.json`` comes last and marks the run as finished.

    Args:
        folder: The run's folder.
        module: After its test.
        data: What it was tested on.
        facts: What else belongs into ``metrics.json``: missing, params, seconds, data, backbone.
    """
    if module.predictions is not None:
        table = data.tables["test"]
        index, probabilities = module.predictions
        title = note(facts, f"test of {facts['method']} on {facts['data']['dataset']}")
        figures = module.task.figures(probabilities, table.label[index], table.info.classes, title)
        for name, figure in figures.items():
            save_figure(figure, folder / f"{name}.png")
        kept = frame(table, data.modalities, data.masks["test"].first, index, probabilities)
        about = {"method": facts["method"], "weights": facts["backbone"]["weights"]}
        write_predictions(folder / "predictions.parquet", kept, about)
    history = folder / "history.csv"
    if history.exists():
        save_figure(training_curves(pd.read_csv(history), module.task.selection), folder / "curves.png")
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
