"""What a run keeps while it trains."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch

from mamol.training.callbacks import KeepBest
from mamol.training.checkpoints import read_checkpoint
from mamol.training.module import Classifier
from tests.lines import trained

DATA = {"dataset": "synthetic", "fingerprint": "0" * 64}


def trainer_at(epoch: int, score: float | None, *, rank: int = 0, told: Path | None = None) -> Any:
    """What KeepBest asks of a trainer; ``told`` is what rank 0 says."""
    return SimpleNamespace(
        callback_metrics={} if score is None else {"val/OA": torch.tensor(score)},
        current_epoch=epoch,
        is_global_zero=rank == 0,
        strategy=SimpleNamespace(broadcast=lambda folder: told or folder),
    )


def validated(best: KeepBest, module: Classifier, epoch: int, score: float | None) -> None:
    best.on_validation_end(trainer_at(epoch, score), module)


@pytest.fixture
def best(tmp_path: Path) -> KeepBest:
    return KeepBest(tmp_path / "checkpoints", DATA, "OA")


def test_history_has_validation_scores_only_where_one_was_done(table_folder: Path, tmp_path: Path) -> None:
    budget = ("max_epoch=3", "limit_batches=1", "val_check_interval=2")
    history = pd.read_csv(trained(tmp_path, f"data_root={table_folder}", *budget) / "history.csv")
    assert history["train/loss"].notna().all()
    for column in ("val/OA", "val/loss"):
        assert history[column].notna().tolist() == [False, True, False]


def test_the_first_of_equals_is_kept(best: KeepBest, classifier: Classifier) -> None:
    for epoch, score in enumerate((50.0, 50.0, 40.0, 50.0)):
        validated(best, classifier, epoch, score)
    assert best.path == best.folder / "best-epoch=0-OA=50.00.safetensors"
    assert list(best.folder.iterdir()) == [best.path]
    assert read_checkpoint(best.path)[0].epoch == 0


def test_a_better_one_takes_the_place(best: KeepBest, classifier: Classifier) -> None:
    validated(best, classifier, 0, 50.0)
    validated(best, classifier, 4, 50.001)
    assert best.path == best.folder / "best-epoch=4-OA=50.00.safetensors"
    assert list(best.folder.iterdir()) == [best.path]
    info, state = read_checkpoint(best.path)
    assert (info.epoch, info.score, info.data) == (4, pytest.approx(50.001), DATA)
    assert state.keys() == classifier.network.trainable_state().keys()


def test_a_better_one_of_the_same_name_stays(best: KeepBest, classifier: Classifier) -> None:
    """Several validations in an epoch may differ by less than the name shows."""
    validated(best, classifier, 0, 50.001)
    validated(best, classifier, 0, 50.002)
    assert best.path is not None
    assert read_checkpoint(best.path)[0].score == pytest.approx(50.002)


def test_a_score_of_zero_is_kept_and_none_is_not_looked_at(best: KeepBest, classifier: Classifier) -> None:
    validated(best, classifier, 0, None)
    assert best.path is None
    validated(best, classifier, 1, 0.0)
    assert best.path is not None
    validated(best, classifier, 2, math.nan)
    assert best.path.name == "best-epoch=1-OA=0.00.safetensors"


def test_without_a_validation_the_last_network_is_kept(best: KeepBest, classifier: Classifier) -> None:
    best.on_train_end(trainer_at(7, None), classifier)
    assert best.path == best.folder / "best-epoch=7.safetensors"
    assert read_checkpoint(best.path)[0].score is None


def test_with_one_the_last_network_is_not(best: KeepBest, classifier: Classifier) -> None:
    validated(best, classifier, 0, 10.0)
    best.on_train_end(trainer_at(7, None), classifier)
    assert [path.name for path in best.folder.iterdir()] == ["best-epoch=0-OA=10.00.safetensors"]


def test_a_continued_run_goes_on_with_its_best(best: KeepBest, classifier: Classifier) -> None:
    validated(best, classifier, 3, 50.0)
    again = KeepBest(best.folder, DATA, "OA")
    again.load_state_dict(best.state_dict())
    assert (again.path, again.score) == (best.path, 50.0)
    validated(again, classifier, 5, 49.0)
    assert again.path == best.path
    validated(again, classifier, 6, 51.0)
    assert [path.name for path in best.folder.iterdir()] == ["best-epoch=6-OA=51.00.safetensors"]


def test_a_run_that_was_interrupted_before_its_first_validation_begins_with_none(best: KeepBest) -> None:
    again = KeepBest(best.folder, DATA, "OA")
    again.load_state_dict(best.state_dict())
    assert (again.path, again.score) == (None, float("-inf"))


def test_rank_0_says_where_to_write_and_alone_writes(best: KeepBest, classifier: Classifier, tmp_path: Path) -> None:
    claimed = tmp_path / "run_2" / "checkpoints"
    best.setup(trainer_at(0, None, rank=1, told=claimed), classifier, "fit")
    best.on_validation_end(trainer_at(0, 50.0, rank=1), classifier)
    assert best.path == claimed / "best-epoch=0-OA=50.00.safetensors", "so that all load the same one afterwards"
    assert list(tmp_path.iterdir()) == []
