"""The files of a finished run: metrics.json, predictions, the task's figures, curves."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.seal import read_sealed_json, write_sealed_json
from mamol.core.task import Task
from mamol.data.datamodules import MultimodalData
from mamol.evaluation.figures import figures_of
from mamol.evaluation.marking import TRANSDUCTIVE, marked
from mamol.evaluation.plots import save_figure, training_curves
from mamol.evaluation.predictions import frame, write_predictions

METRICS = "metrics.json"
TEST_AGAIN = "test or train the run again"
LARGEST = 100.0
"""Of every score; kappa and others can be negative."""


def write_results(
    folder: Path,
    task: Task,
    result: dict[str, Any],
    predictions: tuple[NDArray[np.int64], NDArray[np.float32]],
    data: MultimodalData,
    facts: dict[str, Any],
) -> None:
    """Writes a tested run's results; ``metrics.json`` comes last and marks the run as finished.

    Args:
        folder: The run's folder.
        task: What the labels are.
        result: The scores, of ``Task.report``.
        predictions: Tested samples (n,) and their probabilities (n, K).
        data: What it was tested on.
        facts: What else belongs into ``metrics.json``: missing, params, seconds, data, backbone.
    """
    table = data.tables["test"]
    index, probabilities = predictions
    backbone = facts["backbone"]

    def title(what: str) -> str:
        text = f"{what} of {facts['method']} on {table.info.shown}"
        return marked(text, table.info.dataset, backbone["random"], backbone.get(TRANSDUCTIVE, False))

    tested = "test" if len(index) == len(table) else f"test on {len(index)} of {len(table)} samples"
    for name, figure in figures_of(task, probabilities, table.label[index], table.info.classes, title(tested)).items():
        save_figure(figure, folder / f"{name}.png")
    kept = frame(table, data.modalities, data.masks["test"].first, index, probabilities)
    write_predictions(folder / "predictions.parquet", kept, {"method": facts["method"], "weights": backbone["weights"]})
    history = folder / "history.csv"
    if history.exists():
        save_figure(training_curves(pd.read_csv(history), task.selection, title("training")), folder / "curves.png")
    write_sealed_json(folder / METRICS, {"test": result, **facts})


def read_metrics(folder: Path) -> dict[str, Any]:
    """The results of a finished run.

    Args:
        folder: Of the run.

    Returns:
        Its ``metrics.json``.

    Raises:
        MamolError: It is not there, damaged, or no result of a test.
    """
    path = folder / METRICS
    content = read_sealed_json(path, TEST_AGAIN)
    scores = content.get("test")
    if not isinstance(scores, dict):
        raise MamolError(f"{path}: has no scores of a test under 'test'; {TEST_AGAIN}")
    for name, value in scores.items():
        if isinstance(value, float) and not -LARGEST <= value <= LARGEST:
            raise MamolError(f"{path}: {name} is {value}, expected at most {LARGEST:g} percent; {TEST_AGAIN}")
    return content
