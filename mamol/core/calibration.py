"""What is made of a network's probabilities before anybody sees them: by the sensors that were there.

A network has a ``calibration``. Whoever takes probabilities from it, a test, ``evaluate``, a map or the library, hands
them through; without a fitted one they come back as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mamol.core.names import pattern_name

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
TINY = np.finfo(np.float32).tiny
"""Smaller probabilities count as this one: their logarithm is finite."""


class Calibration:
    """The one of a network that was not calibrated: nothing is changed, and nothing more is known.

    Attributes:
        coverage: Share of the sets of classes that hold the true one; None: there are no sets.
        fingerprint: Of what it was fitted on; "" of none.
    """

    coverage: float | None = None
    fingerprint: str = ""

    def calibrated(self, probabilities: Floats, available: Flags) -> Floats:
        """Probabilities that mean what they say; the most probable class stays the same.

        Args:
            probabilities: (n, K), of the network; each row sums to one.
            available: (n, M), which modalities each had, in the network's order.
        """
        return probabilities

    def of_tensor(self, probabilities: Tensor, available: Tensor) -> Tensor:
        """The same of tensors.

        Args:
            probabilities: (n, K).
            available: (n, M).
        """
        return probabilities

    def sets(self, probabilities: Floats, available: Flags) -> Flags | None:
        """Which classes may be the true one, (n, K); the most probable one always. None: there are no sets.

        Args:
            probabilities: (n, K), calibrated.
            available: (n, M).
        """
        return None

    def decided(self, probabilities: Floats, available: Flags, risk: float) -> Flags:
        """Which are sure enough, (n,), for an accepted share of wrong ones among them.

        Args:
            probabilities: (n, K), calibrated.
            available: (n, M).
            risk: The accepted share.
        """
        return np.ones(len(probabilities), bool)


AS_IS = Calibration()


@dataclass(frozen=True)
class Curve:
    """How many are wrong among the most confident ones, on the samples of the calibration.

    Attributes:
        confidence: The least confidence that is accepted, descending.
        share: Of the samples that have it.
        risk: Share of them that are wrong.
    """

    confidence: tuple[float, ...]
    share: tuple[float, ...]
    risk: tuple[float, ...]

    def threshold(self, risk: float) -> float:
        """The least confidence of the largest share with at most this risk; infinite where there is none.

        Args:
            risk: The accepted share of wrong ones.
        """
        accepted = [own for own, wrong in zip(self.confidence, self.risk, strict=True) if wrong <= risk]
        return accepted[-1] if accepted else inf


@dataclass(frozen=True)
class PatternCalibration:
    """What is known under one missing pattern.

    Attributes:
        temperature: By which logits are divided.
        least: The calibrated probability from which each class is in a set, (K,); empty: there are no sets.
        curve: Risk against share.
    """

    temperature: float
    least: tuple[float, ...]
    curve: Curve


@dataclass(frozen=True)
class ByPattern(Calibration):
    """One for each missing pattern, and a common one for patterns that no sample of the calibration could be under.

    Attributes:
        modalities: Names in the network's order.
        common: Of all patterns together.
        patterns: By name.
    """

    modalities: tuple[str, ...]
    common: PatternCalibration
    patterns: Mapping[str, PatternCalibration]
    coverage: float | None = None
    fingerprint: str = ""
    _bits: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Patterns are told apart by a number."""
        object.__setattr__(self, "_bits", 2 ** np.arange(len(self.modalities)))

    def calibrated(self, probabilities: Floats, available: Flags) -> Floats:
        """Logits, which are logarithms of probabilities but for a constant, divided by the pattern's temperature."""
        temperature = np.ones(len(probabilities))
        for rows, known in self._known(available):
            temperature[rows] = known.temperature
        return tempered(probabilities, temperature)

    def of_tensor(self, probabilities: Tensor, available: Tensor) -> Tensor:
        """On the processor, as maps have it."""
        found = self.calibrated(probabilities.cpu().numpy(), available.cpu().numpy())
        return torch.from_numpy(found).to(probabilities.device)

    def sets(self, probabilities: Floats, available: Flags) -> Flags | None:
        """The classes that have at least the probability that the pattern asks for."""
        if self.coverage is None:
            return None
        least = np.empty(probabilities.shape)
        for rows, known in self._known(available):
            least[rows] = known.least
        return in_sets(probabilities, least)

    def decided(self, probabilities: Floats, available: Flags, risk: float) -> Flags:
        """Those with the confidence that the pattern asks for."""
        least = np.empty(len(probabilities))
        for rows, known in self._known(available):
            least[rows] = known.curve.threshold(risk)
        sure: Flags = probabilities.max(1) >= least
        return sure

    def _known(self, available: Flags) -> Sequence[tuple[NDArray[np.int64], PatternCalibration]]:
        """The rows of each pattern that occurs, and what is known under it."""
        codes = available @ self._bits
        found = []
        for code in np.unique(codes).tolist():
            name = pattern_name([bool(code & bit) for bit in self._bits.tolist()], self.modalities)
            found.append((np.flatnonzero(codes == code), self.patterns.get(name, self.common)))
        return found


def tempered(probabilities: Floats, temperature: float | NDArray[np.float64]) -> Floats:
    """Softmax of the logits divided by a temperature, from their softmax alone.

    Rounding may make two classes equal: the one that was ahead then stays ahead, by the last bit.

    Args:
        probabilities: (n, K).
        temperature: One, or (n,).
    """
    logits = np.log(np.maximum(probabilities, TINY), dtype=np.float64) / np.reshape(temperature, (-1, 1))
    said = np.exp(logits - logits.max(1, keepdims=True))
    found: Floats = (said / said.sum(1, keepdims=True)).astype(np.float32)
    ahead = probabilities.argmax(1)
    equal = np.flatnonzero(found.argmax(1) != ahead)
    found[equal, ahead[equal]] = np.nextafter(found[equal].max(1, initial=0), np.float32(2))
    return found


def in_sets(probabilities: Floats, least: NDArray[np.float64]) -> Flags:
    """Which classes are in the sets, (n, K): those that are probable enough, and the most probable one.

    Args:
        probabilities: (n, K), calibrated.
        least: From which probability on, (n, K) or (K,).
    """
    chosen = np.asarray(probabilities >= least)
    chosen[np.arange(len(chosen)), probabilities.argmax(1)] = True
    return chosen
