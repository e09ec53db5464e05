"""Tiny raw scenes, written when a test asks for them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from tests.shared import data_folder

BANDS = {"HSI": 5, "LiDAR": 1, "SAR": 2}


@pytest.fixture
def write_mat() -> Callable[..., Path]:
    """Writes one MATLAB 5 file of the given variables."""

    def write(path: Path, **variables: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(path, variables)
        return path

    return write


@pytest.fixture
def tiny_arrays() -> dict[str, np.ndarray]:
    """A 40×50 scene of three classes in stripes, in the README's names; the LiDAR raster is two-dimensional."""
    rng = np.random.default_rng(0)
    height, width = 40, 50
    label = np.repeat(np.arange(1, 4), [15, 20, 15])[None].repeat(height, axis=0).astype(np.uint8)
    label[rng.random((height, width)) < 0.2] = 0
    return {
        "HSI": rng.integers(0, 4000, (height, width, BANDS["HSI"])).astype(np.uint16),
        "LiDAR": rng.normal(10, 3, (height, width)).astype(np.float32),
        "SAR": rng.normal(-10, 3, (height, width, BANDS["SAR"])),
        "All_label": label,
    }


@pytest.fixture
def tiny_root(tmp_path: Path, tiny_arrays: dict[str, np.ndarray], write_mat: Callable[..., Path]) -> Path:
    """The tiny scene on disk, in the README's layout."""
    for name, array in tiny_arrays.items():
        write_mat(tmp_path / "raw" / f"{name}.mat", **{name: array})
    return tmp_path / "raw"


@pytest.fixture
def shared_data() -> Path:
    """The folder with real scenes; skips where there is none."""
    return data_folder()
