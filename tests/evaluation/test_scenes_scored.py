"""Tables of several scenes are trained on, tested and scored scene by scene."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mamol.data.prepare import Options, prepare
from mamol.data.scenetable import SceneTable
from mamol.evaluation.predictions import read_predictions
from tests.areas import write_area
from tests.lines import QUICK, run, trained

SIZES: dict[str, Any] = {"patch_size": 4, "train_per_class": 8, "val_per_class": 4, "test_per_class": 12}
NAMES = ["east", "north", "south", "west"]


@pytest.fixture(scope="module")
def area_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of four scenes, in layout ``scene``."""
    root = tmp_path_factory.mktemp("area")
    prepare(Options("scene", write_area(root / "raw"), root / "tables", layout="scene", **SIZES))
    return root / "tables"


@pytest.fixture(scope="module")
def finished(area_tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on them."""
    return trained(tmp_path_factory.mktemp("runs"), f"data_root={area_tables}", "max_epoch=1", "num_workers=0")


def test_scores_of_each_scene_are_those_of_its_predictions(finished: Path, area_tables: Path) -> None:
    kept = read_predictions(finished)
    table = SceneTable.open(area_tables / "test.arrow")
    assert table.scene is not None
    np.testing.assert_array_equal(kept["scene"], table.scene)
    assert kept.attrs["scenes"] == NAMES
    scores = json.loads((finished / "metrics.json").read_text())["test"]["per_scene"]
    assert list(scores) == NAMES
    right = kept["prediction"] == kept["label"]
    for number, name in enumerate(NAMES):
        own = kept["scene"] == number
        assert scores[name]["n"] == own.sum() > 0
        assert scores[name]["OA"] == pytest.approx(100 * right[own].mean())
        assert {"AA", "kappa"} < set(scores[name])


def test_a_test_alone_and_evaluate_give_the_same_scores(finished: Path, area_tables: Path, tmp_path: Path) -> None:
    tables = f"data_root={area_tables}"
    again = trained(tmp_path, tables, f"load_path={finished}", "test_only=True", "test_ratio=0.5", "test_type=hsi")
    expected = json.loads((again / "metrics.json").read_text())["test"]["per_scene"]
    asked = ("evaluate_ratios=0.5,0", "evaluate_types=sar,hsi")
    result = run("evaluate", "with", "remote", *QUICK, tables, f"load_path={finished}", *asked)
    assert result.returncode == 0, result.stderr[-1500:]
    folder = Path(result.stdout.splitlines()[-1])
    rows = pd.read_csv(folder / "scenes.csv")
    assert len(rows) == 2 * 2 * 4
    cells = rows[(rows["type"] == "hsi") & (rows["ratio"] == 0.5)].set_index("scene")
    for name, scores in expected.items():
        for key in ("n", "OA", "AA", "kappa"):
            assert cells.loc[name, key] == pytest.approx(scores[key], abs=1e-9), (name, key)
    _, _, shown = (folder / "evaluation.md").read_text().partition("## OA of each scene, in percent")
    heads, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines()[2:12]]
    assert heads == ["scene", "missing", "0 %", "50 %"]
    assert [line[:2] for line in lines] == [[name, kind] for kind in ("sar", "hsi") for name in NAMES]
