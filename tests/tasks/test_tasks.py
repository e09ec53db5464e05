"""Losses and scores of each task against plain formulas."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.task import TASKS
from mamol.evaluation.figures import figures_of

GENRES = ("Drama", "Comedy", "Western")
MODALITIES = ("image", "text")


def f1(tp: float, fp: float, fn: float) -> float:
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0


def counts(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int, int]:
    return int((predicted & truth).sum()), int((predicted & ~truth).sum()), int((~predicted & truth).sum())


def plain_f1(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> dict[str, float]:
    """The four kinds of F1 in percent as loops over genres and samples."""
    each = [f1(*counts(p, t)) for p, t in zip(predicted.T, truth.T, strict=True)]
    support = truth.sum(0)
    return {
        "F1_macro": 100 * sum(each) / len(each),
        "F1_micro": 100 * f1(*counts(predicted, truth)),
        "F1_samples": 100 * float(np.mean([f1(*counts(p, t)) for p, t in zip(predicted, truth, strict=True)])),
        "F1_weighted": 100 * float(each @ support / support.sum()) if support.sum() else 0.0,
    }


def plain_auroc(probability: NDArray[np.float32], label: NDArray[np.int64]) -> float:
    """Share of pairs of a positive and a negative sample that are in order, ties half, in percent."""
    pairs = [np.sign(p - q) for p in probability[label == 1] for q in probability[label == 0]]
    return 50 * (1 + float(np.mean(pairs)))


def drawn(seed: int, n: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], np.random.Generator]:
    """Probabilities in steps of 0.1, so that there are ties and some at the threshold; and which are present."""
    rng = np.random.default_rng(seed)
    present = rng.random((n, 2)) < 0.6
    present[~present.any(1), 0] = True
    return (rng.integers(0, 11, (n, k)) / 10).astype(np.float32), present, rng


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_f1_is_what_plain_formulas_say(seed: int, n: int) -> None:
    probabilities, present, rng = drawn(seed, n, 3)
    label = (rng.random((n, 3)) < 0.4).astype(np.int8)
    label[rng.random(n) < 0.2] = 0
    result = TASKS["genres"].report(probabilities, label, present, MODALITIES, GENRES)
    predicted, truth = probabilities > 0.5, label > 0
    everything = plain_f1(predicted, truth)
    assert {name: result[name] for name in everything} == pytest.approx(everything, abs=1e-4)
    each = [100 * f1(*counts(p, t)) for p, t in zip(predicted.T, truth.T, strict=True)]
    assert list(result["per_class"].values()) == pytest.approx(each, abs=1e-4)
    for name, row in {"image+text": (1, 1), "image": (1, 0), "text": (0, 1)}.items():
        mine = (present == row).all(1)
        assert (name in result["per_pattern"]) == mine.any()
        if mine.any():
            expected = {"n": mine.sum(), **plain_f1(predicted[mine], truth[mine])}
            assert result["per_pattern"][name] == pytest.approx(expected, abs=1e-4)
    assert "per_movie" not in result


def test_nothing_true_and_nothing_predicted_counts_zero() -> None:
    label = np.array([[0, 0, 0], [1, 0, 0]], np.int8)
    probabilities = np.array([[0.1, 0.2, 0.5], [0.9, 0.2, 0.1]], np.float32)
    result = TASKS["genres"].report(probabilities, label, np.ones((2, 2), bool), MODALITIES, GENRES)
    assert [result[name] for name in TASKS["genres"].scores] == pytest.approx([100 / 3, 100, 50, 100], abs=1e-4)
    assert result["per_class"] == {"Drama": 100.0, "Comedy": 0.0, "Western": 0.0}


def test_movies_with_several_plots_are_scored_once_by_their_mean_probability() -> None:
    probabilities = np.array([[0.9, 0.1, 0.1], [0.2, 0.1, 0.1], [0.9, 0.9, 0.1], [0.4, 0.1, 0.1]], np.float32)
    label = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0]], np.int8)
    present = np.ones((4, 2), bool)
    result = TASKS["genres"].report(probabilities, label, present, MODALITIES, GENRES, np.array([7, 7, 9, 7]))
    mean, truth = np.array([[0.5, 0.1, 0.1], [0.9, 0.9, 0.1]]), label[[0, 2]] > 0
    assert result["n"] == 4
    assert result["per_movie"] == pytest.approx({"n": 2, **plain_f1(mean > 0.5, truth)}, abs=1e-4)
    one_each = TASKS["genres"].report(probabilities, label, present, MODALITIES, GENRES, np.arange(4))
    assert one_each["per_movie"] == pytest.approx({name: one_each[name] for name in one_each["per_movie"]})


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 15))
def test_auroc_and_accuracy_are_what_plain_formulas_say(seed: int, n: int) -> None:
    probabilities, present, rng = drawn(seed, n, 2)
    probabilities[:, 0] = 1 - probabilities[:, 1]
    label = rng.integers(0, 2, n)
    result = TASKS["binary"].report(probabilities, label, present, MODALITIES, ("benign", "hateful"))
    assert result["accuracy"] == pytest.approx(100 * (probabilities.argmax(1) == label).mean(), abs=1e-4)
    for name, row in {"image+text": (1, 1), "image": (1, 0), "text": (0, 1)}.items():
        mine = (present == row).all(1)
        if mine.any():
            auroc = result["per_pattern"][name]["AUROC"]
            both = len(np.unique(label[mine])) == 2
            expected = plain_auroc(probabilities[mine, 1], label[mine]) if both else None
            assert auroc == pytest.approx(expected, abs=1e-4)


def test_auroc_of_one_class_is_unknown_and_has_no_curve() -> None:
    task, probabilities, label = TASKS["binary"], np.array([[0.4, 0.6], [0.8, 0.2]], np.float32), np.array([1, 1])
    result = task.report(probabilities, label, np.ones((2, 1), bool), ("text",), ("benign", "hateful"))
    assert (result["AUROC"], result["accuracy"]) == (None, 50.0)
    assert result["per_class"] == {"benign": None, "hateful": 50.0}
    assert list(figures_of(task, probabilities, label, ("benign", "hateful"), "t")) == ["confusion"]
    drawn = figures_of(task, probabilities, np.array([1, 0]), ("benign", "hateful"), "t")
    assert list(drawn) == ["confusion", "roc"]


LABELS: dict[str, Any] = {"classes": np.zeros(0, int), "genres": np.zeros((0, 3), np.int8), "binary": np.zeros(0, int)}


@pytest.mark.parametrize("name", LABELS)
def test_no_samples_have_no_scores(name: str) -> None:
    result = TASKS[name].report(np.zeros((0, 3), np.float32), LABELS[name], np.ones((0, 2), bool), MODALITIES, GENRES)
    assert {key: result[key] for key in TASKS[name].scores} == dict.fromkeys(TASKS[name].scores)
    assert (result["n"], result["per_pattern"], set(result["per_class"].values())) == (0, {}, {None})


def test_losses_and_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, generator=generator)
    one, many = torch.randint(0, 3, (6,), generator=generator), (torch.rand(6, 3, generator=generator) < 0.5).float()
    soft, sigmoid = logits.exp() / logits.exp().sum(1, keepdim=True), 1 / (1 + (-logits).exp())
    for name in ("classes", "binary"):
        assert TASKS[name].loss(logits, one).item() == pytest.approx(-soft[range(6), one].log().mean().item())
        assert torch.allclose(TASKS[name].probabilities(logits), soft)
    mean = -(many * sigmoid.log() + (1 - many) * (1 - sigmoid).log()).mean().item()
    assert TASKS["genres"].loss(logits, many).item() == pytest.approx(mean, rel=1e-5)
    assert torch.allclose(TASKS["genres"].probabilities(logits), sigmoid)
    assert TASKS["genres"].probabilities(logits.bfloat16()).dtype == torch.float32


def test_what_picks_the_best_checkpoint() -> None:
    assert {name: task.selection for name, task in TASKS.items()} == {
        "classes": "OA",
        "genres": "F1_macro",
        "binary": "AUROC",
        "segmentation": "mIoU",
    }


def test_with_class() -> None:
    assert TASKS["classes"].with_class(np.array([2, 0, 2]), 2).tolist() == [True, False, True]
    assert TASKS["genres"].with_class(np.array([[0, 1], [1, 1], [1, 0]]), 1).tolist() == [True, True, False]


def test_a_balanced_loss_weighs_classes_alike() -> None:
    """A class with a tenth of the samples weighs ten times as much; the shared task stays as it was."""
    task, logits, label = TASKS.find("classes"), torch.randn(6, 2), torch.tensor([0, 0, 0, 0, 0, 1])
    each = torch.nn.functional.cross_entropy(logits, label, reduction="none")
    weights = torch.where(label == 1, 10.0, 1.0)
    torch.testing.assert_close(task.balanced([1000, 100]).loss(logits, label), (each * weights).sum() / weights.sum())
    torch.testing.assert_close(task.loss(logits, label), each.mean())
    with pytest.raises(MamolError, match="class_weight=balanced: is for tables with one class per sample"):
        TASKS.find("genres").balanced([3, 4])
