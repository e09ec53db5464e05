"""``python run.py reproduce``: skips, continues, keeps going, and gives the same table after SIGKILL."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from mamol.experiments.reproduce.estimate import estimate
from tests.experiments.conftest import InProcess, reproduce
from tests.lines import QUICK, killed

TWO = ("table5", "methods=mamol,baseline", "rates=0.7")


def test_finished_runs_are_skipped_and_other_ones_done(tables: Path, tmp_path: Path, in_process: InProcess) -> None:
    first = reproduce(tables, tmp_path, *TWO)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-1] == str(tmp_path / "table5")
    assert len(in_process.done) == 2
    again = reproduce(tables, tmp_path, *TWO, "exp_name=renamed")
    assert len(in_process.done) == 2
    assert again.stdout == first.stdout
    reproduce(tables, tmp_path, *TWO, "seeds=2", "methods=mamol")
    assert in_process.done[2:] == ["mamol on synthetic, disjoint, 0.7, seed 1"]
    content = pd.read_csv(tmp_path / "table5" / "table5.csv")
    assert content[["method", "runs"]].to_numpy().tolist() == [["mamol", 2]]
    assert content["stand_in"].str.contains("short training: max_epoch=1; limit_batches=2 per epoch").all()


def test_a_failed_run_does_not_stop_the_others(
    tables: Path, tmp_path: Path, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(self: InProcess, job: object, command: str, options: dict) -> str:
        return "no luck" if job.config["method"] == "mamol" else done(self, job, command, options)  # type: ignore[attr-defined]

    done = InProcess._error
    monkeypatch.setattr(InProcess, "_error", error)
    result = reproduce(tables, tmp_path, *TWO)
    assert result.returncode == 1
    assert "error: 1 of 2 runs failed, the first: mamol on synthetic, disjoint, 0.7, seed 0: no luck" in result.stderr
    assert "## Failed runs" in (tmp_path / "table5" / "table5.md").read_text()
    assert pd.read_csv(tmp_path / "table5" / "table5.csv").set_index("method")["runs"].to_dict() == {
        "mamol": 0,
        "baseline": 1,
    }
    monkeypatch.setattr(InProcess, "_error", done)
    assert reproduce(tables, tmp_path, *TWO).returncode == 0
    assert in_process.done[2:] == ["mamol on synthetic, disjoint, 0.7, seed 0"]


def test_dry_run_lists_and_estimates_and_writes_nothing(tables: Path, tmp_path: Path) -> None:
    result = reproduce(tables, tmp_path / "out", "table1", "dry_run=True", "methods=mamol")
    assert result.returncode == 0, result.stderr
    assert "stand-in: backbone tiny" in result.stdout
    assert result.stdout.count("mamol on synthetic, disjoint") == 10, "nine runs, and the timed one"
    assert "9 of 9 runs are left" in result.stdout
    assert " took " in result.stdout
    assert not (tmp_path / "out").exists()
    assert estimate([], 1) == "nothing is left to do"


@pytest.mark.usefixtures("figures")
def test_protocols_side_by_side(tables: Path, tmp_path: Path, in_process: InProcess) -> None:
    result = reproduce(tables, tmp_path, "table5", "rates=0.7", "methods=mamol", "protocols=paper,disjoint,blocks")
    assert result.returncode == 0, result.stderr
    content = pd.read_csv(tmp_path / "table5" / "protocols.csv").set_index("protocol")
    assert content["stand_in"].notna().all()
    assert content.loc["blocks", "worth"] == 0
    assert content.loc["blocks", "test windows touching training %"] == 0
    assert content.loc["paper", "test windows touching training %"] > 0
    assert "# Protocols side by side (stand-in)" in result.stdout
    assert (tmp_path / "table5" / "protocols.png").stat().st_size > 5000


@pytest.mark.usefixtures("figures")
def test_figures_train_once_and_test_many(tables: Path, tmp_path: Path, in_process: InProcess) -> None:
    assert reproduce(tables, tmp_path, "figure4", "methods=mamol").returncode == 0
    assert len(in_process.done) == 3
    content = pd.read_csv(tmp_path / "figure4" / "figure4_synthetic_disjoint_70.csv")
    assert len(content) == 3 * 3 * 9, "trained × tested × rates"
    assert set(content["trained"]) == set(content["tested"]) == {"both", "hsi", "lidar"}
    assert content["OA"].between(0, 100).all()
    assert reproduce(tables, tmp_path, "figure5").returncode == 0
    assert in_process.done[3:] == ["mamol on synthetic, disjoint, 0.7, seed 0"], "trained for figure4, routed now"
    used = pd.read_csv(tmp_path / "figure5" / "figure5_synthetic_disjoint_70_mamol.csv")
    assert set(used["pattern"]) == {"hsi+lidar", "hsi", "lidar"}
    sums = used.groupby(["layer", "pattern", "modality"])["top1_share"].sum()
    assert sums.to_numpy() == pytest.approx(1)
    for name in ("figure4/figure4_synthetic_disjoint_70.png", "figure5/figure5_synthetic_disjoint_70_mamol.png"):
        assert (tmp_path / name).stat().st_size > 5000


def test_routing_of_an_earlier_version_is_measured_again(tables: Path, tmp_path: Path, in_process: InProcess) -> None:
    """The first version counted one token per stream in the last block; the trained network stays."""
    assert reproduce(tables, tmp_path, "figure5").returncode == 0
    (done,) = (tmp_path / "runs" / "jobs").glob("*.follow.json")
    (trained,) = (tmp_path / "runs").glob("*/metrics.json")
    before = trained.stat().st_mtime_ns
    record = json.loads(done.read_text())
    assert record.pop("version") == 2
    done.write_text(json.dumps(record))
    assert "to continue" in reproduce(tables, tmp_path, "figure5", "dry_run=True").stdout
    assert reproduce(tables, tmp_path, "figure5").returncode == 0
    assert (len(in_process.done), trained.stat().st_mtime_ns) == (2, before)
    used = pd.read_csv(tmp_path / "figure5" / "figure5_synthetic_disjoint_70_mamol.csv")
    assert set(used["layer"]) == set(range(6, 12))


@pytest.mark.usefixtures("figures")
def test_figure4a_tests_at_the_rate_of_the_training(tables: Path, tmp_path: Path, in_process: InProcess) -> None:
    result = reproduce(tables, tmp_path, "figure4a", "methods=mamol", "rates=[0.3,0.7]")
    assert result.returncode == 0, result.stderr
    assert len(in_process.done) == 2, "nothing else is trained"
    content = pd.read_csv(tmp_path / "figure4a" / "figure4a_synthetic_disjoint.csv")
    assert content[["trained", "tested", "ratio"]].to_numpy().tolist() == [["both", "both", 0.3], ["both", "both", 0.7]]
    for job in (tmp_path / "runs" / "jobs").glob("*_seed0.json"):
        ran = json.loads(job.read_text())
        tested = json.loads((job.parent.parent / job.stem / "metrics.json").read_text())["test"]["OA"]
        assert content.loc[content["ratio"] == ran["missing_ratio"], "OA"].item() == pytest.approx(tested)
    assert (tmp_path / "figure4a" / "figure4a_synthetic_disjoint.png").stat().st_size > 5000
    assert reproduce(tables, tmp_path, "table5", "methods=mamol", "rates=0.7").returncode == 0
    assert len(in_process.done) == 2, "Table 5 has the same run"


def test_table4_as_it_is_labelled_is_one_command(
    tables: Path, tmp_path: Path, vilt: Path, in_process: InProcess
) -> None:
    methods = "methods=moe_rep_vilt,moe_ada_vilt,moe_task_vilt,mamol_dyn"
    result = reproduce(tables, tmp_path, "table4", methods, f"vilt_weights={vilt}")
    assert result.returncode == 0, result.stderr
    content = pd.read_csv(tmp_path / "table4" / "table4.csv").set_index(["method", "layers"])
    assert content["OA"].between(0, 100).all()
    assert content.loc[("moe_task_vilt", "first6x2"), "reported_OA"] == 96.44
    assert content["stand_in"].str.contains("a ViLT of hidden_size 32").all()
    ran = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/config.json")]
    towers = {(run["method"], run["backbone"], run["fusion"], Path(run["clip_weights"]).name) for run in ran}
    assert towers == {
        *((method, "vilt", "single_stream", vilt.name) for method in ("moe_rep", "moe_ada", "moe_task")),
        ("mamol", "tiny", "late", "openai"),
    }


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Here and in every process started: sums in another order differ in the last digits."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread", "tiny")
def test_a_killed_command_goes_on_to_the_same_table(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed really, with the run it has started, once that has written an epoch; continued in another process."""
    options = [*TWO, "methods=mamol", "max_epoch=8", "limit_batches=3"]
    with monkeypatch.context() as patch:
        patch.setattr("mamol.experiments.reproduce.command.launcher_named", lambda name, **options: InProcess())
        whole = reproduce(tables, tmp_path / "whole", *options)
    budget = [*QUICK, "seeds=1", "datasets=synthetic", f"data_root={tables}", f"log_dir={tmp_path / 'part'}"]
    runs = tmp_path / "part" / "runs"
    killed(
        lambda: list(runs.glob("*/checkpoints/last.ckpt")) and list(runs.glob("*/history.csv")),
        "reproduce", "with", *budget, *options,
    )  # fmt: skip
    assert not list(runs.glob("*/metrics.json"))
    assert not (tmp_path / "part" / "table5").exists()
    again = reproduce(tables, tmp_path / "part", *options)
    assert again.returncode == 0, again.stderr
    for name in ("table5.md", "table5.csv", "table5.tex"):
        one, other = (tmp_path / part / "table5" / name for part in ("whole", "part"))
        assert one.read_text() == other.read_text()
    assert whole.stdout.replace("whole", "part") == again.stdout
    (history,) = runs.glob("*/history.csv")
    assert pd.read_csv(history)["epoch"].tolist() == list(range(8))
    assert "last.ckpt" in next(runs.glob("jobs/*.json")).read_text()
