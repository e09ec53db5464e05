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
