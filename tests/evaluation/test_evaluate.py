"""``evaluate``: the grid equals separate tests, number by number."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import make_arrow
from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.data.missing import draw
from mamol.data.tables import open_tables
from mamol.evaluation.grid import all_types, score
from mamol.evaluation.patterns import all_patterns, evaluate_patterns, under_mask
from mamol.evaluation.statistics import wilson
from mamol.evaluation.trained import Trained, open_trained
from tests.lines import QUICK, run, trained

RATIOS = "0,0.5,0.7"
MODALITIES = ("hsi", "lidar", "sar")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def evaluated(figures_in_module: None, finished_run: Path, table_folder: Path) -> tuple[Path, str]:
    """The folder of an evaluation and what was printed."""
    result = run(
        "evaluate", "with", *QUICK, f"load_path={finished_run}", f"data_root={table_folder}",
        f"evaluate_ratios={RATIOS}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-1500:]
    return Path(result.stdout.splitlines()[-1]), result.stdout


def test_every_cell_of_the_default_grid_is_there(evaluated: tuple[Path, str], finished_run: Path) -> None:
    folder, printed = evaluated
    assert folder == finished_run / "evaluation"
    grid = pd.read_csv(folder / "grid.csv")
    everything = grid[grid["present"] == "all"]
    assert list(everything["type"].unique()) == list(all_types(MODALITIES))
    assert len(everything) == 7 * 3
    assert (everything["n"] == 36).all()
    parts = grid[grid["present"] != "all"].groupby(["type", "ratio"])["n"].sum()
    assert (parts == 36).all()
    text = (folder / "evaluation.md").read_text()
    assert "synthetic scene, random frozen weights" in text
    assert text.strip() in printed
    assert (folder / "accuracy.png").stat().st_size > 10_000


def test_each_pattern_has_its_interval(evaluated: tuple[Path, str]) -> None:
    folder, _ = evaluated
    _, _, table = (folder / "evaluation.md").read_text().partition("## Every sample under each pattern")
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line]
    assert head == ["present", "n", "OA", "OA, 95 % interval", "AA", "kappa"]
    assert len(rows) == 7
    kept = pd.read_csv(folder / "patterns.csv")
    for (name, n, _, shown, *_), oa in zip(rows, kept["OA"], strict=True):
        low, high = wilson(oa, int(n))
        assert shown == f"{low:.1f}-{high:.1f}", name


@pytest.mark.parametrize(("ratio", "kind"), [(0.7, "both"), (0.5, "lidar+sar"), (0.0, "hsi")])
def test_a_cell_equals_a_test_only_run(
    ratio: float, kind: str, evaluated: tuple[Path, str], finished_run: Path, table_folder: Path, tmp_path: Path
) -> None:
    alone = trained(
        tmp_path, f"data_root={table_folder}", f"load_path={finished_run}", "test_only=True", f"test_ratio={ratio}",
        f"test_type={kind}",
    )  # fmt: skip
    expected = json.loads((alone / "metrics.json").read_text())["test"]
    grid = pd.read_csv(evaluated[0] / "grid.csv")
    cell = grid[(grid["type"] == kind) & (grid["ratio"] == ratio)].set_index("present")
    assert set(cell.index) == {"all", *expected["per_pattern"]}
    for name, row in [("all", expected), *expected["per_pattern"].items()]:
        for key in ("n", "OA", "AA", "kappa"):
            assert cell.loc[name, key] == pytest.approx(row[key], abs=1e-9), (name, key)


def test_patterns_csv_is_the_test_with_only_that_pattern(evaluated: tuple[Path, str]) -> None:
    patterns = pd.read_csv(evaluated[0] / "patterns.csv").set_index("present")
    assert list(patterns.index) == ["hsi+lidar+sar", "hsi+lidar", "hsi+sar", "lidar+sar", "hsi", "lidar", "sar"]
    grid = pd.read_csv(evaluated[0] / "grid.csv").set_index(["type", "ratio", "present"])
    assert patterns.loc["hsi+lidar+sar", "OA"] == pytest.approx(grid.loc[("both", 0.0, "all"), "OA"])
    recalls = patterns[["water", "grass", "crops", "trees", "buildings", "roads"]].mean(axis=1)
    assert recalls.to_numpy() == pytest.approx(patterns["AA"].to_numpy())


def test_windows_are_read_once_and_the_order_of_patterns_is_documented(
    loaded: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, read = loaded.table, []
    original = table.windows
    monkeypatch.setattr(
        table, "windows", lambda name, index, *more: read.append((name, len(index))) or original(name, index, *more)
    )
    probabilities = evaluate_patterns(loaded.network, table, MODALITIES, CPU, batch=10)
    assert sum(n for _, n in read) == 3 * len(table)
    assert probabilities.shape == (7, 36, 6)
    assert probabilities.sum(-1) == pytest.approx(1, abs=1e-5)
    whole = evaluate_patterns(loaded.network, table, MODALITIES, CPU)
    assert probabilities == pytest.approx(whole, abs=1e-5)
    only_sar = {name: torch.full((36, *original(name, np.arange(1)).shape[1:]), np.nan) for name in MODALITIES}
    only_sar["sar"] = torch.from_numpy(original("sar", np.arange(36)))
    with torch.inference_mode():
        logits, _ = loaded.network({**only_sar, "available": torch.tensor([[False, False, True]] * 36)})
    assert logits.softmax(1).numpy() == pytest.approx(probabilities[6], abs=1e-5)


def test_under_mask_looks_up_each_sample_and_score_counts_it(table_folder: Path) -> None:
    patterns = all_patterns(3)
    assert patterns.tolist()[0] == [True] * 3
    assert len(np.unique(patterns, axis=0)) == 7
    table = open_tables(table_folder)["test"]
    n = len(table)
    probabilities = np.random.default_rng(0).random((7, n, 6)).astype(np.float32)
    mask = draw(n, MODALITIES, ratio=0.8, kind="both", seed=3, fingerprint="x")
    expected = [probabilities[(patterns == row).all(1).argmax(), i] for i, row in enumerate(mask)]
    assert under_mask(probabilities, mask) == pytest.approx(np.array(expected))
    right = np.array(expected).argmax(1) == table.label
    assert score(probabilities, table, MODALITIES, mask)["OA"] == pytest.approx(100 * right.mean())


def test_all_types_of_two_modalities() -> None:
    assert all_types(("hsi", "sar")) == ("hsi", "sar", "both")


def test_a_network_that_says_nan_is_told(loaded: Trained) -> None:
    with torch.no_grad():
        loaded.network.head.bias[0] = np.nan
    with pytest.raises(MamolError, match="output for sample 0 is NaN or infinite; use precision=32"):
        evaluate_patterns(loaded.network, loaded.table, MODALITIES, CPU)


def test_a_checkpoint_by_itself_gets_a_run_folder(finished_run: Path, table_folder: Path, tmp_path: Path) -> None:
    (best,) = (finished_run / "checkpoints").glob("best*")
    copy = tmp_path / "alone.safetensors"
    copy.write_bytes(best.read_bytes())
    result = run(
        "evaluate", "with", *QUICK, f"load_path={copy}", f"data_root={table_folder}", "evaluate_ratios=0.5",
        "evaluate_types=sar,HSI", f"log_dir={tmp_path / 'runs'}", "exp_name=grid",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-1500:]
    folder = tmp_path / "runs" / "grid_seed0" / "evaluation"
    assert result.stdout.splitlines()[-1] == str(folder)
    assert list(pd.read_csv(folder / "grid.csv")["type"].unique()) == ["sar", "hsi"]


BAD = [
    (
        ["data_root={table}"],
        "evaluate needs load_path=<checkpoint or run folder>, and data_root=<tables> if they moved",
    ),
    (["load_path={run}", "data_root={table}", "evaluate_ratios=0,2"], "must be rates from 0 to 1"),
    (["load_path={run}", "data_root={table}", "evaluate_ratios=[]"], "must be rates from 0 to 1"),
    (["load_path={run}", "data_root={table}", "evaluate_types=radar"], "missing type radar: the table has no"),
    (["load_path={run}", "data_root={table}", "evaluate_types=3"], "must be missing types, such as"),
    (["load_path={run}", "data_root={other}"], "belongs to another network or other data: patch_size 4 there, 2 here"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[m[:30] for _, m in BAD])
def test_mistakes_are_told_in_one_line(
    arguments: list[str], message: str, finished_run: Path, table_folder: Path, other_table: Path, tmp_path: Path
) -> None:
    filled = [a.format(run=finished_run, table=table_folder, other=other_table) for a in arguments]
    result = run("evaluate", "with", *QUICK, f"log_dir={tmp_path / 'runs'}", *filled)
    assert result.returncode == 1
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert message in error
    assert list(tmp_path.iterdir()) == []


def test_tables_that_lie_where_they_did_need_not_be_given(finished_run: Path, loaded: Trained) -> None:
    found = open_trained(Settings.of({"load_path": str(finished_run), "num_gpus": 0}), "evaluate")
    assert found.table.path == loaded.table.path
    assert found.settings.data.data_root == loaded.settings.data.data_root


def test_a_table_of_another_draw_is_warned_of(
    finished_run: Path, scene_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sizes = ["--patch-size", "4", "--train-per-class", "8", "--test-per-class", "2", "--seed", "1"]
    out = tmp_path / "table"
    assert make_arrow.main(["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(out), *sizes]) == 0
    given = {"load_path": str(finished_run), "data_root": str(out), "num_gpus": 0}
    open_trained(Settings.of(given), "evaluate")
    assert "was trained on another draw of pixels" in caplog.text
