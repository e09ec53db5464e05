"""``reproduce with table2``: images and texts of drawn movies in the place of MM-IMDb."""

import json
from pathlib import Path

import pandas as pd
import pytest

import make_arrow
from config import ex
from tests.data.imagetext.trees import mmimdb_tree
from tests.experiments.conftest import InProcess, reproduce
from tests.lines import Finished, run

TINY = ("backbone=tiny", "image_size=32", "num_gpus=0", "num_workers=0", "per_gpu_batchsize=8", "batch_size=8")
BUDGET = ("max_epoch=1", "limit_batches=2", "val_check_interval=1.0", "seeds=1", "progress_bar=False")


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_root with ``mmimdb``."""
    root = tmp_path_factory.mktemp("table2")
    mmimdb_tree(root / "raw", 40, seed=0)
    if make_arrow.main(["--dataset", "mmimdb", "--root", str(root / "raw"), "--out", str(root / "data" / "mmimdb")]):
        raise RuntimeError("make_arrow.py failed")
    return root / "data"


def table2(movies: Path, log_dir: Path, *arguments: object) -> Finished:
    return run("reproduce", "with", "table2", *TINY, *BUDGET, f"data_root={movies}", f"log_dir={log_dir}", *arguments)


def test_three_settings_beside_the_papers_numbers(movies: Path, tmp_path: Path, in_process: InProcess) -> None:
    result = table2(movies, tmp_path, "methods=mamol,dcp")
    assert result.returncode == 0, result.stderr
    assert len(in_process.done) == 6
    content = pd.read_csv(tmp_path / "table2" / "table2.csv")
    shares = content[["image_percent", "text_percent"]].drop_duplicates().to_numpy().tolist()
    assert shares == [[100, 50], [50, 100], [75, 75]]
    ours = content[content["method"] == "mamol"]
    assert ours["reported_F1_macro"].tolist() == [51.73, 55.54, 53.20]
    assert (ours["difference_F1_macro"] - (ours["F1_macro"] - ours["reported_F1_macro"])).abs().max() < 1e-9
    reasons = "backbone tiny .*; short training: .*; 24/6/10 movies, not 15552/2608/7799"
    assert content["stand_in"].str.contains(reasons).all()
    page = (tmp_path / "table2" / "table2.md").read_text()
    for text in ("(stand-in)", "F1_macro in paper", "every plot of a movie as a sample", "which are for MM-IMDb"):
        assert text in page
    latex = (tmp_path / "table2" / "table2.tex").read_text()
    assert r"F1\_macro" in latex


def test_the_network_of_3_6_million_is_a_column_of_its_own(movies: Path, tmp_path: Path, in_process: InProcess) -> None:
    result = table2(movies, tmp_path, "methods=mamol,released_vision_language")
    assert result.returncode == 0, result.stderr
    content = pd.read_csv(tmp_path / "table2" / "table2.csv")
    for method in ("mamol", "released_vision_language"):
        ours = content[content["method"] == method]
        assert ours["F1_macro"].notna().all()
        assert ours["reported_F1_macro"].tolist() == [51.73, 55.54, 53.20]
    ran = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/config.json")]
    assert {(run["method"], run["rank"], run["expert_blocks"]) for run in ran} == {
        ("mamol", 8, "last6"),
        ("released", 16, "last2"),
    }
    assert "3.6 M parameters; that is released_vision_language (3,567,975), while mamol has 3,236,191" in result.stdout


def test_the_papers_words_on_the_training_are_no_difference(movies: Path, tmp_path: Path) -> None:
    def told(*arguments: object) -> str:
        first, second, *_ = table2(movies, tmp_path, "methods=mamol", "dry_run=True", *arguments).stdout.splitlines()
        assert first == "Table 2: MM-IMDb, missing rate 50 % (stand-in)"
        return second

    assert "learning_rate" not in told("as_stated")
    assert "batch_size=8, not 256" in told("as_stated", "batch_size=8")
    assert "batch_size" not in told("as_stated", "batch_size=128", "per_gpu_batchsize=64")
    assert "learning_rate=0.005, not 0.01" in told("as_stated", "learning_rate=5e-3")
    assert ex.named_configs["as_stated"]() == {
        "optim_type": "adam",
        "learning_rate": 2e-3,
        "weight_decay": 2e-2,
        "warmup_steps": 0.1,
        "batch_size": 128,
    }


def test_rows_lack_texts_then_images_then_both(movies: Path, tmp_path: Path) -> None:
    listed = table2(movies, tmp_path / "out", "methods=mamol", "dry_run=True")
    assert listed.returncode == 0, listed.stderr
    assert "3 of 3 runs are left" in listed.stdout
    assert "about" in listed.stdout
    assert not (tmp_path / "out").exists()


def test_its_named_config_is_that_of_the_task() -> None:
    own, task = (ex.named_configs[name]() for name in ("table2", "task_finetune_mmimdb"))
    of_the_run = task.keys() - {"exp_name", "dataset", "data_root"}
    assert {key: own[key] for key in of_the_run} == {key: task[key] for key in of_the_run}
    assert own["reproduce"] == "table2"


def test_a_scene_is_refused_before_any_run(tables: Path, tmp_path: Path, in_process: InProcess) -> None:
    told = reproduce(tables, tmp_path / "out", "table2")
    assert told.returncode == 1
    assert told.stderr == (
        f"error: table2 is of data whose labels are 'genres': {tables / 'synthetic'} holds synthetic, whose labels are "
        "'classes'; give datasets= of that kind\n"
    )
    assert in_process.done == []
    assert not (tmp_path / "out").exists()


def test_movies_are_refused_by_a_table_of_scenes(movies: Path, tmp_path: Path, in_process: InProcess) -> None:
    told = reproduce(movies, tmp_path / "out", "table1", "datasets=mmimdb")
    assert told.returncode == 1
    assert "table1 is of data whose labels are 'classes'" in told.stderr
    assert told.stderr.count("\n") == 1
    assert in_process.done == []
    assert not (tmp_path / "out").exists()
