"""Copies of runs, and the file of a calibration in one."""

import shutil
from pathlib import Path
from typing import Any

QUIET: dict[str, Any] = {"num_gpus": 0, "progress_bar": False}


def copied(run_folder: Path, folder: Path) -> Path:
    """A copy of a run, so that nobody else sees what is written to it."""
    shutil.copytree(run_folder, folder)
    return folder


def file_of(run_folder: Path) -> Path:
    """The calibration beside the only checkpoint that has one."""
    (found,) = (run_folder / "checkpoints").glob("*.calibration.json")
    return found
