"""What is fitted on validation samples: temperatures, thresholds of sets, and how risk grows with the share."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from mamol.core.calibration import TINY, Curve
from mamol.evaluation.trust.said import Said, weight_of

SPREAD = 0.25
"""Standard deviation of the logarithm of a pattern's temperature around that of the common one, before any sample."""
WEAK = 1.0
"""The same of the common one around 1; it only keeps it finite where no sample is wrong."""
LIMITS = log(0.05), log(20)
"""Of the logarithm of a temperature."""
POINTS = 200
"""Of a curve at most."""


@dataclass(frozen=True)
class Temperatures:
    """The common one, and for each pattern what its samples alone would say, and what is used.

    Attributes:
        common: Of all patterns together.
        own: By pattern, from its samples alone.
        used: By pattern.
    """

    common: float
    own: dict[str, float]
    used: dict[str, float]


def temperatures(said: Sequence[Said]) -> Temperatures:
    """The temperatures that make the true classes most probable.

    The logarithm of a pattern's temperature is taken as drawn from a normal distribution around that of the common one,
    with standard deviation ``SPREAD``; what is used has the highest posterior density. A pattern with few units stays
    near the common one, and one with many goes where its samples say. Every unit counts as one observation.

    Args:
        said: Of each pattern.
    """
    common = _most_probable(said, 0.0, WEAK)
    own = {each.name: exp(_most_probable([each], 0.0, WEAK)) for each in said}
    used = {each.name: exp(_most_probable([each], common, SPREAD)) for each in said}
    return Temperatures(exp(common), own, used)


def _most_probable(said: Sequence[Said], centre: float, spread: float) -> float:
    """The logarithm of a temperature."""
    logits = np.concatenate([np.log(np.maximum(each.probabilities, TINY), dtype=np.float64) for each in said])
    label, weight = (np.concatenate([getattr(each, name) for each in said]) for name in ("label", "weight"))
    true = logits[np.arange(len(label)), label]

    def unlikely(value: float) -> float:
        cooled = logits / exp(value)
        most = cooled.max(1)
        entropy = most + np.log(np.exp(cooled - most[:, None]).sum(1)) - true / exp(value)
        return float(weight @ entropy) + ((value - centre) / spread) ** 2 / 2

    return float(minimize_scalar(unlikely, bounds=LIMITS, method="bounded").x)


def least_probabilities(
    true: NDArray[np.float32],
    label: NDArray[np.int64],
    unit: NDArray[np.int64],
    coverage: float,
    classes: int,
    *,
    by_class: bool,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """From which probability on a class is in a set, so that sets of new units hold the true class.

    Split conformal prediction with the true class's probability as score (LAC). A unit counts as one, and one more unit
    of which nothing is known is added: of B units the share of samples in sets, averaged over units, has to be
    ``coverage`` · (B + 1) / B. With units of one sample this is the usual quantile. Where B is too small for that, the
    share is ``coverage`` itself, without a guarantee.

    Args:
        true: (n,) calibrated probability of each sample's class.
        label: (n,).
        unit: (n,), numbers of units.
        coverage: Share of the samples.
        classes: K.
        by_class: Whether each class has a threshold of its own.

    Returns:
        Least probabilities (K,), 0 of a class without a sample, and (K,) whether there were enough units.
    """
    if not by_class:
        least, enough = _least(true, unit, coverage)
        return np.full(classes, least), np.full(classes, enough)
    found = [_least(true[label == k], unit[label == k], coverage) for k in range(classes)]
    return np.array([least for least, _ in found]), np.array([enough for _, enough in found])


def _least(true: NDArray[np.float32], unit: NDArray[np.int64], coverage: float) -> tuple[float, bool]:
    if not len(true):
        return 0.0, False
    weight = weight_of(unit)
    units = weight.sum()
    level = coverage * (units + 1) / units
    enough = bool(level <= 1)
    order = np.argsort(-true, kind="stable")
    held = np.cumsum(weight[order]) / units
    first = int(np.searchsorted(held, (level if enough else coverage) - 1e-9))
    return float(true[order[min(first, len(order) - 1)]]), enough


def curve_of(confidence: NDArray[np.float32], right: NDArray[np.bool_], weight: NDArray[np.float64]) -> Curve:
    """Risk among the most confident samples, at as many shares as are worth keeping.

    Args:
        confidence: (n,), probability of the predicted class.
        right: (n,), whether it is the true one.
        weight: (n,), what each counts.
    """
    _, share, risk, last = ranked(confidence, right, weight)
    if len(last) > POINTS:
        last = last[np.unique(np.searchsorted(share[last], np.linspace(share[last[0]], share[last[-1]], POINTS)))]
    ordered = np.sort(confidence)[::-1]
    kept = (values[last].astype(float).clip(0, 1).tolist() for values in (ordered, share, risk))
    return Curve(*map(tuple, kept))


def ranked(
    confidence: NDArray[np.float32], right: NDArray[np.bool_], weight: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Samples from the most confident one on, with the share of all and the risk up to each.

    Args:
        confidence: (n,).
        right: (n,).
        weight: (n,).

    Returns:
        Their order (n,), shares and risks (n,), and the places behind which confidence falls: equals go together.
    """
    order = np.argsort(-confidence, kind="stable")
    taken = np.cumsum(weight[order])
    risk = np.cumsum(weight[order] * ~right[order]) / taken
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True))
    return order, taken / taken[-1], risk, last
