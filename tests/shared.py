"""Reference material that is not part of the project; tests that need it are skipped where it is not."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "shared"


def golden_file(name: str) -> Path:
    """A golden file: ``$MAMOL_GOLDEN`` or ``../shared/golden`` beside the checkout."""
    path = Path(os.environ.get("MAMOL_GOLDEN", ROOT / "golden")) / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set MAMOL_GOLDEN to the folder of golden files")
    return path


def data_folder() -> Path:
    """The folder with real scenes: ``$MAMOL_TEST_DATA`` or ``../shared/data`` beside the checkout."""
    folder = Path(os.environ.get("MAMOL_TEST_DATA", ROOT / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test scenes in {folder}; set MAMOL_TEST_DATA to the folder that has them")
    return folder
