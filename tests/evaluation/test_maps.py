"""Maps: every pixel is classified once, and every file reads back what was written."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from scipy.io import loadmat

from mamol.core.errors import MamolError
from mamol.data.scenes import GeoReference
from mamol.data.sources import ArraySource, Source
from mamol.evaluation.blocks import Block, Predict, WindowClassifier
from mamol.evaluation.frame import Frame
from mamol.evaluation.maps import Map
from mamol.evaluation.plots import class_colours

CLASSES = ("water", "grass", "trees", "roads")
SIZE = 6


def scene(height: int, width: int) -> tuple[dict[str, Source], np.ndarray, np.ndarray]:
    """Sources of two modalities, and the class and probability that ``centre_pixel`` has to find."""
    rng = np.random.default_rng(height * 100 + width)
    truth = rng.integers(0, len(CLASSES), (height, width))
    level = rng.uniform(0.5, 0.9, (height, width)).astype(np.float32)
    rasters = {"hsi": np.eye(len(CLASSES), dtype=np.uint16)[truth], "lidar": level[..., None]}
    return {name: ArraySource(raster) for name, raster in rasters.items()}, truth, level


def centre_pixel(windows: dict[str, np.ndarray], present: np.ndarray) -> np.ndarray:
    """Probability = LiDAR's value for the class that HSI shows at the labelled pixel, the rest spread evenly."""
    assert present.all()
    assert present.shape == (len(windows["hsi"]), 2)
    shown = windows["hsi"][:, :, SIZE // 2, SIZE // 2]
    level = windows["lidar"][:, :, SIZE // 2, SIZE // 2]
    return np.where(shown > 0, level, (1 - level) / (len(CLASSES) - 1))


def classify(predict: Predict, sources: dict[str, Source], height: int, width: int, *, batch: int) -> Block:
    classifier = WindowClassifier(predict, sources, {"hsi": 0, "lidar": 1}, SIZE, len(CLASSES), batch)
    return classifier.block(Frame(0, 0, height, width), 0, height)


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), batch=st.integers(1, 100))
def test_every_pixel_gets_its_own_class_whatever_the_batch(height: int, width: int, batch: int) -> None:
    sources, truth, level = scene(height, width)
    block = classify(centre_pixel, sources, height, width, batch=batch)
    assert (block.classes.dtype, block.confidence.dtype) == (np.uint8, np.float32)
    np.testing.assert_array_equal(block.classes, truth + 1)
    np.testing.assert_array_equal(block.confidence, level)


def test_no_call_gets_more_than_a_batch_of_pixels() -> None:
    sizes = []

    def predict(windows: dict[str, np.ndarray], present: np.ndarray) -> np.ndarray:
        sizes.append(len(windows["hsi"]))
        return centre_pixel(windows, present)

    classify(predict, scene(5, 7)[0], 5, 7, batch=16)
    assert sizes == [16, 16, 3]


def test_a_probability_that_is_not_finite_is_refused_with_its_place() -> None:
    def predict(windows: dict[str, np.ndarray], present: np.ndarray) -> np.ndarray:
        probabilities = centre_pixel(windows, present)
        probabilities[windows["lidar"][:, 0, SIZE // 2, SIZE // 2] == level[2, 1]] = np.nan
        return probabilities

    sources, _, level = scene(4, 5)
    with pytest.raises(MamolError, match=r"NaN or infinite at row 2, column 1, expected finite"):
        classify(predict, sources, 4, 5, batch=3)


@pytest.fixture
def classified() -> np.ndarray:
    return (np.arange(7 * 11).reshape(7, 11) % len(CLASSES)).astype(np.int16)


@pytest.fixture
def confidence() -> np.ndarray:
    return np.random.default_rng(0).random((7, 11), dtype=np.float32)


@pytest.mark.usefixtures("figures")
def test_map_files_read_back_as_written(tmp_path: Path, classified: np.ndarray, confidence: np.ndarray) -> None:
    written = Map.of(classified, confidence, CLASSES, "synthetic").save_all(tmp_path / "maps", "hsi+lidar")
    assert [path.name for path in written] == [
        "hsi+lidar.png",
        "hsi+lidar.mat",
        "hsi+lidar.npy",
        "hsi+lidar_confidence.npy",
        "hsi+lidar.csv",
    ]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == sorted(path.name for path in written)

    assert matplotlib.image.imread(written[0]).std() > 0.1
    matlab = loadmat(written[1])
    assert matlab["classified"].dtype == np.uint8
    np.testing.assert_array_equal(matlab["classified"], classified + 1)
    np.testing.assert_array_equal(matlab["confidence"], confidence)
    assert [cell.item() for cell in matlab["classes"].ravel()] == list(CLASSES)
    array = np.load(written[2], allow_pickle=False)
    np.testing.assert_array_equal(array, classified + 1)
    np.testing.assert_array_equal(np.load(written[3], allow_pickle=False), confidence)


def test_geotiff_keeps_place_codes_colours_and_names(
    tmp_path: Path, classified: np.ndarray, confidence: np.ndarray
) -> None:
    place = GeoReference(CRS.from_epsg(32632).to_wkt(), (2.5, 0.0, 664000.0, 0.0, -2.5, 5104000.0))
    written = Map.of(classified, confidence, CLASSES, "synthetic", place).save_all(tmp_path, "map")
    names = ["png", "mat", "npy", "tif", "qml", "csv"]
    assert {path.name for path in written} == {f"map.{each}" for each in names} | {
        f"map_confidence.{each}" for each in ("npy", "tif")
    }
    assert len(list(tmp_path.iterdir())) == len(written)  # no other side-car files
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs == CRS.from_epsg(32632)
        assert tuple(file.transform)[:6] == place.transform
        assert (file.dtypes, file.nodata) == (("uint8",), 0)
        np.testing.assert_array_equal(file.read(1), classified + 1)
        table = file.colormap(1)
        assert [table[code] for code in range(1, 5)] == [(*colour, 255) for colour in class_colours(4).tolist()]
        assert [file.tags()[f"CLASS_{code}"] for code in range(1, 5)] == list(CLASSES)


def test_geotiff_without_a_coordinate_system_keeps_the_transform(tmp_path: Path, classified: np.ndarray) -> None:
    place = GeoReference("", (1.0, 0.0, 10.0, 0.0, -1.0, 20.0))
    tif = Map.of(classified, classified.astype(np.float32), CLASSES, "", place).save(tmp_path / "map.tif")
    with rasterio.open(tif) as file:
        assert file.crs is None
        assert tuple(file.transform)[:6] == place.transform


def test_more_than_255_classes_use_two_bytes(tmp_path: Path) -> None:
    classified = np.arange(300, dtype=np.int16).reshape(15, 20)
    names = [f"class {index}" for index in range(300)]
    path = Map.of(classified, classified.astype(np.float32), names, "").save(tmp_path / "many.npy")
    array = np.load(path)
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array, classified + 1)


def test_what_cannot_be_written_is_told(tmp_path: Path, classified: np.ndarray, confidence: np.ndarray) -> None:
    drawn = Map.of(classified, confidence, CLASSES, "synthetic")
    with pytest.raises(MamolError, match=r"a file of this ending cannot be written; use one of \.png, \.mat, \.npy"):
        drawn.save(tmp_path / "map.gif")
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("error")
def test_a_tiff_of_a_scene_without_a_place_has_none(
    tmp_path: Path, classified: np.ndarray, confidence: np.ndarray
) -> None:
    drawn = Map.of(classified, confidence, CLASSES, "synthetic")
    path = drawn.save(tmp_path / "map.tif")
    with pytest.warns(NotGeoreferencedWarning):
        file = rasterio.open(path)
    with file:
        np.testing.assert_array_equal(file.read(1), drawn.classes)
        assert (file.crs, file.transform.is_identity) == (None, True)
