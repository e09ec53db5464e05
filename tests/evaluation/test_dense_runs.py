"""A run whose head classifies every pixel: trained, scored at the middle pixel, mapped window by window."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mamol
from mamol.core.errors import MamolError
from mamol.data.patches import WindowCutter
from mamol.evaluation.predict import estimate, predict
from tests.api.test_library import QUICK, Arrays, labels_of
from tests.placed import contents, settings_of

DENSE: dict[str, Any] = {**QUICK, "head": "pixels", "max_epoch": 6, "missing_ratio": 0.3}


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Two sensors that see two classes, one of them under a cloud."""
    rng = np.random.default_rng(0)
    labels = labels_of()
    hsi = rng.normal(size=(24, 32, 6)).astype(np.float32) + 4 * labels[..., None]
    hsi[5:12, 8:20] = np.nan
    return {"hsi": hsi, "sar": rng.normal(size=(24, 32)) - 4 * labels}


@pytest.fixture(scope="module")
def scene(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As files."""
    folder = tmp_path_factory.mktemp("dense")
    for name, array in {**arrays, "labels": labels_of()}.items():
        np.save(folder / f"{name}.npy", array)
    text = '{"name": "Field", "modalities": {"hsi": {"file": "hsi.npy"}, "sar": {"file": "sar.npy"}}, '
    (folder / "scene.json").write_text(text + '"labels": {"file": "labels.npy"}, "classes": ["water", "crop"]}')
    return folder


@pytest.fixture(scope="module")
def tables(scene: Path) -> mamol.Tables:
    """In layout scene, so that windows can be shifted."""
    sizes = {"train_per_class": 24, "val_per_class": 8, "test_per_class": 60}
    return mamol.build_tables(scene, out=scene / "tables", layout="scene", patch_size=4, **sizes)


@pytest.fixture(scope="module")
def run(tables: mamol.Tables, tmp_path_factory: pytest.TempPathFactory) -> mamol.Run:
    """Trained for some steps."""
    return mamol.train(tables, log_dir=tmp_path_factory.mktemp("runs"), **DENSE)


def test_it_learns_and_is_scored_at_the_middle_pixel(run: mamol.Run, tables: mamol.Tables) -> None:
    """The same test pixels as of any head; what comes out there is what the library says of the windows."""
    assert run.metrics["test"]["n"] == 120
    assert run.metrics["test"]["OA"] > 85
    grid = run.evaluate(tables, ratios=[0], types=["both"])
    assert isinstance(grid, pd.DataFrame)
    assert grid["OA"].max() > 85


def test_a_map_says_at_a_window_what_the_network_says(run: mamol.Run, arrays: Arrays) -> None:
    """With stride P, away from the last windows, a pixel is in one window only."""
    drawn = run.map(arrays, stride=4)
    cutters = {n: WindowCutter(np.atleast_3d(a).astype(np.float32), 4) for n, a in arrays.items()}
    windows = {name: cutter.cut(np.array([2 + 8]), np.array([2 + 16])) for name, cutter in cutters.items()}
    (middle,) = run.predict(windows)
    assert drawn.classes[10, 18] == middle.argmax() + 1
    assert drawn.confidence[10, 18] == pytest.approx(middle.max(), rel=1e-5)
    assert drawn.sensors[8, 10] == 2  # under the cloud the second sensor alone
    assert drawn.sensors[0, 0] == 3


def test_maps_in_blocks_at_any_stride_have_equal_bits(run: mamol.Run, scene: Path, no_pictures: None) -> None:
    """And the command says how many windows it takes; smaller strides take more."""
    assert run.folder is not None
    files = {}
    for block in (4, 24):
        predict(settings_of(run.folder, scene, stride=2, block=block))
        files[block] = contents(run.folder / "maps")
    assert files[4] == files[24]
    assert "165 windows at most" in estimate(settings_of(run.folder, scene, stride=2, dry_run=True))


@pytest.mark.parametrize("stride", [0, 5])
def test_strides_that_cannot_be(stride: int, run: mamol.Run, arrays: Arrays) -> None:
    """One line."""
    with pytest.raises(MamolError, match=f"stride={stride}: expected 1 to 4, the side of the windows"):
        run.map(arrays, stride=stride)


def test_what_goes_with_a_dense_head_alone(tables: mamol.Tables, arrays: Arrays, tmp_path: Path) -> None:
    """A class token has one pixel."""
    with pytest.raises(MamolError, match="window_shift=1: goes with a head that classifies all pixels of a window"):
        mamol.train(tables, log_dir=tmp_path, **QUICK, window_shift=1)
    plain = mamol.train(tables, log_dir=tmp_path, **{**QUICK, "max_epoch": 1}, class_weight="balanced")
    with pytest.raises(MamolError, match="stride=2: goes with head=pixels; this run has head=class"):
        plain.map(arrays, stride=2)
