"""What a training step does, and that nothing goes on with numbers that are none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.core.task import check_finite
from mamol.training.module import Classifier
from tests.training.conftest import classifier_of

Logged = dict[str, Tensor]


def logged_by(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Logged:
    """What the module logs, without a trainer."""
    told: Logged = {}
    monkeypatch.setattr(classifier, "log", lambda name, value, **_: told.update({name: value}))
    return told


@pytest.fixture
def logged(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Logged:
    return logged_by(classifier, monkeypatch)


def batch_of(classifier: Classifier, split: str = "train") -> dict[str, Tensor]:
    return next(iter(classifier.data.loader(split)))


def broken(batch: dict[str, Tensor], value: float = float("inf")) -> dict[str, Tensor]:
    """The batch with one value of its first sample changed; that sample has all modalities."""
    batch["available"][0] = True
    batch["hsi"][0, 0, 0, 0] = value
    return batch


def test_a_step_gives_the_loss_of_the_task(classifier: Classifier, logged: Logged) -> None:
    batch = batch_of(classifier)
    loss = classifier.training_step(batch, 0)
    expected = torch.nn.functional.cross_entropy(classifier.network(batch)[0], batch["label"])
    assert torch.equal(loss, expected)
    assert loss.requires_grad
    assert logged == {"train/loss": loss}


def test_what_a_method_adds_is_trained_on_and_logged_apart(table_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = classifier_of(table_folder, balance_weight=0.5)
    logged = logged_by(classifier, monkeypatch)
    loss = classifier.training_step(batch_of(classifier), 0)
    assert logged.keys() == {"train/loss", "train/auxiliary"}
    assert logged["train/auxiliary"] > 0
    assert torch.equal(loss, logged["train/loss"] + logged["train/auxiliary"])


def test_so_is_what_teaches_the_compensator(table_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = classifier_of(table_folder, compensate=True)
    classifier.network.progress = 0.5
    logged, batch = logged_by(classifier, monkeypatch), batch_of(classifier)
    batch["available"][0] = True
    loss = classifier.training_step(batch, 0)
    assert logged.keys() == {"train/loss", "train/distill", "train/divergence"}
    assert logged["train/distill"] > 0
    torch.testing.assert_close(loss, sum(logged.values()))


@pytest.mark.usefixtures("logged")
def test_the_next_step_stops_where_a_loss_was_nan(classifier: Classifier) -> None:
    assert not torch.isfinite(classifier.training_step(broken(batch_of(classifier)), 0))
    with pytest.raises(MamolError, match=r"training: the loss is nan at step 0 \(epoch 0\); look for extreme values"):
        classifier.training_step(batch_of(classifier), 1)


@pytest.mark.usefixtures("logged")
def test_so_does_the_end_of_the_epoch(classifier: Classifier) -> None:
    classifier.training_step(broken(batch_of(classifier)), 0)
    with pytest.raises(MamolError, match=r"at step 0 \(epoch 0\).*smaller learning_rate, precision=32 or normalise"):
        classifier.on_train_epoch_end()


@pytest.mark.usefixtures("logged")
def test_the_step_and_the_epoch_are_those_of_the_training(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Classifier, "global_step", 41)
    monkeypatch.setattr(Classifier, "current_epoch", 7)
    classifier.training_step(broken(batch_of(classifier)), 0)
    with pytest.raises(MamolError, match=r"the loss is nan at step 41 \(epoch 7\)") as caught:
        classifier.on_train_epoch_end()
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("logged")
def test_an_infinite_loss_stops_as_well(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier.task, "loss", lambda logits, label: logits.sum() + float("inf"))
    classifier.training_step(batch_of(classifier), 0)
    with pytest.raises(MamolError, match="the loss is inf"):
        classifier.training_step(batch_of(classifier), 1)


@pytest.mark.usefixtures("logged")
def test_finite_losses_go_on(classifier: Classifier) -> None:
    for epoch in range(2):
        for step, batch in enumerate(classifier.data.loader("train")):
            assert torch.isfinite(classifier.training_step(batch, step)), epoch
        classifier.on_train_epoch_end()


@pytest.mark.usefixtures("logged")
@pytest.mark.parametrize("value", [float("-inf"), float("inf")])
def test_predictions_that_are_no_numbers_are_not_scored(classifier: Classifier, value: float) -> None:
    classifier.on_validation_epoch_start()
    batch = broken(batch_of(classifier, "val"), value)
    classifier.validation_step(batch, 0)
    table = classifier.data.tables["val"].path
    with pytest.raises(MamolError, match=rf"{table}: the network's output for sample 0 is NaN or infinite"):
        classifier.on_validation_epoch_end()


def test_predictions_that_are_numbers_are(classifier: Classifier, logged: Logged) -> None:
    classifier.on_validation_epoch_start()
    for step, batch in enumerate(classifier.data.loader("val")):
        classifier.validation_step(batch, step)
    classifier.on_validation_epoch_end()
    assert {"val/loss", "val/OA", "val/AA", "val/kappa"} <= logged.keys()
    assert 0 <= float(logged["val/OA"]) <= 100


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_broken_sample_is_named(value: float) -> None:
    probabilities, index = np.full((4, 3), 1 / 3, np.float32), np.array([2, 5, 7, 9])
    check_finite(probabilities, index, "test.arrow")
    probabilities[2:, 1] = value
    message = (
        r"test\.arrow: the network's output for sample 7 is NaN or infinite; use precision=32, or look for extreme"
    )
    with pytest.raises(MamolError, match=message):
        check_finite(probabilities, index, "test.arrow")
    with pytest.raises(MamolError, match="sample 7 is"):
        check_finite(np.stack([probabilities] * 2, 2), index, "test.arrow")


def test_its_state_is_the_trainable_part(classifier: Classifier) -> None:
    state = classifier.state_dict()
    assert state.keys() == classifier.network.trainable_state().keys()
    assert not any(name.startswith("tower") for name in state)
    changed = {name: value + 1 for name, value in state.items()}
    classifier.load_state_dict(changed)
    assert all(torch.equal(value, changed[name]) for name, value in classifier.state_dict().items())
    with pytest.raises(MamolError):
        classifier.load_state_dict({name: value for name, value in changed.items() if name != "head.weight"})


def test_an_epoch_draws_the_same_whatever_was_before(classifier: Classifier, table_folder: Path) -> None:
    def drawn(module: Classifier) -> float:
        module.on_train_epoch_start()
        return float(torch.rand(()))

    first = drawn(classifier)
    torch.rand(100)
    assert drawn(classifier) == first
    other = Classifier(classifier.network, classifier.settings, classifier.data, seed=1)
    assert drawn(other) != first
