"""A finished run as it is, and the same with a calibration."""

from pathlib import Path

import pytest

from tests.calibrated import copied
from tests.lines import run


@pytest.fixture(scope="session")
def plain(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as it is."""
    return copied(finished_run, tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="session")
def calibrated(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same run with a calibration, made by the command on its own table, and what was printed."""
    folder = copied(finished_run, tmp_path_factory.mktemp("calibrated") / "run")
    result = run("calibrate", "with", f"load_path={folder}", "num_gpus=0", "progress_bar=False", "coverage=0.8")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout
