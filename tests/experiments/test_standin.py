"""The stand-in comparison: what is tested, that it can be stopped, and that nobody takes it for more than it is."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import make_arrow
from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.data.missing import draw
from mamol.data.tables import open_tables
from mamol.experiments.reproduce.plan import Source
from mamol.experiments.standin import PAGE, conditions
from mamol.experiments.standin_page import UNEVEN, page
from mamol.launch.job import Job, Outcome
from tests.data.imagetext.trees import mmimdb_tree
from tests.experiments.conftest import InProcess, use
from tests.lines import QUICK, Finished, run, trained
from tests.pages import tables as rows_of

SHORT = ("max_epoch=1", "precision=32", "limit_batches=None")
METHOD_NAMES = ("baseline", "linear_probe")
BOTH = f"methods={','.join(METHOD_NAMES)}"
CONDITIONS = {
    "both, 70 %": ("both", 0.7),
    "no hsi": ("hsi", 1.0),
    "no lidar": ("lidar", 1.0),
    "no sar": ("sar", 1.0),
    "complete": ("both", 0.0),
}


class Stopping(InProcess):
    """Is stopped behind the first job, as a command that is killed."""

    def outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        yield from super().outcomes(jobs[:1])
        raise MamolError("stopped")


def compare(table: Path, log_dir: Path, *arguments: str) -> Finished:
    given = [f"data_root={table.parent}", f"datasets={table.name}", f"log_dir={log_dir}", f"methods={METHOD_NAMES[0]}"]
    return run("standin", "with", "standin", *QUICK, *SHORT, *given, "seeds=1", *arguments)


def runs(log_dir: Path) -> dict[str, Path]:
    """Method to the folder of its finished run."""
    found = [path.parent for path in (log_dir / "runs").glob("*/metrics.json")]
    return {json.loads((folder / "config.json").read_text("utf-8"))["method"]: folder for folder in found}


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """File to its node and its time; anything that writes one again changes them."""
    states = {str(path.relative_to(folder)): path.stat() for path in folder.rglob("*") if path.is_file()}
    return {name: (state.st_ino, state.st_mtime_ns) for name, state in states.items()}


def grid(folder: Path) -> pd.DataFrame:
    """The scores of all test samples, by missing type and rate."""
    cells = pd.read_csv(folder / "evaluation" / "grid.csv")
    return cells[cells["present"] == "all"].set_index(["type", "ratio"])


def rows(log_dir: Path) -> dict[str, dict[str, str]]:
    """Method to its row on the page."""
    return {row["method"]: row for row in rows_of((log_dir / PAGE).read_text("utf-8"))}


@pytest.fixture(scope="module")
def compared(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that was stopped behind the first of two methods, and then continued."""
    log_dir = tmp_path_factory.mktemp("standin")
    name = table_folder.name
    with pytest.MonkeyPatch.context() as patch:
        use(Stopping(), patch)
        stopped = compare(table_folder, log_dir, BOTH)
        assert stopped.returncode == 1
        assert stopped.stderr == "error: stopped\n"
        assert list(runs(log_dir)) == [METHOD_NAMES[0]]
        assert not (log_dir / PAGE).exists()
        before = written(runs(log_dir)[METHOD_NAMES[0]])
        launcher = InProcess()
        use(launcher, patch)
        so_far = compare(table_folder, log_dir, BOTH, "dry_run=True")
        assert so_far.stdout.endswith(f"## Missing runs\n\n{UNEVEN}\n\n- {name}, seed 0: linear_probe\n")
        assert launcher.done == []
        continued = compare(table_folder, log_dir, BOTH)
        assert continued.returncode == 0, continued.stderr
        assert launcher.done == [f"linear_probe on {name}, seed 0"]
    assert written(runs(log_dir)[METHOD_NAMES[0]]) == before
    return log_dir


def test_a_stopped_comparison_goes_on_with_what_is_left(compared: Path) -> None:
    shown, done = rows(compared), runs(compared)
    assert set(shown) == set(done) == set(METHOD_NAMES)
    for method, row in shown.items():
        tested = grid(done[method])["OA"]
        assert row["seeds"] == "1"
        assert {name: f"{tested[place]:.2f}" for name, place in CONDITIONS.items()}.items() <= row.items()


def test_runs_lie_where_those_of_the_papers_tables_do(compared: Path) -> None:
    for folder in runs(compared).values():
        assert folder.parent == compared / "runs"
        assert re.fullmatch(r"[0-9a-f]{16}_seed0", folder.name)
        assert len(list((folder / "checkpoints").glob("best*"))) == 1


def test_the_drawn_condition_is_the_test_of_a_run(compared: Path, table_folder: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path, f"data_root={table_folder}", "method=baseline", *SHORT)
    usual = json.loads((folder / "metrics.json").read_text("utf-8"))["test"]
    kept = grid(runs(compared)["baseline"])
    row = rows(compared)["baseline"]
    assert set(row) == {"method", "trainable", "seeds", *CONDITIONS}
    for name in ("OA", "AA", "kappa"):
        assert kept.loc[("both", 0.7), name] == pytest.approx(usual[name], abs=1e-9)
    assert row["both, 70 %"] == f"{usual['OA']:.2f}"


def test_the_page_says_what_it_is(compared: Path) -> None:
    text = (compared / PAGE).read_text("utf-8")
    assert "**Stand-in: tiny backbone with random frozen weights" in text
    assert "says nothing about the paper's numbers" in text
    assert "python run.py standin with standin" in text
    assert re.search(r"Budget: median \d+ s a run", text)
    assert (
        "6 training steps; 6 classes (chance: 16.7 %), hsi 48, lidar 1, sar 2 bands, 48 train, 24 val, 36 test" in text
    )
    assert "Missing runs" not in text


def test_results_of_other_options_are_not_mixed_in(
    compared: Path, table_folder: Path, tmp_path: Path, in_process: InProcess
) -> None:
    log_dir = tmp_path / "copy"
    shutil.copytree(compared, log_dir)
    page_before, runs_before = (log_dir / PAGE).read_bytes(), written(log_dir / "runs")
    folders = set(runs(log_dir).values())
    other = compare(table_folder, log_dir, "learning_rate=0.5")
    assert other.returncode == 0, other.stderr
    assert in_process.done == [f"baseline on {table_folder.name}, seed 0"], "not taken from the run with another rate"
    now = written(log_dir / "runs")
    assert {name: now[name] for name in runs_before} == runs_before
    (new,) = {path.parent for path in (log_dir / "runs").glob("*/metrics.json")} - folders
    (row,) = rows(log_dir).values()
    assert row["both, 70 %"] == f"{grid(new).loc[('both', 0.7), 'OA']:.2f}"
    assert "learning rate 0.5" in (log_dir / PAGE).read_text("utf-8")
    left = compare(table_folder, log_dir, BOTH, "learning_rate=0.5", "dry_run=True")
    assert left.stdout.endswith(f"- {table_folder.name}, seed 0: linear_probe\n")
    assert compare(table_folder, log_dir, BOTH).returncode == 0
    assert len(in_process.done) == 1, "those of before are still there"
    assert (log_dir / PAGE).read_bytes() == page_before


def test_a_failed_run_does_not_stop_the_others(
    table_folder: Path, tmp_path: Path, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(self: InProcess, job: Job, command: str, options: dict) -> str:
        return "no luck" if job.config["method"] == METHOD_NAMES[0] else done(self, job, command, options)

    done = InProcess._error
    name = table_folder.name
    monkeypatch.setattr(InProcess, "_error", error)
    failed = compare(table_folder, tmp_path, BOTH)
    assert failed.returncode == 1
    assert failed.stderr == (
        f"error: 1 of 2 runs failed, the first: baseline on {name}, seed 0: no luck; the page of the others is "
        f"{tmp_path / PAGE}; the same command tries them again\n"
    )
    assert set(rows(tmp_path)) == {METHOD_NAMES[1]}
    assert (tmp_path / PAGE).read_text("utf-8").endswith(f"- {name}, seed 0: baseline\n")
    monkeypatch.setattr(InProcess, "_error", done)
    assert compare(table_folder, tmp_path, BOTH).returncode == 0
    assert in_process.done[2:] == [f"baseline on {name}, seed 0"]
    assert set(rows(tmp_path)) == set(METHOD_NAMES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["datasets="], r"standin needs data_root=<folder> and datasets=<folders"),
        (["methods=mamol,vit"], "methods=mamol,vit: unknown vit; mamol, released, baseline"),
        (["modalities=hsi"], "has one modality; standin needs at least 2"),
        (["modalities=hsi,ms"], "modalities=hsi,ms: datasets=.* has only hsi, lidar, sar"),
        (["datasets=nowhere"], "nowhere"),
        (["learning_rate=0"], "learning_rate=0 must be a number above 0"),
        (["launcher=ssh"], "launcher='ssh' must be one of local, ray, slurm"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    arguments: list[str], message: str, table_folder: Path, tmp_path: Path, in_process: InProcess
) -> None:
    told = compare(table_folder, tmp_path / "out", *arguments)
    assert told.returncode == 1
    assert re.search(message, told.stderr)
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert in_process.done == []


def test_images_and_texts_are_refused(tmp_path: Path, in_process: InProcess) -> None:
    mmimdb_tree(tmp_path / "raw", 20, seed=0)
    movies = tmp_path / "data" / "mmimdb"
    assert make_arrow.main(["--dataset", "mmimdb", "--root", str(tmp_path / "raw"), "--out", str(movies)]) == 0
    told = compare(movies, tmp_path / "out")
    assert told.stderr == ("error: datasets=mmimdb holds no scene, and this command is for scenes; train with run.py\n")
    assert not (tmp_path / "out").exists()
    assert in_process.done == []


def test_conditions() -> None:
    tested = conditions(Settings(), ("hsi", "lidar"))
    assert tested == {name: place for name, place in CONDITIONS.items() if name != "no sar"}
    masks = {
        name: draw(10, ("hsi", "lidar"), ratio=ratio, kind=kind, seed=0, fingerprint="f").tolist()
        for name, (kind, ratio) in tested.items()
    }
    assert np.sum(masks["both, 70 %"]) == 13
    assert masks["no hsi"] == [[False, True]] * 10
    assert masks["no lidar"] == [[True, False]] * 10
    assert masks["complete"] == [[True, True]] * 10


def test_mean_spread_and_missing_runs(table_folder: Path) -> None:
    settings = Settings.of({"datasets": "a", "seeds": 2, "methods": "mamol,dcp"})
    one = {"dataset": "a", "method": "mamol", "trainable": 1234, "seconds": 20.0}
    results = [{**one, "seed": seed, "tests": {"complete": oa}} for seed, oa in enumerate((50.0, 52.0))]
    info = open_tables(table_folder)["train"].info
    sources = [Source("a", table_folder, info, info.names, "f")]
    text = page(settings, sources, results)
    (row,) = rows_of(text)
    assert row == {"method": "mamol", "trainable": "1,234", "seeds": "2", "complete": "51.00 ± 1.41"}
    assert text.endswith("- a, seed 0: dcp\n- a, seed 1: dcp")
    nothing = page(settings, sources, [])
    assert "No run is finished." in nothing
    assert nothing.endswith("- a, seed 0: mamol, dcp\n- a, seed 1: mamol, dcp")
