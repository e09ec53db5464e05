"""Losses and scores of tiles against plain formulas over all labelled pixels."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.core.predictions import KeptPredictions
from mamol.core.task import TASKS, UNLABELLED
from mamol.evaluation.figures import figures_of
from mamol.evaluation.text import INTERVAL, as_text
from mamol.tasks.segmentation import Segmentation
from mamol.tasks.single_label import dice_loss

CLASSES = ("water", "crop", "tree", "road")
K, P = len(CLASSES), 5


def drawn(seed: int, tiles: int = 4, classes: int = K) -> tuple[Tensor, Tensor]:
    """Logits (B, P, P, K) and labels of them, a third without."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(tiles, P, P, K, generator=generator)
    label = torch.randint(0, classes, (tiles, P, P), generator=generator)
    return logits, label.where(torch.rand(tiles, P, P, generator=generator) < 0.7, UNLABELLED)


def plain(said: NDArray[Any], truth: NDArray[Any]) -> dict[str, Any]:
    """Every score by loops over all labelled pixels of all tiles, (n,) each."""
    ious, f1s, recalls, chance = [], [], [], 0.0
    for k in range(K):
        both, either = int(((said == k) & (truth == k)).sum()), int(((said == k) | (truth == k)).sum())
        sides = int((said == k).sum()), int((truth == k).sum())
        ious.append(100 * both / either if either else None)
        f1s.append(100 * 2 * both / sum(sides) if either else None)
        recalls += [100 * both / sides[1]] if sides[1] else []
        chance += sides[0] * sides[1] / len(truth) ** 2
    right = float((said == truth).mean())
    return {
        "mIoU": np.mean([value for value in ious if value is not None]),
        "OA": 100 * right,
        "AA": np.mean(recalls),
        "kappa": 100 * (right - chance) / (1 - chance),
        "per_class": dict(zip(CLASSES, ious, strict=True)),
        "per_class_f1": dict(zip(CLASSES, f1s, strict=True)),
        "pixels": len(truth),
    }


def report(kept: Tensor, label: Tensor, present: NDArray[np.bool_]) -> dict[str, Any]:
    return TASKS["segmentation"].report(kept.numpy(), label.numpy(), present, ("hsi", "sar"), CLASSES)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, K))
def test_scores_are_those_of_all_labelled_pixels(seed: int, classes: int) -> None:
    """Of all tiles and under each pattern; classes that occur nowhere have none and count in no mean."""
    logits, label = drawn(seed, classes=classes)
    logits[..., classes:] -= 100
    present = np.array([[True, True], [True, False], [True, True], [True, False]])
    found = report(TASKS["segmentation"].kept(logits, label), label, present)

    def flat(tiles: list[int]) -> tuple[NDArray[Any], NDArray[Any]]:
        known = label[tiles] != UNLABELLED
        return logits[tiles].argmax(-1)[known].numpy(), label[tiles][known].numpy()

    expected = plain(*flat([0, 1, 2, 3]))
    assert {name: found[name] for name in expected} == {name: pytest.approx(value) for name, value in expected.items()}
    assert found["n"] == 4
    for name, tiles in {"hsi+sar": [0, 2], "hsi": [1, 3]}.items():
        row, rule = found["per_pattern"][name], plain(*flat(tiles))
        assert row == {"n": 2} | {score: pytest.approx(rule[score]) for score in ("mIoU", "OA", "AA", "kappa")}
    assert found["per_class"].keys() == set(CLASSES)
    assert sum(value is None for value in found["per_class"].values()) >= K - classes


def test_the_interval_is_that_of_tiles_drawn_anew() -> None:
    task = Segmentation()
    logits, label = drawn(0, tiles=6)
    logits = logits + 3 * torch.nn.functional.one_hot(label.clamp(min=0), K)
    kept = task.kept(logits, label).numpy()
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, 6, 6) for _ in range(2000)]
    plainly = [task.scored(kept[draw], label.numpy()[draw])["mIoU"] for draw in draws]
    low, high = task.interval(kept) or (0.0, 0.0)
    assert [low, high] == pytest.approx(np.percentile(plainly, [2.5, 97.5]), abs=1.0)
    assert task.interval(kept[:1]) is None
    assert task.interval(np.stack([kept[0], 0 * kept[0]])) is None, "tiles without labels say nothing"


def test_tiles_without_labels_have_no_scores() -> None:
    label = torch.full((2, P, P), UNLABELLED)
    logits, _ = drawn(0, tiles=2)
    found = report(TASKS["segmentation"].kept(logits, label), label, np.ones((2, 2), bool))
    assert [found[name] for name in ("n", "mIoU", "OA", "AA", "kappa", "mIoU_interval")] == [2, *[None] * 5]
    loss = TASKS["segmentation"].with_loss("ce+dice").loss(logits.requires_grad_(), label)
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@given(seed=st.integers(0, 10**6))
@settings(deadline=None, max_examples=30)
def test_dice_is_its_equation(seed: int) -> None:
    """1 - mean over the classes that are labelled of 2 Σ p y / (Σ p + Σ y), over labelled pixels."""
    logits, label = drawn(seed, classes=3)
    pixels = [(logits[i].softmax(-1).numpy(), int(label[i])) for i in np.ndindex(*label.shape) if label[i] >= 0]
    terms = []
    for k in sorted({y for _, y in pixels}):
        both = sum(p[k] for p, y in pixels if y == k)
        terms.append(2 * both / (sum(p[k] for p, _ in pixels) + sum(y == k for _, y in pixels)))
    expected = 1 - np.mean(terms)
    assert float(dice_loss(logits.flatten(0, -2), label.flatten())) == pytest.approx(expected, rel=1e-5)
    for name in ("segmentation", "classes"):
        task = TASKS[name]
        added = task.with_loss("ce+dice").loss(logits, label) - task.with_loss("ce").loss(logits, label)
        assert float(added) == pytest.approx(expected, rel=1e-4)


def test_dice_goes_with_weights_and_leaves_the_task_as_it_was() -> None:
    logits, label = drawn(0)
    task = TASKS["segmentation"]
    weighted = task.balanced([8, 4, 2, 1])
    both = task.with_loss("ce+dice").balanced([8, 4, 2, 1])
    dice = dice_loss(logits.flatten(0, -2), label.flatten())
    torch.testing.assert_close(both.loss(logits, label), weighted.loss(logits, label) + dice)
    assert not task.dice  # type: ignore[attr-defined]
    assert task.weight is None  # type: ignore[attr-defined]
    perfect = 100.0 * torch.nn.functional.one_hot(label.clamp(min=0), K)
    assert float(dice_loss(perfect.flatten(0, -2), label.flatten())) == pytest.approx(0, abs=1e-6)
    with pytest.raises(MamolError, match=r"loss=ce\+dice: is for tables with one class per pixel or sample; use"):
        TASKS["genres"].with_loss("ce+dice")


def test_an_output_that_is_no_number_is_not_scored() -> None:
    """It stays none among the counts, so that whoever keeps them can refuse it."""
    logits, label = drawn(0)
    logits[2, 0, 0, 0] = torch.nan
    kept = TASKS["segmentation"].kept(logits, label)
    assert kept.isnan().flatten(1).any(1).tolist() == [False, False, True, False]


def test_what_is_kept_of_a_tile_and_what_tables_show() -> None:
    task = TASKS["segmentation"]
    logits, label = drawn(1)
    metric = task.metric(6, K)
    assert isinstance(metric, KeptPredictions)
    metric.update(torch.tensor([5, 0, 1, 3]), task.kept(logits, label))
    index, kept = metric.compute()
    assert index.tolist() == [0, 1, 3, 5]
    assert kept.shape == (4, K, K)
    columns = task.columns(kept.numpy(), label.numpy(), CLASSES)
    assert columns["label"][0] == [int((label[1] == k).sum()) for k in range(K)]
    said = logits.argmax(-1)[1][label[1] != UNLABELLED]
    assert columns["prediction"][0] == [int((said == k).sum()) for k in range(K)]
    assert sum(columns["confusion"][0]) == int((label[1] != UNLABELLED).sum())
    assert task.with_class(label.numpy(), 2).tolist() == [bool((one == 2).any()) for one in label]
    assert list(figures_of(task, kept.numpy(), label.numpy(), CLASSES, "title")) == ["confusion"]
    found = report(task.kept(logits, label), label, np.ones((4, 2), bool))
    assert INTERVAL not in as_text(found, task.shares), "pixels of a tile are no independent samples"
    assert "mIoU %" in as_text(found, task.shares)
