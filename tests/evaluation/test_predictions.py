"""``predictions.parquet``: every test sample exactly once, and the scores follow from it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mamol.core.errors import MamolError
from mamol.core.predictions import KeptPredictions
from mamol.data.tables import open_tables
from mamol.evaluation.predictions import read_predictions
from mamol.tasks.metrics import scores
from tests.lines import QUICK, run

CLASSES = ["water", "grass", "crops", "trees", "buildings", "roads"]


def test_a_run_keeps_the_predictions_that_its_scores_count(finished_run: Path, table_folder: Path) -> None:
    kept = read_predictions(finished_run)
    table = open_tables(table_folder)["test"]
    assert kept["index"].tolist() == list(range(len(table)))
    for name in ("row", "col", "label"):
        assert (kept[name].to_numpy() == getattr(table, name)).all(), name
    probabilities = kept[[f"p_{name}" for name in CLASSES]].to_numpy()
    assert probabilities.sum(1) == pytest.approx(1, abs=1e-5)
    assert (probabilities.argmax(1) == kept["prediction"]).all()
    metrics = json.loads((finished_run / "metrics.json").read_text())
    assert kept["pattern"].value_counts().to_dict() == metrics["missing"]["test"]["patterns"]
    for name, part in kept.groupby("pattern"):
        matrix = np.zeros((6, 6), int)
        np.add.at(matrix, (part["label"], part["prediction"]), 1)
        assert scores(matrix) == pytest.approx(metrics["test"]["per_pattern"][name]), name
    assert 100 * (kept["label"] == kept["prediction"]).mean() == pytest.approx(metrics["test"]["OA"])
    assert kept.attrs["fingerprint"] == table.fingerprint
    assert kept.attrs["method"] == "mamol"
    assert kept.attrs["weights"].startswith("random")


def test_a_quick_check_keeps_what_it_tested(finished_run: Path, table_folder: Path, tmp_path: Path) -> None:
    given = ("with", "remote", *QUICK, f"log_dir={tmp_path}", f"data_root={table_folder}", f"load_path={finished_run}")
    result = run(*given, "test_only=True", "limit_batches=2")
    assert result.returncode == 0, result.stderr[-1500:]
    *_, said, folder = result.stdout.splitlines()
    kept = read_predictions(folder)["index"].tolist()
    assert len(kept) == 16
    assert kept != list(range(16)), "the first rows of a table are of its first classes"
    assert "limit_batches=2 leaves at most 2 batches" in said
    assert "tested on 16 of 36 samples" in said
    metrics = json.loads((Path(folder) / "metrics.json").read_text())
    assert (metrics["limit_batches"], metrics["test"]["n"]) == (2, 16)


def test_a_whole_run_does_not_say_that_it_was_limited(finished_run: Path) -> None:
    assert json.loads((finished_run / "metrics.json").read_text())["limit_batches"] is None


def test_a_sample_tested_twice_is_a_bug() -> None:
    kept = KeptPredictions(3, 2)
    kept.update(torch.tensor([2, 0]), torch.tensor([[0.1, 0.9], [0.8, 0.2]]))
    index, probabilities = kept.compute()
    assert index.tolist() == [0, 2]
    assert probabilities.tolist() == [pytest.approx([0.8, 0.2]), pytest.approx([0.1, 0.9])]
    kept.update(torch.tensor([0]), torch.tensor([[0.5, 0.5]]))
    with pytest.raises(RuntimeError, match="more than one"):
        kept.compute()


@pytest.mark.parametrize("tested", [[1], []])
def test_a_table_may_have_one_sample_or_none(tested: list[int]) -> None:
    """Of which torchmetrics makes scalars."""
    kept = KeptPredictions(2, 1, 1)
    kept.update(torch.tensor(tested, dtype=torch.long), torch.ones(len(tested), 1, 1))
    index, probabilities = kept.found()
    assert index.tolist() == tested
    assert probabilities.shape == (len(tested), 1, 1)


def test_reading_tells_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(MamolError, match="no such predictions; test a checkpoint"):
        read_predictions(tmp_path)
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(MamolError, match="truncated or not a Parquet file"):
        read_predictions(broken)
    other = tmp_path / "other.parquet"
    pd.DataFrame({"row": [1]}).to_parquet(other)
    with pytest.raises(MamolError, match="not the predictions of a test: index, col, label, prediction, pattern"):
        read_predictions(other)
