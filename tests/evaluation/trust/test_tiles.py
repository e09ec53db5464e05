"""A network that classifies every pixel, calibrated on tiles: no class of its maps changes, blended ones neither."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mamol
from mamol.core.settings import Settings
from mamol.evaluation.predict import predict
from mamol.evaluation.trained import open_trained
from mamol.evaluation.trust.said import PIXELS, said_of
from mamol.training.calibrations import calibration_path, read_calibration
from tests.placed import contents, settings_of

QUIET: dict[str, Any] = {"num_gpus": 0, "progress_bar": False, "threads": 1}


@pytest.fixture(scope="module")
def tables(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> mamol.Tables:
    """Tiles of 8 × 8 pixels."""
    out = tmp_path_factory.mktemp("tiles")
    given = {"task": "segmentation", "tile": 8, "layout": "scene", "modalities": "lidar,sar"}
    return mamol.build_tables(scene_folder, out=out, dataset="synthetic", **given)


@pytest.fixture(scope="module")
def run(tables: mamol.Tables, tmp_path_factory: pytest.TempPathFactory) -> mamol.Run:
    """Trained for a moment, and calibrated."""
    options = {**QUIET, "network": "unet", "max_epoch": 2, "batch_size": 4, "per_gpu_batchsize": 4}
    made = mamol.train(tables, log_dir=tmp_path_factory.mktemp("runs"), **options)
    mamol.calibrate(made.checkpoint, coverage=0.8, **QUIET)
    return made


def test_a_dense_map_keeps_its_classes(run: mamol.Run, tables: mamol.Tables, scene_folder: Path) -> None:
    """Windows are blended before anything is tempered; by what saw the pixel."""
    assert run.folder is not None
    plain, again = (mamol.load(run.folder, calibrated=each, **QUIET) for each in (False, True))
    before, after = (each.map(scene_folder, stride=3) for each in (plain, again))
    content = read_calibration(calibration_path(run.checkpoint))
    assert content["unit"] == "tile"
    assert content["common"]["units"] < content["common"]["samples"]
    assert np.array_equal(before.classes, after.classes)
    assert not np.allclose(before.confidence, after.confidence, atol=1e-3)
    assert after.set_size is not None
    assert before.set_size is None
    unsure = again.map(scene_folder, stride=3, abstain=0.01)
    assert set(np.unique(unsure.classes)) <= {*np.unique(after.classes), 255}
    scores = [each.evaluate(tables, ratios=[0.5], types=["both"]) for each in (plain, again)]
    assert scores[0].equals(scores[1])


def test_calibrated_maps_in_blocks_have_equal_bits(run: mamol.Run, corner_folder: Path, no_pictures: None) -> None:
    """With undecided pixels and sizes of sets, too."""
    assert run.folder is not None
    files = {}
    for block in (2, 8):
        predict(settings_of(run.folder, corner_folder, stride=2, block=block, abstain=0.3))
        files[block] = contents(run.folder / "maps")
    assert files[2] == files[8]
    assert any(name.endswith("_set_size.npy") for name in files[2])


def test_pixels_of_tiles_are_those_that_the_pattern_saw(
    run: mamol.Run, tables: mamol.Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most so many of a tile, equal ones whenever asked; every one labelled."""
    given = {"load_path": str(run.folder), "data_root": str(tables.folder), **QUIET, "calibrated": False}
    trained = open_trained(Settings.of(given), "evaluate")
    table: Any = trained.data.tables["val"]
    every = said_of(trained, "val")
    assert [each.name for each in every] == ["lidar+sar", "lidar", "sar"]
    labelled = [(tile >= 0).sum() for tile in table.label]
    assert max(labelled) < PIXELS
    assert all(len(each.label) == sum(labelled) for each in every)
    monkeypatch.setattr("mamol.evaluation.trust.said.PIXELS", 10)
    few, again = said_of(trained, "val"), said_of(trained, "val")
    assert np.bincount(few[0].unit).tolist() == [min(10, int(count)) for count in labelled]
    assert np.array_equal(few[0].probabilities, again[0].probabilities)
    assert few[0].weight.sum() == pytest.approx(few[0].units)
