"""What is fitted, on numbers from known distributions: temperatures, coverage, risk; and which samples are alike."""

from math import log

import numpy as np
import pytest
from scipy.stats import binom

from mamol.core.calibration import in_sets, tempered
from mamol.evaluation.trust.fitting import SPREAD, curve_of, least_probabilities, temperatures
from mamol.evaluation.trust.said import Said, weight_of
from mamol.evaluation.trust.scores import adaptive_error, area_under, reliability, scores_of, sets_scores, summed_up_to
from mamol.evaluation.trust.units import regions

Drawn = tuple[np.ndarray, np.ndarray]


def drawn(rng: np.random.Generator, n: int, temperature: float = 1.0, sharp: float = 2.0, classes: int = 5) -> Drawn:
    """Probabilities and labels such that this temperature makes them right."""
    logits = rng.normal(size=(n, classes)) * sharp
    right = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    label = (rng.random((n, 1)) > right.cumsum(1)).sum(1).clip(max=classes - 1)
    said = np.exp(logits * temperature)
    return (said / said.sum(1, keepdims=True)).astype(np.float32), label


def said(name: str, found: Drawn, unit: np.ndarray | None = None) -> Said:
    return Said(name, np.ones(1, bool), *found, np.arange(len(found[1])) if unit is None else unit)


def test_the_temperature_that_was_put_in_comes_out() -> None:
    rng = np.random.default_rng(0)
    found = temperatures([said("a", drawn(rng, 20_000, 3.0)), said("b", drawn(rng, 20_000, 0.6))])
    assert found.used == pytest.approx({"a": 3.0, "b": 0.6}, rel=0.03)
    assert 0.6 < found.common < 3.0


def test_a_pattern_with_few_samples_stays_near_the_common_temperature() -> None:
    """And one with as many samples as the others goes where they say; each unit counts as one observation."""
    rng = np.random.default_rng(1)
    many, few = drawn(rng, 20_000, 1.0), drawn(rng, 2000, 4.0)
    own = [said("many", many), said("few", (few[0][:10], few[1][:10]))]
    found = temperatures(own)
    assert abs(log(found.used["few"] / found.common)) < 0.6 * abs(log(found.own["few"] / found.common))
    alike = temperatures([said("many", many), said("few", few, np.arange(2000) // 200)])
    alone = temperatures([said("many", many), said("few", few)])
    assert alone.used["few"] == pytest.approx(4.0, rel=0.15)
    assert abs(log(alike.used["few"] / alike.common)) < 0.6 * abs(log(alone.used["few"] / alone.common))


def test_only_right_samples_leave_a_finite_temperature() -> None:
    certain = np.tile(np.array([0.9, 0.1], np.float32), (30, 1)), np.zeros(30, np.int64)
    found = temperatures([said("a", certain)])
    assert 0.05 < found.used["a"] < 1
    assert found.used["a"] / found.common == pytest.approx(1, abs=SPREAD)


def test_sets_of_new_samples_hold_the_true_class_as_often_as_they_should() -> None:
    """The mean over draws lies within four of its standard errors of the exact value, ceil((n + 1) c) / (n + 1)."""
    rng, n, tried, covers = np.random.default_rng(2), 99, 400, []
    for _ in range(tried):
        (known, label), (new, truth) = drawn(rng, n, 2.0), drawn(rng, 500, 2.0)
        true = known[np.arange(n), label]
        least, enough = least_probabilities(true, label, np.arange(n), 0.9, 5, by_class=False)
        assert enough.all()
        covers.append(np.mean(new[np.arange(500), truth] >= least[0]))
    # Of n = 99 the coverage has a beta distribution, with the standard deviation 0.03; 500 new samples add 0.013.
    assert np.mean(covers) == pytest.approx(0.9, abs=4 * np.hypot(0.03, 0.0135) / np.sqrt(tried))
    sets = in_sets(new, least)
    assert sets_scores(sets, truth)["covered"] >= 100 * covers[-1]


def test_each_class_reaches_the_coverage_by_itself() -> None:
    """One threshold for all leaves the class that is hard to see below it."""
    rng = np.random.default_rng(3)

    def uneven(n: int) -> Drawn:
        label = rng.integers(0, 2, n)
        true = np.where(label == 0, rng.beta(8, 1, n), rng.beta(2, 2, n))
        return np.where(label[:, None] == np.arange(2), true[:, None], 1 - true[:, None]).astype(np.float32), label

    (known, label), (new, truth) = uneven(4000), uneven(4000)
    true = known[np.arange(4000), label]
    hard = truth == 1
    for by_class in (False, True):
        least, _ = least_probabilities(true, label, np.arange(4000), 0.9, 2, by_class=by_class)
        held = new[np.arange(4000), truth] >= least[truth]
        low = binom.ppf(1e-4, hard.sum(), 0.9 - 0.02) / hard.sum()
        assert (held[hard].mean() >= low) == by_class


def test_units_of_alike_samples_count_as_one() -> None:
    """Where the samples of a unit are all alike, many of them say no more than one; coverage is that of new units."""
    rng, covers, naive = np.random.default_rng(4), [], []
    for _ in range(300):
        sizes = rng.choice([1, 40], 25)
        unit = np.repeat(np.arange(25), sizes)
        true = np.repeat(rng.random(25), sizes).astype(np.float32)
        least, enough = least_probabilities(true, np.zeros(len(true), int), unit, 0.9, 1, by_class=False)
        assert enough.all()
        covers.append(1 - least[0])  # a new unit's probability is even over 0-1
        naive.append(
            1 - least_probabilities(true, np.zeros(len(true), int), np.arange(len(true)), 0.9, 1, by_class=False)[0][0]
        )
    assert np.mean(covers) >= 0.9 - 4 * np.std(covers) / np.sqrt(300)
    assert np.mean(naive) < 0.9


def test_too_few_units_give_no_guarantee() -> None:
    true = np.linspace(0.1, 0.9, 8, dtype=np.float32)
    for coverage, wanted in ((0.9, False), (0.8, True)):
        _, enough = least_probabilities(true, np.zeros(8, int), np.arange(8), coverage, 2, by_class=False)
        assert enough.tolist() == [wanted, wanted]
    least, enough = least_probabilities(true, np.zeros(8, int), np.arange(8), 0.5, 2, by_class=True)
    assert (least[1], enough.tolist()) == (0.0, [True, False])


def test_the_risk_of_what_is_decided_is_the_one_accepted() -> None:
    rng = np.random.default_rng(5)
    (known, label), (new, truth) = drawn(rng, 5000), drawn(rng, 20_000)
    curve = curve_of(known.max(1), known.argmax(1) == label, np.ones(5000))
    assert len(curve.confidence) <= 200
    assert list(curve.confidence) == sorted(curve.confidence, reverse=True)
    assert curve.share[-1] == 1
    sure = new.max(1) >= curve.threshold(0.1)
    assert 0.2 < sure.mean() < 0.9
    assert np.mean(new[sure].argmax(1) != truth[sure]) == pytest.approx(0.1, abs=0.02)


def test_scores_of_probabilities_that_mean_what_they_say() -> None:
    """They have hardly any calibration error; too sharp ones have, and a temperature takes it away."""
    rng = np.random.default_rng(6)
    right, sharp = drawn(rng, 20_000), drawn(rng, 20_000, 3.0)
    good, bad = scores_of(*right), scores_of(*sharp)
    for name in ("ECE", "adaptive_ECE"):
        assert good[name] < 1.5
        assert bad[name] > 10
    mended = scores_of(tempered(sharp[0], 3.0), sharp[1])
    assert mended["ECE"] < 1.5
    assert mended["OA"] == bad["OA"]
    assert mended["NLL"] < bad["NLL"]
    assert mended["Brier"] < bad["Brier"]
    held = sets_scores(summed_up_to(right[0], 0.9), right[1])["covered"]
    assert 90 <= held <= 99


def test_scores_of_a_few_numbers_by_hand() -> None:
    said, label = np.array([[0.9, 0.1], [0.6, 0.4]], np.float32), np.array([0, 1])
    found = scores_of(said, label)
    assert found["OA"] == 50
    assert found["Brier"] == pytest.approx((0.02 + 0.72) / 2, abs=1e-6)
    assert found["NLL"] == pytest.approx(-(log(0.9) + log(0.4)) / 2, abs=1e-6)
    assert found["ECE"] == pytest.approx(100 * (0.1 + 0.6) / 2, abs=1e-4)
    assert found["AURC"] == pytest.approx(25)
    confidence, right = said.max(1), np.array([True, False])
    assert adaptive_error(confidence, right) == pytest.approx(0.35, abs=1e-6)
    assert area_under(np.array([0.5, 0.5], np.float32), right) == 0.5
    assert [(round(each.confidence, 3), each.right, each.share) for each in reliability(said, label)] == [
        (0.6, 0.0, 0.5),
        (0.9, 1.0, 0.5),
    ]


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_windows_that_share_pixels_are_one_region(size: int) -> None:
    """As said by looking at all pairs."""
    rng = np.random.default_rng(size)
    scene, rows, cols = rng.integers(0, 2, 60), rng.integers(0, 30, 60), rng.integers(0, 40, 60)
    found = regions(scene, rows, cols, size)
    near = (scene[:, None] == scene) & (abs(rows[:, None] - rows) < size) & (abs(cols[:, None] - cols) < size)
    linked = np.linalg.matrix_power(near.astype(float), 60) > 0
    assert np.array_equal(found[:, None] == found, linked)
    assert weight_of(found).sum() == pytest.approx(len(np.unique(found)))
