"""A network that classifies every pixel, calibrated on tiles: no class of its maps changes, blended ones neither."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mamol
from mamol.core.settings import Settings
from mamol.evaluation.trained import open_trained
from mamol.evaluation.trust.said import PIXELS, said_of
from mamol.training.calibrations import calibration_path, read_calibration

QUIET: dict[str, Any] = {"num_gpus": 0, "progress_bar": False, "threads": 1}


@pytest.fixture(scope="module")
def tables(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> mamol.Tables:
    """Tiles of 8 × 8 pixels."""
    out = tmp_path_factory.mktemp("tiles")
    given = {"task": "segmentation", "tile": 8, "layout": "scene", "modalities": "lidar,sar"}
    return mamol.build_tables(scene_folder, out=out, dataset="synthetic", **given)


@pytest.fixture(scope="module")
def run(tables: mamol.Tables, tmp_path_factory: pytest.TempPathFactory) -> mamol.Run:
    """Trained for a moment."""
    options = {**QUIET, "network": "unet", "max_epoch": 2, "batch_size": 4, "per_gpu_batchsize": 4}
    return mamol.train(tables, log_dir=tmp_path_factory.mktemp("runs"), **options)


def test_a_dense_map_keeps_its_classes(run: mamol.Run, tables: mamol.Tables, scene_folder: Path) -> None:
    """Windows are blended before anything is tempered; by what saw the pixel."""
    assert run.folder is not None
    before = run.map(scene_folder, stride=3)
    mamol.calibrate(run.folder, coverage=0.8, **QUIET)
    content = read_calibration(calibration_path(run.checkpoint))
    assert content["unit"] == "tile"
    assert content["common"]["units"] < content["common"]["samples"]
    again = mamol.load(run.folder, **QUIET)
    after = again.map(scene_folder, stride=3)
    assert np.array_equal(before.classes, after.classes)
    assert not np.allclose(before.confidence, after.confidence, atol=1e-3)
    assert after.set_size is not None
    assert before.set_size is None
    unsure = again.map(scene_folder, stride=3, abstain=0.01)
    assert set(np.unique(unsure.classes)) <= {*np.unique(after.classes), 255}
    scores = [each.evaluate(tables, ratios=[0.5], types=["both"]) for each in (run, again)]
    assert scores[0].equals(scores[1])


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
