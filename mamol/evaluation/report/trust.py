"""Whether confidence means something: reliability diagrams, and risk against coverage."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

BINS = 10
MOST_POINTS = 200
"""Of a curve."""


class Bin(TypedDict):
    """Test samples of like confidence.

    Attributes:
        n: How many.
        confidence: Their mean confidence, 0-1.
        accuracy: The share of them that is right; both None where there are none.
    """

    n: int
    confidence: float | None
    accuracy: float | None


class Curve(TypedDict):
    """What is wrong among the most confident samples.

    Attributes:
        coverage: Share of the samples that is decided, ascending.
        risk: Share of those that is wrong.
        threshold: Their least confidence.
        area: The mean risk over all coverages (AURC).
    """

    coverage: list[float]
    risk: list[float]
    threshold: list[float]
    area: float


class Trust(TypedDict):
    """Of one pattern.

    Attributes:
        bins: Ten of equal width.
        ece: Expected calibration error over them, 0-1.
        curve: Risk against coverage.
    """

    bins: list[Bin]
    ece: float
    curve: Curve


def trust(probabilities: NDArray[np.float32], label: NDArray[np.integer]) -> Trust:
    """Of some test samples.

    Args:
        probabilities: (n, K), n of at least 1.
        label: (n,) class numbers.
    """
    confidence, right = probabilities.max(1).astype(float), probabilities.argmax(1) == label
    bins = reliability(confidence, right)
    gaps = [
        each["n"] * abs(each["confidence"] - each["accuracy"])
        for each in bins
        if each["confidence"] is not None and each["accuracy"] is not None
    ]
    return {"bins": bins, "ece": float(sum(gaps)) / len(label), "curve": risk_coverage(confidence, right)}


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[Bin]:
    """Confidence and accuracy in bins of equal width; a bin holds its upper end.

    Args:
        confidence: (n,) 0-1.
        right: (n,).
    """
    number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    found: list[Bin] = []
    for each in range(BINS):
        here = number == each
        there = bool(here.any())
        mean = float(confidence[here].mean()) if there else None
        found.append(
            {"n": int(here.sum()), "confidence": mean, "accuracy": float(right[here].mean()) if there else None}
        )
    return found


def risk_coverage(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Curve:
    """The share of mistakes among the most confident samples, for every number of them.

    Samples of equal confidence come together.

    Args:
        confidence: (n,) 0-1.
        right: (n,).
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_by, wrong = confidence[order], ~right[order]
    count = np.arange(1, len(order) + 1)
    risk = np.cumsum(wrong) / count
    ends = np.append(sorted_by[1:] != sorted_by[:-1], True)
    places = np.flatnonzero(ends)
    shown = places[np.unique(np.linspace(0, len(places) - 1, min(len(places), MOST_POINTS)).round().astype(int))]
    return {
        "coverage": (count[shown] / len(order)).tolist(),
        "risk": risk[shown].tolist(),
        "threshold": sorted_by[shown].tolist(),
        "area": float(risk.mean()),
    }
