"""OA, AA, kappa and recall per class, overall and per missing pattern; counts add up over any number of ranks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from mamol.data.missing import pattern_name


class PatternConfusion(Metric):
    """One confusion matrix per missing pattern; torchmetrics adds them up over ranks.

    Attributes:
        counts: (2^M, K, K), pattern number (bit i set where modality i is present), truth, prediction.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, modalities: int, classes: int) -> None:
        """Starts with zeros for M modalities and K classes."""
        super().__init__()
        self.classes = classes
        self.patterns = 2**modalities
        self.add_state("counts", torch.zeros(self.patterns, classes, classes, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, label: Tensor, available: Tensor) -> None:
        """Counts a batch.

        Args:
            prediction: (B,) class numbers.
            label: (B,) class numbers.
            available: (B, M) bool.
        """
        bits = 2 ** torch.arange(available.shape[1], device=available.device)
        cell = ((available * bits).sum(1) * self.classes + label) * self.classes + prediction
        self.counts += torch.bincount(cell, minlength=self.counts.numel()).view_as(self.counts)

    def compute(self) -> Tensor:
        """The counts, (2^M, K, K)."""
        return self.counts


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


def report(counts: NDArray[np.int64], modalities: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """All scores of a test.

    Args:
        counts: (2^M, K, K) of ``PatternConfusion``.
        modalities: Names, M of them.
        classes: Names, K of them.

    Returns:
        ``n``, ``OA``, ``AA``, ``kappa``, ``per_class`` (name to recall in percent, None where the class does not
        occur) and ``per_pattern`` (pattern to n, OA, AA, kappa), most complete pattern first.
    """
    total = counts.sum(0)
    truth = total.sum(1)
    per_class = {name: 100 * float(total[k, k] / truth[k]) if truth[k] else None for k, name in enumerate(classes)}
    codes = sorted(np.flatnonzero(counts.sum((1, 2))), key=lambda code: (-int(code).bit_count(), int(code)))
    per_pattern = {
        pattern_name([bool(code >> i & 1) for i in range(len(modalities))], modalities): scores(counts[code])
        for code in codes
    }
    return {**scores(total), "per_class": per_class, "per_pattern": per_pattern}


def as_text(result: dict[str, Any]) -> str:
    """The scores as a table for people: one line for all samples and one per missing pattern."""
    rows = [("all", result), *result["per_pattern"].items()]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'present':<{width}}  {'samples':>7}  {'OA %':>6}  {'AA %':>6}  {'kappa':>6}"]
    lines += [
        f"{name:<{width}}  {row['n']:>7}  " + "  ".join(_cell(row[key]) for key in ("OA", "AA", "kappa"))
        for name, row in rows
    ]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return f"{'-' if value is None else format(value, '.2f'):>6}"
