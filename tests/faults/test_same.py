"""The same masks and predictions, wherever they are made, by however many processes and workers, in either layout.

Workers, layouts and launchers change no bit. Processes add gradients in another order, so that weights differ by
rounding; how far that goes after two epochs is bounded here.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mamol.evaluation.predictions import PROBABILITY, read_predictions
from mamol.evaluation.results import read_metrics
from tests.faults.commands import Places, mapped, reproduced
from tests.faults.conftest import WHOLE
from tests.lines import QUICK, process, run, tables, trained

ROUNDING = 2e-3
"""Largest difference of a probability between one process and several."""

LAUNCHERS = [
    pytest.param("local", marks=pytest.mark.skipif(not WHOLE, reason="takes half a minute; make faults does it")),
    *(
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                find_spec(package) is None, reason=f"{package} is an extra: pip install -r requirements-{name}.txt"
            ),
        )
        for name, package in (("ray", "ray"), ("slurm", "submitit"))
    ),
]


@pytest.fixture(scope="module")
def alone(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process without workers."""
    return trained(tmp_path_factory.mktemp("alone"), f"data_root={table_folder}", "max_epoch=2", "threads=1")


def same(one: Path, other: Path, within: float) -> None:
    first, second = read_predictions(one), read_predictions(other)
    for column in ("index", "row", "col", "label", "pattern"):
        assert first[column].tolist() == second[column].tolist(), column
    names = [name for name in first if name.startswith(PROBABILITY)]
    difference = np.abs(first[names].to_numpy() - second[names].to_numpy()).max()
    assert difference <= within


def test_workers_change_no_bit(alone: Path, table_folder: Path, tmp_path: Path) -> None:
    given = (f"data_root={table_folder}", "max_epoch=2", "threads=1", "num_workers=2")
    same(alone, trained(tmp_path, *given), within=0)


def test_the_layout_changes_no_bit(alone: Path, scene_folder: Path, tmp_path: Path) -> None:
    sizes = ("--patch-size", 4, "--train-per-class", 8, "--val-per-class", 4, "--test-per-class", 6)
    where = ("--dataset", "synthetic", "--root", scene_folder, "--out", tmp_path / "table", "--layout", "scene")
    assert tables(*where, *sizes).returncode == 0
    same(alone, trained(tmp_path, f"data_root={tmp_path / 'table'}", "max_epoch=2", "threads=1"), within=0)


@pytest.mark.skipif(not WHOLE, reason="two processes do what one does in tests/commands; make faults tries four")
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_differ_by_rounding_alone(processes: int, alone: Path, table_folder: Path, tmp_path: Path) -> None:
    quick = [option for option in QUICK if not option.startswith("per_gpu_batchsize")]
    sizes = (f"cpu_processes={processes}", f"per_gpu_batchsize={8 // processes}", "threads=1", "max_epoch=2")
    given = (f"data_root={table_folder}", f"log_dir={tmp_path}", "exp_name=several", *sizes)
    done = process("run.py", "with", "remote", *quick, *given)
    assert done.returncode == 0, done.stderr[-1500:]
    same(alone, tmp_path / "several_seed0", within=ROUNDING)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_changes_no_bit_of_a_run(
    launcher: str, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its options are written down for its process; with the same ones it is done again in this process."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    case = reproduced(places, f"launcher={launcher}")
    case.begin(tmp_path)
    case.work(tmp_path)
    runs = tmp_path / "log" / "runs"
    (options,) = runs.glob("jobs/*_seed0.json")
    assert run("with", options, f"log_dir={tmp_path / 'here'}").returncode == 0
    (there,), (here,) = (folder.glob("*_seed0") for folder in (runs, tmp_path / "here"))
    same(here, there, within=0)
    assert read_metrics(here)["missing"] == read_metrics(there)["missing"]
    first, second = (load_file(next(folder.glob("checkpoints/best*"))) for folder in (here, there))
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_launcher_changes_no_bit_of_a_map(
    launcher: str, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    results = []
    for name, words in (("here", ()), ("there", (f"launcher={launcher}", "jobs=2"))):
        case = mapped(places, places.field, *words)
        case.begin(tmp_path / name)
        case.work(tmp_path / name)
        results.append(case.results(tmp_path / name))
    assert results[0] == results[1]
    assert results[0]
