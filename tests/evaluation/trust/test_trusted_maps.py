"""Maps of a calibrated run: classes stay, sizes of sets are there, unsure pixels stay undecided."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
from scipy.io import loadmat

import mamol
from mamol.core.seal import read_sealed_json, write_sealed_json
from mamol.evaluation.predict import predict
from tests.calibrated import QUIET, copied, file_of
from tests.placed import settings_of

FILES = {"hsi": "HSI", "lidar": "LiDAR", "sar": "SAR"}


def test_maps_keep_their_classes_and_say_the_sizes_of_sets(
    calibrated: tuple[Path, str], plain: Path, corner_folder: Path, no_pictures: None
) -> None:
    for folder in (plain, calibrated[0]):
        predict(settings_of(folder, corner_folder))
    before, after = (folder / "maps" / "synthetic_hsi+lidar+sar" for folder in (plain, calibrated[0]))
    assert np.array_equal(np.load(f"{before}.npy"), np.load(f"{after}.npy"))
    assert not np.allclose(np.load(f"{before}_confidence.npy"), np.load(f"{after}_confidence.npy"), atol=1e-3)
    assert not Path(f"{before}_set_size.npy").exists()
    sizes = np.load(f"{after}_set_size.npy")
    assert sizes.dtype == np.uint8
    assert 1 <= sizes.min() <= sizes.max() <= 6
    assert loadmat(f"{after}.mat")["set_size"].tolist() == sizes.tolist()


def test_unsure_pixels_stay_undecided(
    calibrated: tuple[Path, str], corner_folder: Path, no_pictures: None, caplog: pytest.LogCaptureFixture
) -> None:
    """All that are sure enough have their class; the share of the others is told by what saw them."""
    folder = calibrated[0]
    own = copied(folder, folder.parent / "abstaining")
    predict(settings_of(own, corner_folder, present="hsi+sar"))
    name = own / "maps" / "synthetic_hsi+sar"
    decided, confidence = np.load(f"{name}.npy"), np.load(f"{name}_confidence.npy")
    enough = float(np.median(confidence))
    whole = read_sealed_json(file_of(folder), "")
    curve = {"confidence": [0.99, enough, 0.0], "share": [0.1, 0.6, 1.0], "risk": [0.0, 0.2, 0.5]}
    changed = {**whole, "patterns": {**whole["patterns"]}}
    changed["patterns"]["hsi+sar"] = {**whole["patterns"]["hsi+sar"], "curve": curve}
    write_sealed_json(file_of(own), changed)
    with caplog.at_level("INFO"):
        predict(settings_of(own, corner_folder, present="hsi+sar", abstain=0.3))
    found = np.load(f"{name}.npy")
    sure = confidence >= enough
    assert 0 < sure.sum() < sure.size
    assert np.array_equal(found, np.where(sure, decided, 255))
    shares = pd.read_csv(f"{name}_undecided.csv")
    assert shares.values.tolist() == [["hsi+sar", 80, (~sure).sum(), round(100 * (~sure).mean(), 2)]]
    assert f"left undecided: hsi+sar {100 * (~sure).mean():.1f} %" in caplog.text
    areas = pd.read_csv(f"{name}.csv").set_index("code")
    assert areas.loc[255, "pixels"] == (~sure).sum()
    assert areas["pixels"].sum() == 80


def test_rasters_of_sets_and_of_undecided_pixels(calibrated: tuple[Path, str], scene_folder: Path) -> None:
    """As arrays in memory have them; the picture has a colour for what is undecided."""
    rasters = {name: loadmat(scene_folder / f"{file}.mat") for name, file in FILES.items()}
    arrays = {name: next(v for k, v in each.items() if k[0] != "_")[:8, :10] for name, each in rasters.items()}
    place = {"crs": "EPSG:32632", "transform": (10, 0, 5e5, 0, -10, 5.2e6)}
    drawn = mamol.load(calibrated[0], **QUIET).map(arrays, abstain=0.01, **place)
    assert drawn.undecided == 255
    written = drawn.save_all(calibrated[0] / "rasters", "map")
    names = {path.name for path in written}
    assert {"map_set_size.tif", "map_undecided.csv", "map.png"} <= names
    with rasterio.open(calibrated[0] / "rasters" / "map_set_size.tif") as file:
        assert np.array_equal(file.read(1), drawn.set_size)
        assert file.tags()["COVERAGE"] == "0.8"
    with rasterio.open(calibrated[0] / "rasters" / "map.tif") as file:
        assert np.array_equal(file.read(1), drawn.classes)
        assert file.tags()["CLASS_255"] == "undecided"
        assert file.colormap(1)[255] == (224, 224, 224, 255)
