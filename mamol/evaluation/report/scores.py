"""The scores of a page: every pattern with intervals, every missing rate."""

from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from mamol.evaluation.grid import ALL, Drawn, score_grid, score_patterns
from mamol.evaluation.report.intervals import Interval, interval, redrawn, scores_of
from mamol.evaluation.report.predicted import Predicted
from mamol.evaluation.report.trust import Trust, trust
from mamol.evaluation.statistics import chance_level


class Score(TypedDict):
    """A number and its interval."""

    value: float | None
    interval: Interval


class PatternScores(TypedDict):
    """Of one pattern.

    Attributes:
        n: Test samples that can be under it.
        scores: By name.
        classes: The task's number of each class.
        confusion: (K, K), rows are the truth; None where the task has none.
        trust: Reliability and risk; None where samples have no single class.
    """

    n: int
    scores: dict[str, Score]
    classes: list[Score]
    confusion: list[list[int]] | None
    trust: Trust | None


def pattern_scores(predicted: Predicted) -> dict[str, PatternScores]:
    """Every pattern by itself; the numbers of ``evaluate``, with intervals.

    Args:
        predicted: Of the run.
    """
    trained = predicted.trained
    frame = score_patterns(predicted.probabilities, trained).set_index("present")
    found: dict[str, PatternScores] = {}
    for name, index in predicted.samples.items():
        row, label = frame.loc[name], trained.table.label[index]
        said = predicted.said(name)[index]
        ends = _intervals(predicted, said, label)
        classes = ends["iou" if trained.task.pixels else "recall"] if ends else [None] * len(trained.classes)
        scores = {each: Score(value=number(row[each]), interval=ends.get(each)) for each in trained.task.scores}
        found[name] = {
            "n": len(index),
            "scores": scores,
            "classes": [
                Score(value=number(row[each]), interval=end) for each, end in zip(trained.classes, classes, strict=True)
            ],
            "confusion": predicted.counted.confusion(said, label).tolist() if predicted.counted else None,
            "trust": trust(said, label, trained.network.calibration, name) if predicted.single else None,
        }
    return found


def _intervals(predicted: Predicted, said: NDArray[np.float32], label: NDArray[np.integer]) -> dict[str, Any]:
    """Of all scores that come from a confusion matrix; of classes a list."""
    task = predicted.counted
    if task is None:
        return {}
    counts = said.astype(np.int64) if task.pixels else task.confusion(said, label)
    if not counts.sum():
        return {}
    many = scores_of(redrawn(counts))
    many = {**many, "accuracy": many["OA"]}
    return {
        name: interval(values) if values.ndim == 1 else [interval(column) for column in values.T]
        for name, values in many.items()
    }


def rate_scores(predicted: Predicted, masks: Drawn) -> list[dict[str, Any]]:
    """The scores of all samples at every missing type and rate: the grid of ``evaluate``.

    Args:
        predicted: Of the run.
        masks: Of ``grid.draw_masks``, with a column for each modality of the run.
    """
    frame = score_grid(predicted.probabilities, predicted.trained, masks)
    rows = frame[frame["present"] == ALL].drop(columns="present").to_dict("records")
    return [{str(key): _plain(value) for key, value in row.items()} for row in rows]


def chance(predicted: Predicted) -> float | None:
    """What guessing reaches in the task's main score, if that depends on the number of classes alone.

    Args:
        predicted: Of the run.
    """
    return chance_level(predicted.trained.task.selection, len(predicted.trained.classes))


def number(value: Any) -> float | None:  # noqa: ANN401 - of a frame
    """A number of a table as JSON has it.

    Args:
        value: A float, or nothing.

    Returns:
        None where it is not a number.
    """
    return None if value is None or np.isnan(value) else float(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 - of a frame
    return number(value) if isinstance(value, float) else value
