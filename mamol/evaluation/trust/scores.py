"""How good probabilities are: calibration errors, Brier score, likelihood, risk against share, coverage of sets."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mamol.core.calibration import TINY
from mamol.evaluation.trust.fitting import ranked

BINS = 15
"""Of both calibration errors and of the reliability diagrams."""


@dataclass(frozen=True)
class Bin:
    """Samples of a reliability diagram.

    Attributes:
        confidence: Mean.
        right: Share of right ones.
        share: Of all samples.
    """

    confidence: float
    right: float
    share: float


def scores_of(probabilities: NDArray[np.float32], label: NDArray[np.int64]) -> dict[str, float]:
    """Scores of at least one sample; ``Brier`` is the sum over classes, 0 to 2, ``NLL`` in nats, others in percent.

    ``ECE`` is torchmetrics' with 15 bins of equal width, ``adaptive_ECE`` has bins of equal numbers of samples.
    ``AURC`` is the mean, over all shares of the most confident samples, of the share of wrong ones among them.

    Args:
        probabilities: (n, K).
        label: (n,).
    """
    from torchmetrics.functional.classification import multiclass_calibration_error  # takes seconds

    rows = np.arange(len(label))
    confidence, right = probabilities.max(1), probabilities.argmax(1) == label
    hot = np.zeros_like(probabilities)
    hot[rows, label] = 1
    error = multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(label), probabilities.shape[1], n_bins=BINS, norm="l1"
    )
    return {
        "OA": 100 * float(right.mean()),
        "ECE": 100 * float(error),
        "adaptive_ECE": 100 * adaptive_error(confidence, right),
        "Brier": float(((probabilities - hot) ** 2).sum(1, dtype=np.float64).mean()),
        "NLL": float(-np.log(np.maximum(probabilities[rows, label], TINY), dtype=np.float64).mean()),
        "AURC": 100 * area_under(confidence, right),
    }


def adaptive_error(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Mean difference of confidence and share of right ones over ``BINS`` bins with as many samples each.

    Args:
        confidence: (n,).
        right: (n,).
    """
    bins = [each for each in np.array_split(np.argsort(confidence, kind="stable"), BINS) if len(each)]
    apart = [len(each) * abs(float(confidence[each].mean(dtype=float)) - float(right[each].mean())) for each in bins]
    return sum(apart) / len(confidence)


def area_under(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> float:
    """Area under the curve of risk against share; samples of equal confidence are accepted together.

    Args:
        confidence: (n,).
        right: (n,).
    """
    _, _, risk, last = ranked(confidence, right, np.ones(len(confidence)))
    return float(np.repeat(risk[last], np.diff(last, prepend=-1)).mean())


def reliability(probabilities: NDArray[np.float32], label: NDArray[np.int64]) -> list[Bin]:
    """The bins of a reliability diagram that have samples, of equal width.

    Args:
        probabilities: (n, K).
        label: (n,).
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == label
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        Bin(float(confidence[own].mean(dtype=float)), float(right[own].mean()), float(own.mean()))
        for k in range(BINS)
        if (own := place == k).any()
    ]


def sets_scores(chosen: NDArray[np.bool_], label: NDArray[np.int64]) -> dict[str, float]:
    """How many sets hold the true class and how many have one class, in percent, and how many classes they have.

    Args:
        chosen: (n, K).
        label: (n,).
    """
    size = chosen.sum(1)
    return {
        "covered": 100 * float(chosen[np.arange(len(label)), label].mean()),
        "set_size": float(size.mean()),
        "single": 100 * float((size == 1).mean()),
    }


def summed_up_to(probabilities: NDArray[np.float32], coverage: float) -> NDArray[np.bool_]:
    """The sets that take probabilities at their word: the most probable classes that together have so much.

    Args:
        probabilities: (n, K).
        coverage: How much.
    """
    order = np.argsort(-probabilities, 1, kind="stable")
    before = np.cumsum(np.take_along_axis(probabilities, order, 1), 1) - np.take_along_axis(probabilities, order, 1)
    chosen = np.zeros(probabilities.shape, bool)
    np.put_along_axis(chosen, order, before < coverage, 1)
    return chosen
