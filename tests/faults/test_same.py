"""The same masks and predictions, however many processes and workers there are and whatever the layout of the table.

Workers and layouts change no bit. Processes add gradients in another order, so that weights differ by rounding; how far
that goes after two epochs is bounded here.
"""

from pathlib import Path

import numpy as np
import pytest

from mamol.evaluation.predictions import PROBABILITY, read_predictions
from tests.faults.conftest import WHOLE
from tests.lines import QUICK, process, tables, trained

ROUNDING = 2e-3
"""Largest difference of a probability between one process and several."""


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
