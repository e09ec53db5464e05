"""What probabilities go through: no class changes, patterns are told apart, one without anything changes nothing."""

from math import inf

import numpy as np
import pytest
import torch

from mamol.core.calibration import AS_IS, ByPattern, Curve, PatternCalibration, in_sets, tempered

NOTHING = Curve((), (), ())


def softmax(logits: np.ndarray) -> np.ndarray:
    said = np.exp(logits - logits.max(1, keepdims=True))
    return (said / said.sum(1, keepdims=True)).astype(np.float32)


def one(temperature: float, least: tuple[float, ...] = (), curve: Curve = NOTHING) -> PatternCalibration:
    return PatternCalibration(temperature, least, curve)


@pytest.mark.parametrize("temperature", [0.05, 0.7, 1.0, 3.0, 20.0])
def test_no_temperature_changes_a_class(temperature: float) -> None:
    """Not even where rounding makes two classes equal: of neighbours the one that was ahead stays ahead."""
    rng = np.random.default_rng(0)
    said = softmax(rng.normal(size=(20_000, 7)) * rng.choice([0.01, 1, 30], (20_000, 1)))
    close = np.full((1000, 2), 0.5, np.float32)
    close[:, 1] = np.nextafter(np.float32(0.5), np.float32(1))
    for probabilities in (said, close):
        found = tempered(probabilities, temperature)
        assert (found.argmax(1) == probabilities.argmax(1)).all()
        assert found.sum(1) == pytest.approx(1, abs=1e-5)
        assert found.dtype == np.float32


def test_it_is_the_softmax_of_divided_logits() -> None:
    logits = np.random.default_rng(1).normal(size=(50, 4)) * 3
    assert tempered(softmax(logits), 2.5) == pytest.approx(softmax(logits / 2.5), abs=1e-6)


def test_what_is_no_number_stays_none() -> None:
    """So that whoever looks for such outputs finds them."""
    assert np.isnan(tempered(np.array([[np.nan, 0.5]], np.float32), 2.0)).all()


def test_without_a_calibration_nothing_is_touched() -> None:
    said, there = np.array([[0.25, 0.75]], np.float32), np.ones((1, 2), bool)
    assert AS_IS.calibrated(said, there) is said
    tensor = torch.from_numpy(said)
    assert AS_IS.of_tensor(tensor, torch.from_numpy(there)) is tensor
    assert AS_IS.sets(said, there) is None
    assert AS_IS.decided(said, there, 0.01).all()


def test_every_sample_has_what_its_own_pattern_says() -> None:
    """And one under a pattern of which nothing is known what all say together."""
    curve = Curve((0.9, 0.6, 0.5), (0.2, 0.5, 1.0), (0.0, 0.1, 0.05))
    known = {"hsi": one(1.0, (0.3, 0.3), curve), "hsi+lidar": one(2.0, (0.6, 0.1), NOTHING)}
    made = ByPattern(("hsi", "lidar"), one(0.5, (0.0, 0.0), curve), known, coverage=0.9)
    said = np.array([[0.7, 0.3]] * 3, np.float32)
    available = np.array([[True, False], [True, True], [False, True]])
    found = made.calibrated(said, available)
    for row, temperature in zip(found, (1.0, 2.0, 0.5), strict=True):
        assert row == pytest.approx(tempered(said[:1], temperature)[0])
    of_tensor = made.of_tensor(torch.from_numpy(said), torch.from_numpy(available))
    assert np.array_equal(of_tensor.numpy(), found)
    sets = made.sets(said, available)
    assert sets is not None
    assert sets.tolist() == [[True, True], [True, True], [True, True]]
    assert made.decided(said, available, 0.05).tolist() == [True, False, True]
    assert made.decided(said, available, 0.01).tolist() == [False, False, False]


def test_a_set_has_the_most_probable_class_whatever_is_asked_for() -> None:
    assert in_sets(np.array([[0.2, 0.8]], np.float32), np.array([0.1, 0.9])).tolist() == [[True, True]]
    assert in_sets(np.array([[0.2, 0.8]], np.float32), np.array([0.9, 0.9])).tolist() == [[False, True]]


def test_the_largest_share_is_taken_at_a_risk() -> None:
    """Though the risk was higher on the way there."""
    curve = Curve((0.9, 0.6, 0.5), (0.2, 0.5, 1.0), (0.02, 0.1, 0.05))
    assert [curve.threshold(risk) for risk in (0.01, 0.02, 0.05, 0.5)] == [inf, 0.9, 0.5, 0.5]
