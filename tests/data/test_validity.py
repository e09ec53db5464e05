"""What was seen and what was not: every sign that files give, and that the number standing there changes nothing."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp

from mamol.core.errors import MamolError
from mamol.data.arrays import scene_of as scene_of_arrays
from mamol.data.places import MaskPlace, files
from mamol.data.validity import equals, rejected
from tests.geotiffs import place, scene_of, unplaced, write_raster

RNG = np.random.default_rng(0)
CUBE = RNG.integers(1, 200, (12, 15, 3))
HOLE = np.zeros((12, 15), bool)
HOLE[2:6, 4:9] = True
FILE = {"file": "a.tif"}


def holed(array: np.ndarray, hole: np.ndarray = HOLE) -> np.ndarray:
    result = array.astype(np.float32)
    result[hole] = np.nan
    return result


def filled(number: float, dtype: str = "float32", bands: slice = slice(None)) -> np.ndarray:
    """The cube with a number in the hole, in some bands."""
    result = CUBE.astype(dtype)
    result[HOLE, bands] = number
    return result


def raster(root: Path, entry: dict[str, Any] = FILE, **more: Any) -> np.ndarray:
    scene = scene_of(root, {"optical": entry}, **more)
    whole = scene.rasters["optical"]
    part = scene.readers["optical"].read(slice(1, 7), slice(3, 14))
    assert part.dtype == np.float32
    np.testing.assert_array_equal(part, whole[1:7, 3:14].astype(np.float32))
    return whole


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_a_raster_without_holes_stays_as_it_is(tmp_path: Path, dtype: str, caplog: pytest.LogCaptureFixture) -> None:
    write_raster(tmp_path / "a.tif", CUBE.astype(dtype), nodata=0)
    with caplog.at_level(logging.WARNING):
        whole = raster(tmp_path)
    assert whole.dtype == dtype
    np.testing.assert_array_equal(whole, CUBE)
    assert "invalid" not in caplog.text


@pytest.mark.parametrize(
    ("tag", "number", "dtype"),
    [
        (-9999, -9999, "float32"),
        (-9999, -9999, "int16"),
        (0, 0, "uint8"),
        (0, 0, "uint16"),
        (-3.4028234663852886e38, -3.4028234663852886e38, "float32"),
        (np.nan, np.nan, "float32"),
        (None, np.nan, "float32"),
        (None, -np.inf, "float32"),
        (None, 1e39, "float64"),
        (-9999, np.nan, "float64"),
    ],
)
@pytest.mark.parametrize("bands", [slice(None), slice(1, 2)], ids=["all", "one"])
def test_nodata_nan_and_infinity_in_any_band(
    tmp_path: Path, tag: float | None, number: float, dtype: str, bands: slice, caplog: pytest.LogCaptureFixture
) -> None:
    write_raster(tmp_path / "a.tif", filled(number, dtype, bands), nodata=tag)
    with caplog.at_level(logging.WARNING):
        whole = raster(tmp_path)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole, holed(CUBE))
    assert "field: optical: 11.1 % of the pixels are invalid" in caplog.messages


@pytest.mark.parametrize("nodata", [-9999, 0, 7.5])
def test_nodata_of_the_scene_json_beside_what_the_file_says(tmp_path: Path, nodata: float) -> None:
    array = filled(nodata)
    array[0, 0] = -1
    write_raster(tmp_path / "a.tif", array, nodata=-1)
    hole = HOLE.copy()
    hole[0, 0] = True
    np.testing.assert_array_equal(raster(tmp_path, FILE | {"nodata": nodata}), holed(CUBE, hole))


def test_nodata_of_the_scene_json_holds_for_arrays_too(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", filled(-9999, "int32"))
    np.testing.assert_array_equal(raster(tmp_path, {"file": "a.npy", "nodata": -9999}), holed(CUBE))


def test_a_nodata_that_the_type_cannot_hold_is_nowhere(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", CUBE.astype(np.uint8))
    assert raster(tmp_path, FILE | {"nodata": -9999}).dtype == np.uint8
    assert equals(np.float32([3.4028235e38, 1]), 3.4028234663852886e38).tolist() == [True, False]


def test_an_inner_mask_hides_no_nodata(tmp_path: Path) -> None:
    array = CUBE.astype(np.int16)
    array[9, 9, 1] = -5
    write_raster(tmp_path / "a.tif", array, nodata=-5, mask=~HOLE)
    hole = HOLE.copy()
    hole[9, 9] = True
    np.testing.assert_array_equal(raster(tmp_path), holed(CUBE, hole))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("colours", [1, 2, 3])
def test_an_alpha_band_is_no_feature_but_says_what_is_valid(tmp_path: Path, dtype: str, colours: int) -> None:
    alpha = np.where(HOLE, 0, 255)[:, :, None]
    path = write_raster(tmp_path / "a.tif", np.concatenate([CUBE[:, :, :colours], alpha], 2).astype(dtype))
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (colours - 1) + [ColorInterp.alpha]
    np.testing.assert_array_equal(raster(tmp_path), holed(CUBE[:, :, :colours]))


def test_a_band_that_is_wrongly_tagged_as_alpha_is_read_where_bands_names_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """GDAL tags the fourth of four uint8 bands by itself."""
    four = np.concatenate([CUBE, np.where(HOLE, 0, 9)[:, :, None]], 2).astype(np.uint8)
    write_raster(tmp_path / "a.tif", four, photometric=None)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    with caplog.at_level(logging.WARNING):
        assert raster(tmp_path).shape == (12, 15, 3)
    assert "band 4 is tagged as alpha" in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(raster(tmp_path, FILE | {"bands": [1, 2, 3, 4]}), four)
    assert "alpha" not in caplog.text


def test_bands_are_chosen_and_ordered_and_only_they_count(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", filled(-9999, "int16", slice(1, 2)), nodata=-9999)
    np.testing.assert_array_equal(raster(tmp_path, FILE | {"bands": [3, 1]}), CUBE[:, :, [2, 0]])
    np.save(tmp_path / "a.npy", CUBE)
    np.testing.assert_array_equal(raster(tmp_path, {"file": "a.npy", "bands": [2]}), CUBE[:, :, [1]])
    for entry in (FILE, {"file": "a.npy"}):
        with pytest.raises(MamolError, match=r"a\.(tif|npy): bands names 4, the file has 3"):
            raster(tmp_path, entry | {"bands": [4]})


def test_scale_and_offset_come_after_nodata(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", filled(10, "uint16"))
    expected = (np.where(CUBE == 10, 11, CUBE) * 0.5 - 5).astype(np.float32)
    write_raster(tmp_path / "a.tif", np.where(HOLE[:, :, None], 10, np.where(CUBE == 10, 11, CUBE)).astype(np.uint16))
    found = raster(tmp_path, FILE | {"nodata": 10, "scale": 0.5, "offset": -5})
    np.testing.assert_array_equal(found, holed(expected))
    assert found.dtype == np.float32


SCL = np.where(HOLE, 9, 4).astype(np.uint8)
QA = np.where(HOLE, 1 << 3 | 1 << 6, 1 << 6 | 1).astype(np.uint16)


@pytest.mark.parametrize(
    ("quality", "rule"),
    [
        (SCL, {"invalid": [0, 3, 8, 9, 10]}),
        (SCL, {"valid": [4, 5, 6]}),
        (QA, {"bits": [3, 4]}),
        (SCL.astype(np.float64), {"invalid": [9]}),
    ],
)
@pytest.mark.parametrize("kind", ["tif", "npy"])
def test_a_quality_raster_says_what_is_invalid(
    tmp_path: Path, quality: np.ndarray, rule: dict[str, list[int]], kind: str
) -> None:
    write_raster(tmp_path / "a.tif", CUBE.astype(np.uint16))
    if kind == "tif":
        write_raster(tmp_path / "q.tif", quality, nodata=4)  # a tag on a quality raster means nothing: values do
    np.save(tmp_path / "q.npy", quality)
    scene_entry = FILE | {"mask": {"file": f"q.{kind}"} | rule}
    np.testing.assert_array_equal(raster(tmp_path, scene_entry), holed(CUBE))


def test_a_coarser_quality_raster_is_taken_by_the_nearest_pixel(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", CUBE.astype(np.uint16))
    coarse = np.full((6, 7), 4, np.uint8)
    coarse[1, 2] = 8
    write_raster(tmp_path / "scl.tif", coarse, place(20))
    hole = np.zeros((12, 15), bool)
    hole[2:4, 4:6] = True
    hole[:, 14] = True  # beyond the quality raster nobody vouches for the pixels
    found = raster(tmp_path, FILE | {"mask": {"file": "scl.tif", "invalid": [8]}})
    np.testing.assert_array_equal(found, holed(CUBE, hole))


def test_nan_in_a_quality_raster_is_no_word_for_a_pixel() -> None:
    quality = np.array([[np.nan, 4, 9]])
    for rule, values in (("valid", (4,)), ("invalid", (9,)), ("bits", (0,))):
        wrong = rejected(quality, MaskPlace(files("q.npy"), rule, values))  # type: ignore[arg-type]
        assert wrong.tolist() == [[True, False, True]]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            {"transform": place(10, west=90_000)},
            r"optical: mask .*q.tif: it covers x 590000 .* touch the grid",
        ),
        (
            {"transform": None, "crs": None, "array": SCL[1:]},
            "q.tif: 11 x 15 pixels without georeference",
        ),
        ({"array": np.stack([SCL, SCL], 2)}, r"mask .*q.tif: 2 bands; a quality raster has one"),
        ({"crs": None}, r"it has coordinates without a CRS"),
        ({"crs": None, "transform": place(20)}, r"it has coordinates without a CRS"),
    ],
)
@unplaced
def test_quality_rasters_that_do_not_fit(tmp_path: Path, write: dict[str, Any], message: str) -> None:
    write_raster(tmp_path / "a.tif", CUBE.astype(np.uint8))
    write_raster(tmp_path / "q.tif", **({"array": SCL} | write))
    entry = FILE | {"mask": {"file": "q.tif", "invalid": [9]}}
    with pytest.raises(MamolError, match=message):
        raster(tmp_path, entry)


def test_a_quality_raster_that_is_not_there(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", CUBE.astype(np.uint8))
    with pytest.raises(MamolError, match=r"optical: mask: no file for it .* expected one of scl.tif; found a.tif"):
        raster(tmp_path, FILE | {"mask": {"file": "scl.tif", "invalid": [9]}})


def test_nodata_that_covers_everything_is_refused(tmp_path: Path) -> None:
    write_raster(tmp_path / "a.tif", np.zeros((12, 15, 2), np.uint8), nodata=0)
    with pytest.raises(MamolError, match="field: optical: none of its 12 x 15 pixels is valid"):
        raster(tmp_path)


@settings(max_examples=25, deadline=None)
@given(
    number=st.one_of(st.sampled_from([np.nan, np.inf, -np.inf, -9999.0, 1e30, 0.0]), st.floats(width=32)),
    sign=st.sampled_from(["tag", "json", "mask", "quality"]),
    resolution=st.sampled_from([10, 20]),
    resampling=st.sampled_from(["nearest", "bilinear", "cubic", "average"]),
)
def test_whatever_number_stands_where_nothing_was_seen(
    tmp_path_factory: pytest.TempPathFactory, number: float, sign: str, resolution: int, resampling: str
) -> None:
    """The same array comes out, warped or not: no neighbour takes a part of it."""
    values = CUBE + np.float32(0.25)
    assume(np.float32(number) not in values)
    root = tmp_path_factory.mktemp("scene")
    write_raster(root / "grid.tif", CUBE)
    write_raster(root / "q.tif", SCL, place(resolution))

    def read(hole: float) -> np.ndarray:
        entry: dict[str, Any] = {"file": "b.tif", "resampling": resampling}
        if sign == "quality":
            entry["mask"] = {"file": "q.tif", "invalid": [9]}
        elif sign == "json" and np.isfinite(hole):  # JSON has no other numbers, and they always count
            entry["nodata"] = float(np.float32(hole))
        write_raster(
            root / "b.tif",
            np.where(HOLE[:, :, None], np.float32(hole), values),
            place(resolution),
            nodata=hole if sign == "tag" else None,
            mask=~HOLE if sign == "mask" else None,
        )
        return scene_of(root, {"optical": {"file": "grid.tif"}, "sar": entry}).rasters["sar"]

    found = read(number)
    np.testing.assert_array_equal(found, read(-7777))
    assert 0 < np.isnan(found).mean() < 0.5


def test_arrays_in_memory_have_holes_as_files_do(caplog: pytest.LogCaptureFixture) -> None:
    array = CUBE.astype(np.float64)
    array[HOLE, 1] = np.inf
    scene = scene_of_arrays({"HSI": array, "lidar": CUBE[:, :, 0]}, name="mine")
    np.testing.assert_array_equal(scene.rasters["hsi"], holed(CUBE))
    np.testing.assert_array_equal(scene.readers["hsi"].read(slice(0, 5), slice(0, 15)), holed(CUBE)[:5])
    assert scene.rasters["lidar"].dtype == CUBE.dtype
    assert caplog.messages == ["mine: hsi: 11.1 % of the pixels are invalid"]
