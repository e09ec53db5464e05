"""A restored checkpoint and a table that does not fit it."""

from pathlib import Path

import pytest

import make_arrow
from mamol.core.settings import Settings
from mamol.evaluation.trained import Trained, open_trained


@pytest.fixture
def loaded(finished_run: Path, table_folder: Path) -> Trained:
    """The network of the finished run and its test table, on the CPU."""
    given = {"load_path": str(finished_run), "data_root": str(table_folder), "num_gpus": 0}
    return open_trained(Settings.of(given), "evaluate")


@pytest.fixture(scope="session")
def other_table(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of the same scene with smaller windows."""
    out = tmp_path_factory.mktemp("other")
    sizes = ["--patch-size", "2", "--train-per-class", "8", "--val-per-class", "4", "--test-per-class", "6"]
    if make_arrow.main(["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(out), *sizes]):
        raise RuntimeError("make_arrow.py failed")
    return out
