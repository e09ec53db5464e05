"""Commands that write, killed at any change of a file: what was there is whole, and the same command ends as ever.

A training goes on by ``resume_from=`` its last.ckpt where there is one; all others by the same command again.
"""

import hashlib
import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import mamol
from mamol.evaluation.predictions import read_predictions
from tests.faults.kills import changes_of, killed_at
from tests.lines import QUICK, Finished, run, tables

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOMENTS = 20
NOT_COMPARED = ("seconds", "seal")
"""Of JSON: times, and the checksums over them."""


@dataclass(frozen=True)
class Case:
    """A command to be killed.

    Attributes:
        work: Runs it in a folder; called again, it goes on.
        results: What of the folder counts in the end.
    """

    work: Callable[[Path], None]
    results: Callable[[Path], object]


def succeed(done: Finished) -> None:
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])


def bits(folder: Path, *patterns: str) -> dict[str, str]:
    """Name to sha256 of files."""
    found = [path for pattern in patterns for path in sorted(folder.rglob(pattern))]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def plain(path: Path) -> dict[str, Any]:
    """A file of JSON without what differs from run to run."""
    content: dict[str, Any] = json.loads(path.read_text())
    return {key: value for key, value in content.items() if key not in NOT_COMPARED}


def of_run(folder: Path) -> object:
    """Scores, predictions and weights of the finished run."""
    (metrics,) = folder.glob("killed_seed0*/metrics.json")
    (best,) = (metrics.parent / "checkpoints").glob("best*.safetensors")
    weights = {name: value.numpy().tobytes() for name, value in load_file(best).items()}
    return plain(metrics), read_predictions(metrics.parent).to_json(), weights


def train(table: Path, folder: Path) -> None:
    """Goes on where there is something to go on from."""
    last = sorted(folder.glob("killed_seed0*/checkpoints/last.ckpt"))
    if any((path.parent.parent / "metrics.json").is_file() for path in last):
        return
    given = (*QUICK, "threads=1", f"data_root={table}", f"log_dir={folder}", "exp_name=killed", "max_epoch=2")
    succeed(run("with", "remote", *given, *([f"resume_from={last[0]}"] if last else [])))


def copied(source: Path, target: Path) -> Path:
    """A run's folder, whose copy a command may write to."""
    if not target.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("maps", "evaluation", "tensorboard"))
    return target


def cases(scene: Path, corner: Path, table: Path, finished: Path) -> dict[str, Case]:
    """Command to what is done and compared."""
    sizes = ("--patch-size", 4, "--train-per-class", 4, "--val-per-class", 2, "--test-per-class", 3)
    build = ("--dataset", "synthetic", "--root", scene, *sizes)
    quick = (*QUICK, "threads=1")

    def test_only(folder: Path) -> None:
        shutil.rmtree(folder / "again_seed0", ignore_errors=True)
        given = (f"data_root={table}", f"load_path={finished}", f"log_dir={folder}", "exp_name=again")
        succeed(run("with", "remote", *quick, *given, "test_only=True"))

    def save(folder: Path) -> None:
        mamol.load(finished, num_gpus=0).save(folder / "adapter")

    def on_run(command: str, *given: str) -> Callable[[Path], None]:
        return lambda folder: succeed(run(command, "with", *quick, f"load_path={folder / 'run'}", *given))

    prune = on_run("prune", f"data_root={table}", "keep=hsi,lidar", "tau=1.1")
    grid = (f"data_root={table}", "evaluate_ratios=[0.0,0.5]", "evaluate_types=[both]")
    return {
        "make_arrow patches": Case(
            lambda folder: succeed(tables(*build, "--out", folder / "out")), lambda folder: bits(folder, "*.arrow")
        ),
        "make_arrow scene": Case(
            lambda folder: succeed(tables(*build, "--out", folder / "out", "--layout", "scene")),
            lambda folder: bits(folder, "*.arrow"),
        ),
        "train": Case(lambda folder: train(table, folder), of_run),
        "test_only": Case(
            test_only, lambda folder: plain(folder / "again_seed0" / "metrics.json") | bits(folder, "*.parquet")
        ),
        "evaluate": Case(on_run("evaluate", *grid), lambda folder: bits(folder / "run" / "evaluation", "*.csv")),
        "routing": Case(
            on_run("routing", f"data_root={table}"), lambda folder: bits(folder / "run" / "routing", "*.csv")
        ),
        "prune": Case(
            lambda folder: None if (folder / "run" / "pruned").is_dir() else prune(folder),
            lambda folder: bits(folder / "run" / "pruned", "*.csv", "*.safetensors"),
        ),
        "save": Case(
            lambda folder: None if (folder / "adapter").is_dir() else save(folder),
            lambda folder: bits(folder, "adapter/*"),
        ),
        "predict": Case(
            on_run("predict", f"scene={corner}", "block=4", "batch=8"),
            lambda folder: bits(folder / "run" / "maps", "*.tif", "*.npy", "*.csv"),
        ),
    }


@pytest.mark.parametrize(
    "name",
    ["make_arrow patches", "make_arrow scene", "train", "test_only", "evaluate", "routing", "prune", "save", "predict"],
)
def test_a_killed_command_goes_on_to_the_same_end(
    name: str,
    scene_folder: Path,
    corner_folder: Path,
    table_folder: Path,
    finished_run: Path,
    tmp_path: Path,
    share: float,
    no_pictures: None,
) -> None:
    case = cases(scene_folder, corner_folder, table_folder, finished_run)[name]

    def begin(folder: Path) -> Path:
        folder.mkdir()
        if name in ("evaluate", "routing", "prune", "predict"):
            copied(finished_run, folder / "run")
        return folder

    whole = begin(tmp_path / "whole")
    count = changes_of(whole, lambda: case.work(whole))
    wanted = case.results(whole)
    assert wanted
    moments = min(count, max(2, round(MOMENTS * share)))
    for number in range(moments):
        moment = round((count - 1) * (number + 0.5) / moments)
        folder = begin(tmp_path / str(number))
        sign = SIGNALS[number % len(SIGNALS)]
        killed = killed_at(moment, sign, folder, lambda: case.work(folder))  # noqa: B023 - done at once
        # Lightning answers SIGTERM between two steps, and so a training that is at its end may end as ever.
        assert killed or sign == signal.SIGTERM, (moment, count)
        assert not killed_at(None, sign, folder, lambda: case.work(folder)), (moment, count)  # noqa: B023
        assert case.results(folder) == wanted, (moment, count, sign)
        litter = [path for path in folder.rglob(".*") if path.name != ".complexity"]
        assert not litter, (moment, count, sign)
        shutil.rmtree(folder)
