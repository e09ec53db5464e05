"""Other runs beside the one of a page, on the same test samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.evaluation.grid import Drawn, score_patterns
from mamol.evaluation.report.intervals import Interval
from mamol.evaluation.report.predicted import Predicted
from mamol.evaluation.report.scores import number, rate_scores
from mamol.evaluation.statistics import bootstrap, mcnemar
from mamol.evaluation.trained import Trained, open_trained


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
        name: Its folder's; with those above it as far as they tell several apart.
        method: What was trained.
        patterns: By name; those that both runs have.
        rates: As ``scores.rate_scores``, with the same sensors missing of the same samples; None of other sensors.
    """

    name: str
    method: str
    patterns: dict[str, Against]
    rates: list[dict[str, Any]] | None


def open_other(settings: Settings, path: str) -> Trained:
    """Another run and the same tables.

    Args:
        settings: Of the command.
        path: One of ``compare``.

    Raises:
        MamolError: It cannot be opened, or does not fit the tables.
    """
    try:
        return open_trained(settings.changed(load_path=path), "report")
    except MamolError as error:
        raise MamolError(f"compare={path}: {error}") from error


def told_apart(paths: Sequence[str]) -> list[str]:
    """As few of the last parts of each path as tell all of them apart.

    Args:
        paths: Of folders.
    """
    parts = [Path(path).parts for path in paths]
    lengths = range(1, max(map(len, parts), default=0) + 1)
    names = [["/".join(each[-length:]) for each in parts] for length in lengths]
    return next((found for found in names if len(set(found)) == len(found)), list(paths))


def against(predicted: Predicted, path: str, name: str, masks: Drawn) -> Other:
    """Another run on the same test samples, pattern by pattern and rate by rate.

    Args:
        predicted: Of this run.
        path: Of the other one.
        name: What the page calls it.
        masks: Of this run, at every missing type and rate.

    Raises:
        MamolError: As of ``open_other``.
    """
    other = Predicted.of(open_other(predicted.trained.settings, path))
    rows = score_patterns(other.probabilities, other.trained).set_index("present").to_dict("index")
    here = {frozenset(name.split("+")): name for name in predicted.samples}
    both = {here[parts]: name for name in other.samples if (parts := frozenset(name.split("+"))) in here}
    return {
        "name": name,
        "method": other.trained.network.spec.label,
        "patterns": {mine: _against(predicted, other, mine, theirs, rows[theirs]) for mine, theirs in both.items()},
        "rates": _rates(other, predicted.trained.modalities, masks),
    }


def _against(predicted: Predicted, other: Predicted, mine: str, theirs: str, row: Mapping[Any, Any]) -> Against:
    index = np.intersect1d(predicted.samples[mine], other.samples[theirs])
    scores = {name: number(row[name]) for name in predicted.trained.task.scores}
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


def _rates(other: Predicted, modalities: Sequence[str], masks: Drawn) -> list[dict[str, Any]] | None:
    """Masks have a column for each modality of this run; the other one may have them in another order."""
    theirs = other.trained.modalities
    if set(theirs) != set(modalities):
        return None
    columns = [modalities.index(name) for name in theirs]
    return rate_scores(other, {key: mask[:, columns] for key, mask in masks.items()})
