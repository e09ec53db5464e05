"""OA, AA, kappa and recall per class from a confusion matrix."""

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
