"""Scores against torchmetrics, per pattern, and on empty or degenerate tests."""

from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_cohen_kappa, multiclass_recall

from mamol.core.task import TASKS
from mamol.evaluation.statistics import wilson
from mamol.evaluation.text import as_text
from mamol.tasks.metrics import confusion, recall, scores

CLASSES = ["a", "b", "c", "d"]


def reported(seed: int = 0, n: int = 500) -> tuple[dict[str, Any], torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, 4, (n,), generator=generator)
    guess = torch.randint(0, 4, (n,), generator=generator)
    prediction = torch.where(torch.rand(n, generator=generator) < 0.6, label, guess)
    available = torch.rand(n, 2, generator=generator) < 0.7
    available[~available.any(1), 0] = True
    probabilities = torch.nn.functional.one_hot(prediction, 4).float()
    samples = (probabilities.numpy(), label.numpy(), available.numpy())
    return TASKS["classes"].report(*samples, ["hsi", "lidar"], CLASSES), prediction, label, available


def test_scores_equal_torchmetrics() -> None:
    result, prediction, label, _ = reported()
    assert result["n"] == 500
    assert result["OA"] == pytest.approx(100 * multiclass_accuracy(prediction, label, 4, "micro").item(), abs=1e-4)
    assert result["AA"] == pytest.approx(100 * multiclass_accuracy(prediction, label, 4, "macro").item(), abs=1e-4)
    assert result["kappa"] == pytest.approx(100 * multiclass_cohen_kappa(prediction, label, 4).item(), abs=1e-4)
    recall = multiclass_recall(prediction, label, 4, average="none")
    assert list(result["per_class"].values()) == pytest.approx([100 * r.item() for r in recall], abs=1e-4)


def test_patterns_are_told_apart() -> None:
    whole, prediction, label, available = reported(1)
    result = whole["per_pattern"]
    assert list(result) == ["hsi+lidar", "hsi", "lidar"]
    for name, present in {"hsi+lidar": (True, True), "hsi": (True, False), "lidar": (False, True)}.items():
        mine = (available == torch.tensor(present)).all(1)
        assert result[name]["n"] == int(mine.sum())
        assert result[name]["OA"] == pytest.approx(100 * (prediction == label)[mine].float().mean().item(), abs=1e-4)


def test_classes_that_do_not_occur_are_left_out_of_aa() -> None:
    matrix = confusion(np.array([0, 1, 0, 0]), np.zeros(4, int), 2)
    assert matrix.tolist() == [[3, 1], [0, 0]]
    assert scores(matrix)["AA"] == pytest.approx(75)
    assert recall(matrix) == [75.0, None]


def test_nothing_and_a_single_class_have_no_kappa() -> None:
    assert scores(np.zeros((2, 2), int)) == {"n": 0, "OA": None, "AA": None, "kappa": None}
    assert scores(np.array([[5, 0], [0, 0]])) == {"n": 5, "OA": 100.0, "AA": 100.0, "kappa": None}


def test_text_has_a_line_per_pattern() -> None:
    result = reported()[0]
    lines = as_text(result).splitlines()
    assert lines[0].split() == ["present", "samples", "OA", "%", "95", "%", "interval", "AA", "%", "kappa"]
    assert [line.split()[0] for line in lines[1:]] == ["all", "hsi+lidar", "hsi", "lidar"]
    assert f"{result['OA']:.2f}" in lines[1]
    for line, row in zip(lines[1:], [result, *result["per_pattern"].values()], strict=True):
        low, high = wilson(row["OA"], row["n"])
        assert line.split()[2:5] == [f"{row['OA']:.2f}", f"{low:.1f}-{high:.1f}", f"{row['AA']:.2f}"]
        assert len(line) == len(lines[0])


def test_text_of_scores_that_are_no_share_of_the_samples_has_no_interval() -> None:
    row = {"n": 4, "AUROC": 75.0, "accuracy": 50.0}
    empty = {"n": 0, "AUROC": None, "accuracy": None}
    head, *lines = as_text({**row, "per_pattern": {"image": row, "text": empty}}).splitlines()
    assert head.split() == ["present", "samples", "AUROC", "%", "accuracy", "%", "95", "%", "interval"]
    assert lines[1].split() == ["image", "4", "75.00", "50.00", "15.0-85.0"]
    assert lines[2].split() == ["text", "0", "-", "-", "-"]
    several = {"n": 4, "F1_macro": 75.0}
    assert "interval" not in as_text({**several, "per_pattern": {"image": several}})
