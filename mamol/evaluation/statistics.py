"""What a result and a difference between results are worth.

One test has the interval that its samples leave, seeds have a spread, two methods a paired test on the same samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas.api.types import is_integer_dtype

from mamol.core.errors import MamolError
from mamol.evaluation.predictions import KEYS, read_predictions

SHARES = ("OA", "accuracy")
"""Scores that are a share of the samples, in percent; they have an interval by themselves."""
LEVEL = 0.05  # a difference that chance gives more often than this is noise
RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """Method ``a`` against method ``b`` on the same n test samples with the same missing modalities.

    Attributes:
        n: Test samples.
        oa_a: OA of a in percent.
        oa_b: OA of b in percent.
        low: Lower end of the bootstrap's 95 % interval of ``difference``.
        high: Upper end.
        p_value: Of McNemar's exact test, two-sided.
    """

    n: int
    oa_a: float
    oa_b: float
    low: float
    high: float
    p_value: float

    @property
    def difference(self) -> float:
        """OA of a less OA of b, in percentage points."""
        return self.oa_a - self.oa_b

    @property
    def is_noise(self) -> bool:
        """Whether chance alone gives such a difference in more than 5 % of tests of this size."""
        return self.p_value > LEVEL

    def __str__(self) -> str:
        """For people, marked where the difference is noise."""
        text = f"{self.difference:+.2f} points [{self.low:+.2f}, {self.high:+.2f}], p = {self.p_value:.3g}"
        return f"{text} (noise)" if self.is_noise else text


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1) over seeds; the latter is None for a single seed.

    Args:
        values: One number per seed, at least one.

    Raises:
        MamolError: No values.
    """
    if not len(values):
        raise MamolError("mean and standard deviation of no results: run at least one seed")
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def wilson(
    percent: ArrayLike, n: ArrayLike, *, level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's score interval of a share of samples, element by element.

    It takes the samples as drawn independently; it does not know of seeds, nor that neighbouring pixels are alike.

    Args:
        percent: How many of the samples are right, in percent.
        n: Samples.
        level: The interval holds the share ``1 - level``.

    Returns:
        Lower and upper end in percent; NaN where there is no sample.
    """
    from scipy.stats import norm  # takes a second, and maps, which share these modules, do without

    share, count = np.asarray(percent, float) / 100, np.asarray(n, float)
    z = float(norm.ppf(1 - level / 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
        half = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return 100 * (middle - half), 100 * (middle + half)


def interval_text(percent: float | None, n: int) -> str:
    """Wilson's 95 % interval for tables.

    Args:
        percent: Of ``wilson``; None without a sample.
        n: Samples.
    """
    if percent is None or not n:
        return "-"
    low, high = wilson(percent, n)
    return f"{low:.1f}-{high:.1f}"


def chance_level(score: str, classes: int) -> float | None:
    """What guessing reaches, in percent: every class as often as any other.

    Args:
        score: Its name.
        classes: K.

    Returns:
        None where it depends on more than the number of classes.
    """
    return 100 / classes if score in SHARES else {"AUROC": 50.0}.get(score)


def mcnemar(right_a: ArrayLike, right_b: ArrayLike) -> float:
    """McNemar's exact test: the samples on which only one of two methods is right, against a fair coin.

    Args:
        right_a: (n,) bool, where a is right.
        right_b: (n,) bool, where b is right.

    Returns:
        Two-sided p-value; 1 where both are right on the same samples.
    """
    from scipy.stats import binomtest

    only_a, only_b = _discordant(right_a, right_b)
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def bootstrap(
    right_a: ArrayLike, right_b: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> tuple[float, float]:
    """Percentile interval of the OA difference when the test samples are drawn anew, in pairs.

    A resample's difference depends only on how many samples of each kind (only a right, only b right, other) it has,
    and these numbers are multinomial: drawing them directly is the same bootstrap.

    Args:
        right_a: (n,) bool, where a is right.
        right_b: (n,) bool, where b is right.
        seed: Of the generator.
        resamples: How many.
        level: The interval holds the share ``1 - level``.

    Returns:
        Lower and upper end, in percentage points.
    """
    only_a, only_b = _discordant(right_a, right_b)
    n = np.size(right_a)
    rng = np.random.default_rng([seed, n])
    drawn = rng.multinomial(n, np.array([only_a, only_b, n - only_a - only_b]) / n, size=resamples)
    low, high = np.quantile(100 * (drawn[:, 0] - drawn[:, 1]) / n, [level / 2, 1 - level / 2])
    return float(low), float(high)


def compare(a: Path | str, b: Path | str, *, seed: int = 0) -> Comparison:
    """Compares two tests sample by sample.

    Args:
        a: ``predictions.parquet`` of one method, or its run folder.
        b: The same of the other method.
        seed: Of the bootstrap.

    Returns:
        The comparison.

    Raises:
        MamolError: A file cannot be read, its samples may have several classes, or the two files differ in their test
            samples or in what is missing of them.
    """
    first, second = read_predictions(a), read_predictions(b)
    for name, kept in ((a, first), (b, second)):
        if not is_integer_dtype(kept["label"]):
            raise MamolError(
                f"{name}: its samples have any number of classes, and only predictions with one class per sample are "
                "compared sample by sample (pixels of one tile are alike); compare the scores of several seeds"
            )
    here = ["index", *first.attrs.get("keys", KEYS), "label"]
    if first.attrs["fingerprint"] != second.attrs["fingerprint"] or not first[here].equals(second[here]):
        raise MamolError(
            f"{a} and {b} are of other test pixels ({first.attrs['dataset']}, {len(first)} samples; "
            f"{second.attrs['dataset']}, {len(second)}): test both methods with the same data_root"
        )
    differing = int((first["pattern"] != second["pattern"]).sum())
    if differing:
        raise MamolError(
            f"{a} and {b} have other missing modalities in {differing} of {len(first)} samples: "
            "test both with the same seed, test_ratio, test_type and modalities"
        )
    right_a, right_b = ((kept["prediction"] == kept["label"]).to_numpy() for kept in (first, second))
    low, high = bootstrap(right_a, right_b, seed=seed)
    return Comparison(
        len(first), 100 * float(right_a.mean()), 100 * float(right_b.mean()), low, high, mcnemar(right_a, right_b)
    )


def _discordant(right_a: ArrayLike, right_b: ArrayLike) -> tuple[int, int]:
    """On how many samples only a, and only b, is right."""
    a: NDArray[np.bool_] = np.asarray(right_a, bool)
    b: NDArray[np.bool_] = np.asarray(right_b, bool)
    return int((a & ~b).sum()), int((b & ~a).sum())
