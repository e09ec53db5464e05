"""OA, AA, kappa; recall, intersection over union and F1 per class; all from a confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def confusion(prediction: NDArray[Any], label: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """The confusion matrix.

    Args:
        prediction: (n,) class numbers.
        label: (n,) class numbers.
        classes: K.

    Returns:
        (K, K) counts, rows are the truth.
    """
    return np.bincount(label * classes + prediction, minlength=classes**2).reshape(classes, classes)


def scores(matrix: NDArray[np.int64]) -> dict[str, float | int | None]:
    """Scores of one confusion matrix.

    Args:
        matrix: (K, K), rows are the truth.

    Returns:
        ``n``, and in percent ``OA`` (share of correct samples), ``AA`` (mean recall of the classes that occur) and
        ``kappa`` (Cohen's, ×100; None where chance alone would be perfect). None where there is no sample.
    """
    n = int(matrix.sum())
    if n == 0:
        return {"n": 0, "OA": None, "AA": None, "kappa": None}
    truth, predicted, right = matrix.sum(1), matrix.sum(0), np.diag(matrix)
    observed = right.sum() / n
    chance = float(truth @ predicted) / n**2
    occurs = truth > 0
    return {
        "n": n,
        "OA": 100 * float(observed),
        "AA": 100 * float((right[occurs] / truth[occurs]).mean()),
        "kappa": 100 * float((observed - chance) / (1 - chance)) if chance < 1 else None,
    }


def recall(matrix: NDArray[np.int64]) -> list[float | None]:
    """Recall of each class in percent, None where it does not occur.

    Args:
        matrix: (K, K), rows are the truth.
    """
    truth = matrix.sum(1)
    return [100 * float(matrix[k, k] / truth[k]) if truth[k] else None for k in range(len(matrix))]


def iou(matrix: NDArray[np.int64]) -> list[float | None]:
    """Intersection over union of each class in percent, None where it is neither true nor predicted.

    Args:
        matrix: (K, K), rows are the truth.
    """
    return _shares(np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix))


def f1(matrix: NDArray[np.int64]) -> list[float | None]:
    """F1 of each class in percent, None where it is neither true nor predicted.

    Args:
        matrix: (K, K), rows are the truth.
    """
    return _shares(2 * np.diag(matrix), matrix.sum(0) + matrix.sum(1))


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> list[float | None]:
    return [100 * float(a / b) if b else None for a, b in zip(part, whole, strict=True)]


def mean_of(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there; None without any.

    Args:
        values: Of each class.
    """
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None
