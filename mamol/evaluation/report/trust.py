"""Whether confidence means something: reliability diagrams, risk against coverage, and what may be left undecided."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from mamol.core.calibration import ByPattern, Calibration, Curve
from mamol.evaluation.trust.fitting import curve_of
from mamol.evaluation.trust.scores import reliability, scores_of

RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Accepted ones that a reader can choose."""


class Bin(TypedDict):
    """Test samples of like confidence: how many, their mean confidence, and the share of them that is right."""

    n: int
    confidence: float
    accuracy: float


class Trust(TypedDict):
    """Of one pattern.

    Attributes:
        bins: Those of equal width that have samples.
        scores: ``ECE``, ``AURC`` and the others, in percent but for ``Brier`` and ``NLL``.
        coverage: Of the test samples, as far as they are decided; shares that ascend.
        risk: The share of wrong ones among them.
        accepted: For each of ``RISKS`` the least confidence that is decided; None where nothing is.
        decided: For each of ``RISKS`` the share of the test samples that is decided then.
        wrong: For each of ``RISKS`` the share of wrong ones among those; None without any.
    """

    bins: list[Bin]
    scores: dict[str, float]
    coverage: list[float]
    risk: list[float]
    accepted: list[float | None]
    decided: list[float]
    wrong: list[float | None]


def trust(
    probabilities: NDArray[np.float32], label: NDArray[np.int64], calibration: Calibration, pattern: str
) -> Trust:
    """Of some test samples.

    Args:
        probabilities: (n, K), n of at least 1, as ``evaluate`` has them.
        label: (n,) class numbers.
        calibration: Of the network; its thresholds come from the validation table. Without one they come from the test
            samples themselves.
        pattern: Under which they are.
    """
    confidence, right = probabilities.max(1), probabilities.argmax(1) == label
    curve = curve_of(confidence, right, np.ones(len(label)))
    least = [threshold_curve(calibration, pattern, curve).threshold(risk) for risk in RISKS]
    decided = [confidence >= each for each in least]
    return {
        "bins": [
            {"n": round(each.share * len(label)), "confidence": each.confidence, "accuracy": each.right}
            for each in reliability(probabilities, label)
        ],
        "scores": scores_of(probabilities, label),
        "coverage": list(curve.share),
        "risk": list(curve.risk),
        "accepted": [float(each) if np.isfinite(each) else None for each in least],
        "decided": [float(each.mean()) for each in decided],
        "wrong": [float(1 - right[each].mean()) if each.any() else None for each in decided],
    }


def threshold_curve(calibration: Calibration, pattern: str, own: Curve) -> Curve:
    """The curve that says from which confidence on pixels are decided.

    Args:
        calibration: Of the network.
        pattern: Of sensors.
        own: Of the test samples, for a network without a calibration.
    """
    return calibration.patterns.get(pattern, calibration.common).curve if isinstance(calibration, ByPattern) else own


def calibrated(calibration: Calibration) -> bool:
    """Whether there is a fitted one.

    Args:
        calibration: Of the network.
    """
    return isinstance(calibration, ByPattern)
