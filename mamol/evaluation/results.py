"""The files of a finished run: metrics.json, predictions, the task's figures, curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamol.core.calibration import AS_IS, Calibration
from mamol.core.errors import MamolError
from mamol.core.plain import fitted
from mamol.core.seal import read_sealed_json, write_sealed_json
from mamol.core.task import Task
from mamol.data.datamodules import MultimodalData
from mamol.data.tableinfo import Identity
from mamol.evaluation.figures import figures_of
from mamol.evaluation.marking import TRANSDUCTIVE, marked
from mamol.evaluation.plots import save_figure, training_curves
from mamol.evaluation.predictions import PREDICTIONS, frame, write_predictions
from mamol.training.runs import read_history

METRICS = "metrics.json"
TEST_AGAIN = "test or train the run again"
WRITE_AGAIN = "remove it, and evaluate the run again"
LARGEST = 100.0
"""Of every score; kappa and others can be negative."""
PARTS = "per_"
"""In front of what has numbers by name, such as those of classes."""
ROWS = ("per_pattern", "per_scene")
"""What has scores of its own by name."""
INTERVAL = "_interval"
"""Behind the name of a score: its interval, two numbers."""


class Missing(TypedDict):
    """What is missing in a split, as ``mamol.data.missing.realised`` says it."""

    n: int
    incomplete_percent: float
    patterns: dict[str, int]
    available_percent: dict[str, float]
    natural: NotRequired[dict[str, Any]]
    spared: NotRequired[int]


class Tables(Identity, total=False):
    """On which tables it was tested; versions and kinds of tables differ in what they say."""

    layout: str
    overlap: dict[str, float | None]
    counts: dict[str, dict[str, int]]
    natural: dict[str, dict[str, int]]
    left_out: int
    sha256: dict[str, str]


class Frozen(TypedDict, total=False):
    """The frozen weights."""

    name: str
    weights: str
    sha256: str
    random: bool
    transductive: bool


class Facts(TypedDict, total=False):
    """What stands in ``metrics.json`` beside the scores."""

    missing: dict[str, Missing]
    params: dict[str, int]
    seconds: dict[str, float]
    data: Tables
    backbone: Frozen
    method: str
    checkpoint: str
    checkpoint_sha256: str
    calibration_sha256: str
    limit_batches: int | None


def write_results(
    folder: Path,
    task: Task,
    result: dict[str, Any],
    predictions: tuple[NDArray[np.int64], NDArray[np.float32]],
    data: MultimodalData,
    facts: dict[str, Any],
    calibration: Calibration = AS_IS,
) -> None:
    """Writes a tested run's results; ``metrics.json`` comes last and marks the run as finished.

    Args:
        folder: The run's folder.
        task: What the labels are.
        result: The scores, of ``Task.report``.
        predictions: Tested samples (n,) and their probabilities (n, K).
        data: What it was tested on.
        facts: What else belongs into ``metrics.json``: missing, params, seconds, data, backbone.
        calibration: What the probabilities went through; it knows sets of classes.
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
    mask = data.masks["test"].first
    sets = None if task.pixels else calibration.sets(probabilities, mask[index])
    kept = frame(table, data.modalities, mask, index, probabilities, sets)
    told = {} if sets is None else {"coverage": calibration.coverage}
    write_predictions(folder / PREDICTIONS, kept, {"method": facts["method"], "weights": backbone["weights"], **told})
    history = folder / "history.csv"
    if history.exists():
        save_figure(training_curves(read_history(history), task.selection, title("training")), folder / "curves.png")
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
    try:
        _check_scores(scores, "")
        fitted(content, Facts, METRICS)
    except ValueError as error:
        raise MamolError(f"{path}: {error}; {TEST_AGAIN}") from error
    return content


def read_table(path: Path, texts: Sequence[str], scores: Sequence[str]) -> pd.DataFrame:
    """A table that a command left beside a run, such as ``grid.csv``.

    Args:
        path: The file.
        texts: Columns that it has to have.
        scores: Columns of numbers that it has to have, none above 100.

    Raises:
        MamolError: It is not there, damaged, or something else.
    """
    try:
        table = pd.read_csv(path)
        if absent := [name for name in (*texts, *scores) if name not in table]:
            raise ValueError(f"no column {', '.join(absent)}")
        for name in scores:
            _need_percent(table[name])
    except (OSError, ValueError, TypeError) as error:
        told = str(error).partition("\n")[0]
        raise MamolError(f"{path}: is not what this program wrote ({told}); {WRITE_AGAIN}") from error
    return table


def _need_percent(column: pd.Series) -> None:
    wrong = column[~(column.isna() | column.astype(float).between(-LARGEST, LARGEST))]
    if len(wrong):
        raise ValueError(f"{column.name} is {wrong.iloc[0]}, expected at most {LARGEST:g}")


def _check_scores(scores: dict[str, Any], place: str) -> None:
    """Refuses what is no score: a number of percent or a count; None is one that is not defined.

    Raises:
        ValueError: Naming it.
    """
    for key, value in scores.items():
        name = f"{place}{key}"
        if key in ROWS:
            for part, row in fitted(value, dict[str, dict[str, Any]], name).items():
                _check_scores(row, f"{name}.{part}.")
        elif key.startswith(PARTS):
            for part, number in fitted(value, dict[str, float | None], name).items():
                _check_score(number, f"{name}.{part}")
        elif key.endswith(INTERVAL) and value is not None:
            for number in fitted(value, tuple[float, float], name):
                _check_score(number, name)
        else:
            _check_score(value, name)
    if place or "n" in scores:
        fitted(scores.get("n"), int, f"{place}n")


def _check_score(value: object, name: str) -> None:
    if isinstance(value, float) and not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{name} is {value}, expected at most {LARGEST:g} percent")
    fitted(value, float | None, name)
