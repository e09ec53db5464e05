"""The scores of a page: every pattern with intervals, every missing rate, other runs beside this one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from mamol.core.names import pattern_name
from mamol.evaluation.grid import ALL, all_predictions, draw_masks, score_grid, score_patterns
from mamol.evaluation.patterns import all_patterns, natural_or_all
from mamol.evaluation.report.intervals import Interval, interval, redrawn, scores_of
from mamol.evaluation.report.trust import Trust, trust
from mamol.evaluation.statistics import bootstrap, chance_level, mcnemar
from mamol.evaluation.trained import Trained, open_trained
from mamol.tasks.single_label import SingleLabel


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


class Against(TypedDict):
    """Another run under one pattern, on the same test samples.

    Attributes:
        n: Test samples.
        scores: Of the other run.
        difference: Points of OA that this run has more; None where samples are not compared one by one.
        interval: Of it.
        p_value: McNemar's exact test.
    """

    n: int
    scores: dict[str, float | None]
    difference: float | None
    interval: Interval
    p_value: float | None


class Other(TypedDict):
    """Another run.

    Attributes:
        name: Its folder's.
        method: What was trained.
        patterns: By name; those that both runs have.
    """

    name: str
    method: str
    patterns: dict[str, Against]


@dataclass(frozen=True)
class Predicted:
    """A trained network, and what it says of every test sample under every pattern.

    Attributes:
        trained: Checkpoint and tables.
        probabilities: (P, N, K), of ``grid.all_predictions``.
    """

    trained: Trained
    probabilities: NDArray[np.float32]

    @classmethod
    def of(cls, trained: Trained) -> "Predicted":
        """Predicts.

        Args:
            trained: Checkpoint and tables.

        Raises:
            MamolError: A probability is NaN or infinite.
        """
        return cls(trained, all_predictions(trained))

    @property
    def samples(self) -> dict[str, NDArray[np.int64]]:
        """Pattern to the test samples that can be under it, as ``evaluate`` has them."""
        natural, names = natural_or_all(self.trained.table, self.trained.modalities), self.trained.modalities
        able = {pattern_name(row, names): np.flatnonzero((natural | ~row).all(1)) for row in all_patterns(len(names))}
        return {name: chosen for name, chosen in able.items() if len(chosen)}

    def said(self, pattern: str) -> NDArray[np.float32]:
        """What is said of all samples under a pattern, (N, K).

        Args:
            pattern: Its name.
        """
        names = self.trained.modalities
        rows = [pattern_name(row, names) for row in all_patterns(len(names))]
        found: NDArray[np.float32] = self.probabilities[rows.index(pattern)]
        return found

    @property
    def counted(self) -> SingleLabel | None:
        """The task, if it has a confusion matrix."""
        task = self.trained.task
        return task if isinstance(task, SingleLabel) else None

    @property
    def single(self) -> bool:
        """Whether every sample has one class and probabilities of all."""
        return self.counted is not None and not self.trained.task.pixels


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
        scores = {each: Score(value=_number(row[each]), interval=ends.get(each)) for each in trained.task.scores}
        found[name] = {
            "n": len(index),
            "scores": scores,
            "classes": [
                Score(value=_number(row[each]), interval=end)
                for each, end in zip(trained.classes, classes, strict=True)
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


def rate_scores(predicted: Predicted) -> list[dict[str, Any]]:
    """The scores of all samples at every missing type and rate: the grid of ``evaluate``.

    Args:
        predicted: Of the run.
    """
    trained = predicted.trained
    asked = trained.settings.evaluate
    masks = draw_masks(trained, asked.evaluate_ratios, asked.evaluate_types)
    frame = score_grid(predicted.probabilities, trained, masks)
    rows = frame[frame["present"] == ALL].drop(columns="present").to_dict("records")
    return [{str(key): _plain(value) for key, value in row.items()} for row in rows]


def against(predicted: Predicted, path: str) -> Other:
    """Another run on the same test samples, pattern by pattern.

    Args:
        predicted: Of this run.
        path: Of the other one.

    Raises:
        MamolError: It cannot be opened, or does not fit the tables.
    """
    other = Predicted.of(open_trained(predicted.trained.settings.changed(load_path=path), "report"))
    rows = score_patterns(other.probabilities, other.trained).set_index("present").to_dict("index")
    here = {frozenset(name.split("+")): name for name in predicted.samples}
    both = {here[parts]: name for name in other.samples if (parts := frozenset(name.split("+"))) in here}
    return {
        "name": Path(path).name,
        "method": other.trained.network.spec.label,
        "patterns": {mine: _against(predicted, other, mine, theirs, rows[theirs]) for mine, theirs in both.items()},
    }


def _against(predicted: Predicted, other: Predicted, mine: str, theirs: str, row: Mapping[Any, Any]) -> Against:
    index = np.intersect1d(predicted.samples[mine], other.samples[theirs])
    scores = {name: _number(row[name]) for name in predicted.trained.task.scores}
    if not predicted.single or not len(index):
        return {"n": len(index), "scores": scores, "difference": None, "interval": None, "p_value": None}
    label = predicted.trained.table.label[index]
    right = [each.said(name)[index].argmax(1) == label for each, name in ((predicted, mine), (other, theirs))]
    return {
        "n": len(index),
        "scores": scores,
        "difference": 100 * float(right[0].mean() - right[1].mean()),
        "interval": list(bootstrap(*right)),
        "p_value": mcnemar(*right),
    }


def chance(predicted: Predicted) -> float | None:
    """What guessing reaches in the task's main score, if that depends on the number of classes alone.

    Args:
        predicted: Of the run.
    """
    return chance_level(predicted.trained.task.selection, len(predicted.trained.classes))


def _number(value: Any) -> float | None:  # noqa: ANN401 - of a frame
    return None if value is None or np.isnan(value) else float(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 - of a frame
    return _number(value) if isinstance(value, float) else value
