"""McNemar's test and the paired bootstrap against brute force and scipy; refusals."""

from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mamol.core.errors import MamolError
from mamol.evaluation.predictions import read_predictions, write_predictions
from mamol.evaluation.statistics import bootstrap, compare, interval_text, mcnemar, mean_std, wilson

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def test_mean_and_standard_deviation_over_seeds() -> None:
    assert mean_std([1.0, 2.0, 4.0]) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1)))
    assert mean_std([5.0]) == (5.0, None)
    with pytest.raises(MamolError, match="run at least one seed"):
        mean_std([])


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from([0.05, 0.1]))
def test_wilson_is_scipy_s(n: int, share: float, level: float) -> None:
    right = round(share * n)
    expected = stats.binomtest(right, n).proportion_ci(1 - level, method="wilson")
    low, high = wilson(100 * right / n, n, level=level)
    assert (low, high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-6)


def test_the_interval_as_text() -> None:
    assert interval_text(50.0, 4) == "15.0-85.0"
    assert interval_text(100.0, 10) == "72.2-100.0"
    assert interval_text(None, 0) == "-"
    assert np.isnan(wilson([50.0, np.nan], [0, 5])).all()


@given(PAIRS)
def test_mcnemar_is_the_two_sided_sign_test_of_the_discordant_pairs(pairs: list[tuple[bool, bool]]) -> None:
    a, b = np.array(pairs).T
    only_a, only_b = sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)
    n, k = only_a + only_b, min(only_a, only_b)
    expected = min(1.0, 2 * sum(comb(n, i) for i in range(k + 1)) / 2**n)
    assert mcnemar(a, b) == pytest.approx(expected)
    assert mcnemar(a, b) == pytest.approx(mcnemar(b, a))


def test_bootstrap_of_three_samples_equals_all_resamples() -> None:
    a, b = np.array([True, True, False]), np.array([False, True, True])
    difference = a.astype(int) - b
    every = [100 * difference[list(drawn)].mean() for drawn in product(range(3), repeat=3)]
    low, high = bootstrap(a, b, level=0.2, resamples=200_000)
    assert (low, high) == pytest.approx(tuple(np.quantile(every, [0.1, 0.9])))


def test_bootstrap_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(400) < 0.85, rng.random(400) < 0.75
    theirs = stats.bootstrap(
        (100.0 * (a.astype(int) - b),), np.mean, method="percentile", n_resamples=4000, rng=rng
    ).confidence_interval
    assert bootstrap(a, b) == pytest.approx((theirs.low, theirs.high), abs=0.4)


@settings(deadline=None)
@given(PAIRS, st.integers(0, 5))
def test_bootstrap_is_seeded_ordered_and_antisymmetric_in_kind(pairs: list[tuple[bool, bool]], seed: int) -> None:
    a, b = np.array(pairs).T
    low, high = bootstrap(a, b, seed=seed, resamples=500)
    assert (low, high) == bootstrap(a, b, seed=seed, resamples=500)
    assert -100 <= low <= high <= 100
    if (a == b).all():
        assert (low, high) == (0, 0)


def changed(run: Path, path: Path, **columns: object) -> Path:
    """A copy of a run's predictions with other columns."""
    kept = read_predictions(run)
    write_predictions(path, kept.assign(**columns))
    return path


def test_compare_two_methods_on_the_same_samples(finished_run: Path, tmp_path: Path) -> None:
    label = read_predictions(finished_run)["label"]
    perfect = changed(finished_run, tmp_path / "perfect.parquet", prediction=label)
    same = compare(finished_run, finished_run)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert same.is_noise
    assert str(same).endswith("(noise)")
    better = compare(perfect, finished_run)
    assert better.n == 36
    assert better.oa_a == 100
    assert better.low <= better.difference <= better.high
    assert not better.is_noise
    assert "noise" not in str(better)
    one_wrong = label.where(label.index != 0, (label + 1) % 6)
    almost = changed(finished_run, tmp_path / "almost.parquet", prediction=one_wrong)
    assert compare(perfect, almost).is_noise, "one sample of 36"


def test_other_pixels_and_other_masks_are_refused(finished_run: Path, tmp_path: Path) -> None:
    kept = read_predictions(finished_run)
    moved = changed(finished_run, tmp_path / "moved.parquet", row=kept["row"] + 1)
    with pytest.raises(MamolError, match=r"of other test pixels \(synthetic, 36 samples; synthetic, 36\): test both"):
        compare(finished_run, moved)
    kept.attrs["fingerprint"] = "0"
    write_predictions(tmp_path / "drawn.parquet", kept)
    with pytest.raises(MamolError, match="of other test pixels"):
        compare(tmp_path / "drawn.parquet", finished_run)
    pattern = pd.Series(["hsi"] * 36)
    masked = changed(finished_run, tmp_path / "masked.parquet", pattern=pattern)
    with pytest.raises(
        MamolError, match=r"other missing modalities in \d+ of 36 samples: test both with the same seed"
    ):
        compare(finished_run, masked)
