"""Bootstrap intervals of all scores that come from a confusion matrix."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVELS = (2.5, 97.5)
Interval = list[float] | None


def redrawn(counts: NDArray[np.integer], *, seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Confusion matrices of test samples that are drawn anew.

    A resample of single pixels depends on how many of each pair of classes it has, and these numbers are multinomial.
    Of tiles, whole tiles are drawn.

    Args:
        counts: (K, K) of single pixels, or (n, K, K) of n tiles.
        seed: Of the draws.
        resamples: R, how many.

    Returns:
        (R, K, K).
    """
    rng = np.random.default_rng([seed, int(counts.sum())])
    if counts.ndim == 2:
        cells = counts.ravel()
        return (
            rng.multinomial(cells.sum(), cells / cells.sum(), resamples).reshape(resamples, *counts.shape).astype(float)
        )
    tiles = len(counts)
    times = rng.multinomial(tiles, np.full(tiles, 1 / tiles), resamples)
    return np.tensordot(times, counts.astype(float), 1)


def scores_of(matrices: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
    """The scores of many confusion matrices at once, in percent.

    Args:
        matrices: (R, K, K), rows are the truth.

    Returns:
        ``OA``, ``AA``, ``kappa`` and ``mIoU``, (R,) each; ``recall`` and ``iou``, (R, K); NaN where not defined.
    """
    total, truth, said = matrices.sum((1, 2)), matrices.sum(2), matrices.sum(1)
    right = np.diagonal(matrices, axis1=1, axis2=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        observed, chance = right.sum(1) / total, (truth * said).sum(1) / total**2
        recall, iou = right / truth, right / (truth + said - right)
        kappa = np.where(chance < 1, (observed - chance) / (1 - chance), np.nan)
    return {
        "OA": 100 * observed,
        "AA": 100 * _mean(recall),
        "kappa": 100 * kappa,
        "mIoU": 100 * _mean(iou),
        "recall": 100 * recall,
        "iou": 100 * iou,
    }


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    there = np.isfinite(values)
    return np.where(there, values, 0).sum(1) / np.maximum(there.sum(1), 1)


def interval(values: NDArray[np.float64]) -> Interval:
    """Where 95 % of the values lie.

    Args:
        values: (R,).

    Returns:
        Lower and upper end; None where no value is a number.
    """
    there = values[np.isfinite(values)]
    return [float(end) for end in np.percentile(there, LEVELS)] if len(there) else None
