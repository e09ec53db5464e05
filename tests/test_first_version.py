"""Tables, checkpoints and runs of the first version load and give the numbers that they gave."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mamol.data.scenetable import SceneTable
from mamol.data.tables import open_tables
from mamol.evaluation.predictions import read_predictions
from mamol.training.checkpoints import read_checkpoint
from tests.lines import QUICK, run

pytestmark = pytest.mark.usefixtures("tiny")

KEPT = Path(__file__).parent / "first_version"
RUNS = KEPT / "runs"
OPTIONS = [*QUICK, "expert_blocks=[11]", "rank=2"]


def scores(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def ended(*arguments: object) -> Path:
    result = run(*arguments)
    assert result.returncode == 0, result.stderr[-1500:]
    return Path(result.stdout.splitlines()[-1])


OF = {"patches": "finished", "scene_layout": "finished", "movies": "movies"}


@pytest.mark.parametrize(("tables", "of"), OF.items())
def test_tables_are_the_same_samples(tables: str, of: str) -> None:
    train = open_tables(KEPT / tables)["train"]
    kept = scores(RUNS / f"{of}_seed0")["data"]
    assert train.fingerprint == kept["fingerprint"]
    assert train.info.identity() == {key: kept[key] for key in ("dataset", "protocol", "seed")}
    about = train.info.about()
    assert about | {"layout": kept["layout"]} == {key: kept[key] for key in ("layout", "overlap", "counts")}


def test_both_layouts_hold_the_same_windows() -> None:
    patches, scene = (SceneTable.open(KEPT / layout / "test.arrow") for layout in ("patches", "scene_layout"))
    every = np.arange(len(patches))
    for name in patches.info.names:
        assert np.array_equal(patches.windows(name, every), scene.windows(name, every))


def test_a_checkpoint_says_what_it_said() -> None:
    info, state = read_checkpoint(RUNS / "finished_seed0")
    assert info.network.sizes == {"lidar": 1, "sar": 2}
    assert (info.network.method, info.network.grid, info.network.head) == ("mamol", 4, "class")
    assert info.random_weights
    assert len(state) == 18
    text, _ = read_checkpoint(RUNS / "movies_seed0")
    assert [(m.name, m.kind, m.size) for m in text.network.modalities] == [("image", "image", 3), ("text", "text", 77)]


@pytest.mark.parametrize(
    ("name", "tables", "options"),
    [
        ("finished", "patches", ["remote", *OPTIONS]),
        ("finished", "scene_layout", ["remote", *OPTIONS]),
        ("movies", "movies", ["task_finetune_mmimdb", *OPTIONS, "image_size=32", "num_workers=0"]),
    ],
)
def test_a_test_gives_the_numbers_that_it_gave(name: str, tables: str, options: list[str], tmp_path: Path) -> None:
    before = RUNS / f"{name}_seed0"
    given = [*options, f"data_root={KEPT / tables}", f"load_path={before}", "test_only=True", f"log_dir={tmp_path}"]
    after = ended("with", *given)
    assert scores(after)["test"] == scores(before)["test"]
    assert scores(after)["missing"] == scores(before)["missing"]
    first, second = (read_predictions(folder) for folder in (before, after))
    probabilities = [column for column in first if column.startswith("p_")]
    pd.testing.assert_frame_equal(first.drop(columns=probabilities), second.drop(columns=probabilities))
    # Equal to the bit on the machine that wrote them; processors differ in the last digits.
    pd.testing.assert_frame_equal(first[probabilities], second[probabilities], rtol=0, atol=1e-5)


def test_a_grid_is_the_same_grid(tmp_path: Path) -> None:
    folder = tmp_path / "finished_seed0"
    shutil.copytree(RUNS / "finished_seed0", folder)
    ended("evaluate", "with", "remote", *OPTIONS, f"data_root={KEPT / 'patches'}", f"load_path={folder}")
    frames = [pd.read_csv(path) for path in (folder / "grid.csv", folder / "evaluation" / "grid.csv")]
    pd.testing.assert_frame_equal(*frames)


def test_a_killed_run_goes_on_to_what_it_would_have_been(tmp_path: Path) -> None:
    folder = tmp_path / "part_seed0"
    shutil.copytree(RUNS / "part_seed0", folder)
    given = ["max_epoch=4", "resample_missing=True", "missing_type=both", "optim_type=sgd", "learning_rate=0.02"]
    last = folder / "checkpoints" / "last.ckpt"
    assert ended("with", "remote", *OPTIONS, *given, f"data_root={KEPT / 'patches'}", f"resume_from={last}") == folder
    whole = RUNS / "whole_seed0"
    histories = [pd.read_csv(each / "history.csv") for each in (whole, folder)]
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)
    assert scores(folder)["missing"] == scores(whole)["missing"]
    assert scores(folder)["test"]["OA"] == pytest.approx(scores(whole)["test"]["OA"], abs=3)


def test_an_old_config_with_a_retired_option_is_read(tmp_path: Path) -> None:
    config = RUNS / "finished_seed0" / "config.json"
    assert "missing_fill" in json.loads(config.read_text())
    flat = {key: value for key, value in json.loads(config.read_text()).items() if key != "mamol_version"}
    again = tmp_path / "config.json"
    again.write_text(json.dumps(flat | {"data_root": str(KEPT / "patches"), "log_dir": str(tmp_path), "max_epoch": 1}))
    assert ended("with", again).name == "finished_seed0"
