"""How much is tried: a part with all tests, the whole with ``make faults``; and what the commands read."""

import os
from pathlib import Path

import pytest

from tests.faults.commands import TILES, Places
from tests.lines import tables

WHOLE = os.environ.get("FAULTS") == "whole"


@pytest.fixture(scope="session")
def share() -> float:
    """Of the trials of ``make faults`` that are made."""
    return 1.0 if WHOLE else 0.02


@pytest.fixture(scope="session")
def places(
    scene_folder: Path,
    corner_folder: Path,
    table_folder: Path,
    finished_run: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Places:
    """What the commands read, which nobody changes."""
    tiles = tmp_path_factory.mktemp("tiles")
    done = tables("--dataset", "synthetic", "--root", scene_folder, "--out", tiles, *TILES)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Places(scene_folder, corner_folder, table_folder, tiles, finished_run)
