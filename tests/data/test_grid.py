"""Rasters on other grids, resolutions and CRSs, mosaics and stacks; and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.control import GroundControlPoint
from rasterio.drivers import raster_driver_extensions
from rasterio.enums import Resampling
from rasterio.rpc import RPC
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, reproject

from mamol.core.errors import MamolError
from mamol.data.grid import Grid
from mamol.data.sources import RasterSource
from mamol.data.warping import onto
from tests.geotiffs import LONLAT, UTM33, UTM34, place, scene_of, smooth, unplaced, write_raster

RNG = np.random.default_rng(1)
FINE = RNG.integers(0, 4000, (40, 50, 3)).astype(np.uint16)
OPTICAL = {"file": "optical.tif"}
SAR = {"file": "sar.tif"}
BOTH = {"optical": OPTICAL, "sar": SAR}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a raster of 40×50 pixels of 10 m."""
    write_raster(tmp_path / "optical.tif", FINE)
    return tmp_path


def sar(root: Path, **more: Any) -> np.ndarray:
    return scene_of(root, BOTH | more).rasters["sar"]


# --- other grids -----------------------------------------------------------------------------------------------------


def test_an_equal_grid_is_read_as_it_is(root: Path) -> None:
    write_raster(root / "sar.tif", FINE[:, :, :1], place(west=1e-5))
    scene = scene_of(root, BOTH)
    assert isinstance(scene.readers["sar"], RasterSource)
    assert {raster.dtype for raster in scene.rasters.values()} == {np.dtype(np.uint16)}
    np.testing.assert_array_equal(scene.rasters["sar"], FINE[:, :, :1])


@pytest.mark.parametrize(("resampling", "error"), [("bilinear", 0.01), ("cubic", 0.01), ("nearest", 5.01)])
def test_a_raster_twice_as_coarse_and_shifted_comes_onto_the_grid(root: Path, resampling: str, error: float) -> None:
    write_raster(root / "sar.tif", smooth(30, 40, 20, west=-57, south=-43), place(20, west=-57, south=-43))
    found = sar(root, sar=SAR | {"resampling": resampling})
    assert found.dtype == np.float32
    assert found.shape == (40, 50, 2)
    # Half a coarse pixel is the most that the nearest one is off.
    assert np.abs(found - smooth(40, 50, 10)).max() < (10.01 if resampling == "nearest" else error)


def test_beyond_its_ground_a_raster_is_absent(root: Path) -> None:
    write_raster(root / "sar.tif", smooth(10, 50, 20, south=100), place(20, south=100))
    seen = ~np.isnan(sar(root)[:, :, 0])
    expected = np.zeros((40, 50), bool)
    expected[10:30] = True
    np.testing.assert_array_equal(seen, expected)


def test_pixels_of_the_same_lattice_are_not_interpolated(root: Path) -> None:
    write_raster(root / "sar.tif", FINE[5:, :30], place(south=50))
    found = sar(root)
    np.testing.assert_array_equal(found[5:, :30], FINE[5:, :30])
    assert np.isnan(found[:5]).all()
    assert np.isnan(found[:, 30:]).all()
    large = RNG.integers(0, 9, (60, 70, 1)).astype(np.uint8)
    write_raster(root / "sar.tif", large, place(west=-100, south=-50))
    found = sar(root)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, large[5:45, 10:60])


def test_a_rotated_raster_covers_a_rotated_rectangle(root: Path) -> None:
    angle = 30
    transform = place(20, west=100, south=50, angle=angle)
    rows, cols = np.mgrid[:15, :15] + 0.5
    xs, ys = Affine(*transform) @ (cols, rows)
    write_raster(root / "sar.tif", np.stack([xs - 500_000, 5_100_000 - ys], 2).astype(np.float32), transform)
    found, expected = sar(root), smooth(40, 50, 10)
    seen = ~np.isnan(found[:, :, 0])
    inside = ~Affine(*transform) @ (expected[..., 0] + 500_000.0, 5_100_000.0 - expected[..., 1])
    depth = np.minimum.reduce([*inside, 15 - inside[0], 15 - inside[1]])
    assert seen[depth > 0.1].all()
    assert not seen[depth < -0.1].any()
    assert np.abs(found - expected)[depth > 1].max() < 1


@pytest.mark.parametrize("crs", [UTM34, LONLAT])
def test_a_raster_in_another_crs_lies_where_it_belongs(root: Path, crs: str) -> None:
    bounds = (499_900, 5_099_400, 500_700, 5_100_100)
    transform, width, height = calculate_default_transform(UTM33, crs, 35, 40, *bounds)
    source = smooth(70, 80, 10, west=-100, south=-100)
    target = np.full((2, height, width), np.nan, np.float32)
    reproject(
        np.moveaxis(source, -1, 0), target, src_transform=Affine(*place(10, west=-100, south=-100)), src_crs=UTM33,
        dst_transform=transform, dst_crs=crs, dst_nodata=np.nan, resampling=Resampling.bilinear,
    )  # fmt: skip
    write_raster(root / "sar.tif", np.moveaxis(target, 0, -1), tuple(transform)[:6], crs)
    assert np.abs(sar(root) - smooth(40, 50, 10)).max() < 2


def test_average_antialiases(root: Path) -> None:
    fine = RNG.normal(size=(160, 200)).astype(np.float32)
    write_raster(root / "sar.tif", fine, place(2.5))
    found = sar(root, sar=SAR | {"resampling": "average"})
    np.testing.assert_allclose(found[:, :, 0], fine.reshape(40, 4, 50, 4).mean(axis=(1, 3)), atol=1e-6)
    # Bilinear weighs a neighbourhood of the grid's size, too, instead of taking single pixels.
    assert sar(root).std() < 0.5


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "average"])
@pytest.mark.parametrize(
    ("resolution", "angle", "crs"), [(20, 0, UTM33), (20, 25, UTM33), (10, 0, UTM34), (3, 0, UTM33)]
)
def test_the_same_as_a_warped_vrt(root: Path, resampling: str, resolution: float, angle: float, crs: str) -> None:
    """Where a file states its validity itself, GDAL's own view of it agrees."""
    array = RNG.normal(size=(300, 300, 2)).astype(np.float32)
    # At its border GDAL's average takes in pixels whose centre is outside; here no method does.
    transform = place(resolution, west=-7 if resampling == "average" else 7, south=-153, angle=angle)
    if crs == UTM34:
        transform, width, height = calculate_default_transform(
            UTM33, crs, 300, 300, 499_000, 5_098_500, 501_500, 5_101_000
        )
        array = RNG.normal(size=(height, width, 2)).astype(np.float32)
        resolution = transform.a
    path = write_raster(root / "sar.tif", array, tuple(transform)[:6], crs, nodata=-1)
    source = RasterSource(path)
    grid = RasterSource(root / "optical.tif").grid
    mine = onto(source, grid, resampling, "sar").read(slice(0, 40), slice(0, 50))  # type: ignore[arg-type]
    scale = resolution / 10
    with (
        rasterio.open(path) as file,
        WarpedVRT(
            file, crs=UTM33, transform=grid.affine, width=50, height=40, nodata=np.nan, dtype="float32",
            resampling=Resampling[resampling], UNIFIED_SRC_NODATA="NO", XSCALE=scale, YSCALE=scale,
        ) as view,
    ):  # fmt: skip
        theirs = np.stack([view.read(band) for band in (1, 2)], 2)
    assert (np.isnan(mine) != np.isnan(theirs)).mean() < 0.01
    # Both approximate the transform within an eighth of a pixel, from other points.
    both = np.isfinite(mine) & np.isfinite(theirs)
    assert (np.abs(mine - theirs)[both] > 0.6).mean() < 0.02
    assert both.any()


def test_area_and_point_files_are_half_a_pixel_apart(root: Path) -> None:
    """GDAL gives the corner of both: nothing is to be done, and nothing may be done twice."""
    write_raster(root / "sar.tif", smooth(20, 25, 20), place(20))
    area = sar(root)
    with rasterio.open(root / "sar.tif", "r+") as file:
        file.update_tags(AREA_OR_POINT="Point")
    np.testing.assert_array_equal(sar(root), area)


# --- the scene's grid ------------------------------------------------------------------------------------------------


def test_the_grid_is_the_firsts_or_the_one_that_is_named(root: Path) -> None:
    write_raster(root / "sar.tif", smooth(20, 25, 20), place(20))
    assert scene_of(root, BOTH).rasters["sar"].shape == (40, 50, 2)
    named = scene_of(root, BOTH, grid="SAR")
    assert (named.height, named.width) == (20, 25)
    assert named.georeference is not None
    assert named.georeference.transform == place(20)
    # A map of one modality lies where the tables do.
    alone = scene_of(root, BOTH, names=["sar"])
    assert (list(alone.rasters), alone.height, alone.width) == (["sar"], 40, 50)


def test_a_grid_by_numbers(root: Path) -> None:
    grid = {"crs": UTM33, "resolution": 20, "bounds": [499_980, 5_099_595, 500_500, 5_100_000]}
    scene = scene_of(root, {"optical": OPTICAL | {"resampling": "average"}}, grid=grid)
    assert (scene.height, scene.width) == (21, 26)
    assert scene.georeference is not None
    assert scene.georeference.transform == place(20, west=-20)
    assert np.isnan(scene.rasters["optical"][:, 0]).all()
    expected = FINE.astype(np.float64).reshape(20, 2, 25, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(scene.rasters["optical"][:20, 1:], expected, rtol=1e-5)
    two = scene_of(root, {"optical": OPTICAL}, grid=grid | {"resolution": [20, 45]})
    assert (two.height, two.width) == (9, 26)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ("thermal", "grid is 'thermal', which is no modality of it; they are optical"),
        (3, "grid is 3; expected"),
        ({"crs": UTM33, "resolution": 10}, r"grid is {.*}; expected .*bounds"),
        ({"crs": UTM33, "resolution": 0, "bounds": [0, 0, 1, 1]}, "resolution above 0"),
        ({"crs": UTM33, "resolution": 10, "bounds": [0, 0, "1", 1]}, "grid is"),
        ({"crs": "EPSG:1", "resolution": 10, "bounds": [0, 0, 10, 10]}, "grid: crs 'EPSG:1' is unknown"),
        ({"crs": UTM33, "resolution": 10, "bounds": [10, 0, 0, 10]}, "grid: bounds .* make 1 x -1 pixels"),
        ({"crs": UTM33, "resolution": 1e-5, "bounds": [0, 0, 500, 500]}, "at most 2000000 a side"),
        (
            {"crs": UTM33, "resolution": 10, "bounds": [0, 0, 500, 500]},
            r"optical.tif: it covers x 500000 to 500500, y 5099600 to 5100000 in EPSG:32633, "
            "which does not touch the grid: x 0 to 500, y 0 to 500 in EPSG:32633",
        ),
    ],
)
def test_grids_that_are_refused(root: Path, grid: Any, message: str) -> None:
    with pytest.raises(MamolError, match=message):
        scene_of(root, {"optical": OPTICAL}, grid=grid)


# --- labels ----------------------------------------------------------------------------------------------------------


def test_a_label_raster_of_another_resolution_is_brought_by_the_nearest(root: Path) -> None:
    labels = RNG.integers(1, 4, (20, 25)).astype(np.uint8)
    labels[3, 3] = 255
    write_raster(root / "truth.tif", labels, place(20), nodata=255)
    scene = scene_of(root, {"optical": OPTICAL}, labels={"file": "truth.tif"})
    expected = np.where(labels == 255, 0, labels).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(scene.labels, expected)
    write_raster(root / "truth.tif", labels[:, :5], place(20), nodata=255)
    smaller = scene_of(root, {"optical": OPTICAL}, labels={"file": "truth.tif"})
    assert smaller.labels is not None
    np.testing.assert_array_equal(smaller.labels[:, :10], expected[:, :10])
    assert not smaller.labels[:, 10:].any()


def test_label_maps_that_do_not_fit(root: Path) -> None:
    write_raster(root / "truth.tif", np.ones((40, 50), np.uint8), place(west=5000))
    with pytest.raises(MamolError, match=r"label map: .*truth.tif: it covers x 505000 to .* does not touch the grid"):
        scene_of(root, {"optical": OPTICAL}, labels={"file": "truth.tif"})
    np.save(root / "truth.npy", np.ones((20, 25)))
    with pytest.raises(MamolError, match="label map has 20 x 25 pixels without georeference, the scene's grid 40 x 50"):
        scene_of(root, {"optical": OPTICAL}, labels={"file": "truth.npy"})


# --- several files ---------------------------------------------------------------------------------------------------


def test_a_mosaic_sets_the_grid_and_keeps_the_bits(tmp_path: Path) -> None:
    hole = FINE.astype(np.int32)
    hole[10:20, 20:24] = -1
    write_raster(tmp_path / "t1.tif", hole[:, :26], nodata=-1)
    write_raster(tmp_path / "t2.tif", FINE[:30, 22:].astype(np.int32), place(west=220))
    scene = scene_of(tmp_path, {"optical": {"files": ["t1.tif", "t2.tif"]}})
    assert (scene.height, scene.width) == (40, 50)
    expected = FINE.astype(np.float32)
    expected[10:20, 20:22] = np.nan
    expected[30:, 26:] = np.nan
    np.testing.assert_array_equal(scene.rasters["optical"], expected)
    assert set(scene.sources) == {"t1.tif", "t2.tif"}
    north_west = scene_of(tmp_path, {"optical": {"files": ["t2.tif", "t1.tif"]}})
    assert north_west.georeference == scene.georeference
    np.testing.assert_array_equal(north_west.rasters["optical"], expected)


def test_each_file_of_a_mosaic_may_have_its_own_mask(tmp_path: Path) -> None:
    for name, value, quality in (("1", 10, 8), ("2", 20, 4)):
        write_raster(tmp_path / f"t{name}.tif", np.full((8, 8), value, np.uint8))
        write_raster(tmp_path / f"q{name}.tif", np.full((4, 4), quality, np.uint8), place(20))
    entry: dict[str, Any] = {"files": ["t1.tif", "t2.tif"], "mask": {"files": ["q1.tif", "q2.tif"], "invalid": [8]}}
    assert (scene_of(tmp_path, {"optical": entry}).rasters["optical"] == 20).all()
    entry["mask"]["files"].append("q3.tif")
    with pytest.raises(MamolError, match=r"mask names 3 files for 2; expected one mask for all, or one for each"):
        scene_of(tmp_path, {"optical": entry})


def test_a_stack_takes_the_finest_grid(tmp_path: Path) -> None:
    write_raster(tmp_path / "B01.tif", smooth(10, 10, 60)[:, :, 0], place(60))
    write_raster(tmp_path / "B02.tif", smooth(60, 60, 10)[:, :, 1], nodata=5)
    scene = scene_of(tmp_path, {"optical": {"stack": ["B01.tif", "B02.tif"]}})
    found = scene.rasters["optical"]
    assert (scene.height, scene.width, scene.channels) == (60, 60, {"optical": 2})
    assert np.isnan(found[0]).all()  # 5 metres to the south stands for nothing in the second band
    np.testing.assert_allclose(found[1:, 3:-3], smooth(60, 60, 10)[1:, 3:-3], atol=0.01)


def test_files_of_the_same_stack_without_georeference(tmp_path: Path) -> None:
    for band in range(3):
        np.save(tmp_path / f"B{band}.npy", FINE[:, :, band])
    scene = scene_of(tmp_path, {"optical": {"stack": ["B2.npy", "B0.npy"]}})
    np.testing.assert_array_equal(scene.rasters["optical"], FINE[:, :, [2, 0]])
    assert scene.rasters["optical"].dtype == np.uint16


@pytest.mark.parametrize("ending", ["jp2", "vrt"])
def test_jpeg_2000_and_vrt(root: Path, ending: str) -> None:
    if ending not in raster_driver_extensions():
        pytest.skip(f"this GDAL has no driver for {ending}")
    if ending == "jp2":
        write_raster(root / "sar.jp2", FINE[:, :, 0], driver="JP2OpenJPEG", QUALITY="100", REVERSIBLE="YES")
    else:
        with rasterio.open(root / "optical.tif") as file, WarpedVRT(file) as view:
            rasterio.shutil.copy(view, root / "sar.vrt", driver="VRT")
    found = sar(root, sar={"file": f"sar.{ending}"})
    np.testing.assert_array_equal(found[:, :, :1], FINE[:, :, :1])
    (root / f"sar.{ending}").write_bytes(b"no raster")
    with pytest.raises(MamolError, match=rf"sar.{ending}: not a readable (JPEG 2000 file|VRT)"):
        sar(root, sar={"file": f"sar.{ending}"})


# --- bad input -------------------------------------------------------------------------------------------------------


def test_a_raster_of_the_same_shape_from_elsewhere_is_refused(root: Path) -> None:
    for transform, crs, where in (
        (place(west=100_000), UTM33, "x 600000 to 600500, y 5099600 to 5100000 in EPSG:32633"),
        (place(), UTM34, "x 500000 to 500500, y 5099600 to 5100000 in EPSG:32634"),
        ((0.001, 0, -70, 0, -0.001, -30), LONLAT, "x -70 to -69.95, y -30.04 to -30 in EPSG:4326"),
    ):
        write_raster(root / "sar.tif", FINE, transform, crs)
        with pytest.raises(MamolError) as caught:
            sar(root)
        assert f"modality sar: sar.tif: it covers {where}, which does not touch the grid" in str(caught.value)
        assert "x 500000 to 500500, y 5099600 to 5100000 in EPSG:32633" in str(caught.value)
        assert "\n" not in str(caught.value)


@unplaced
def test_without_georeference_beside_with(root: Path) -> None:
    np.save(root / "heights.npy", FINE[:, :, 0])
    heights = {"optical": OPTICAL, "lidar": {"file": "heights.npy"}}
    # Of the same shape it lies on the grid, as ever: releases put .mat files beside GeoTIFFs.
    np.testing.assert_array_equal(scene_of(root, heights).rasters["lidar"][:, :, 0], FINE[:, :, 0])
    np.save(root / "heights.npy", FINE[::2, ::2, 0])
    with pytest.raises(MamolError, match=r"heights.npy: shape \(20, 25\) does not fit .* is 40 x 50; .* say where"):
        scene_of(root, heights)
    write_raster(root / "sar.tif", FINE[::2, ::2], None, None)
    with pytest.raises(MamolError, match=r"sar.tif: 20 x 25 pixels without georeference beside .* 40 x 50 .* gdal_"):
        sar(root)


def test_a_transform_without_a_crs(root: Path) -> None:
    write_raster(root / "sar.tif", FINE, place(), None)
    with pytest.raises(MamolError, match=r"modality sar: .*sar.tif: it has coordinates without a CRS.*gdal_edit"):
        sar(root)
    with pytest.raises(MamolError, match=r"modality sar: .*sar.tif: it has coordinates without a CRS"):
        scene_of(root, {"sar": SAR, "optical": OPTICAL})
    write_raster(root / "optical.tif", FINE, place(), None)
    assert scene_of(root, BOTH).georeference is None
    write_raster(root / "sar.tif", FINE, place(20), None)
    with pytest.raises(MamolError, match="it has coordinates without a CRS"):
        sar(root)
    write_raster(root / "sar.tif", FINE, place(10, west=9000), None)
    with pytest.raises(MamolError, match=r"it covers x 509000 to 509500, .* without a CRS, which does not"):
        sar(root)


@unplaced
def test_control_points_only(root: Path) -> None:
    corners = [GroundControlPoint(row, col, 15 + col / 1e3, 46 - row / 1e3) for row in (0, 40) for col in (0, 50)]
    write_raster(root / "sar.tif", FINE, None, LONLAT, gcps=corners)
    with pytest.raises(MamolError, match=r"sar.tif: it is placed by ground control points only, .* gdalwarp"):
        sar(root)
    write_raster(root / "sar.tif", FINE, None, None)
    ones = [1.0] * 20
    with rasterio.open(root / "sar.tif", "r+") as file:
        file.rpcs = RPC(100, 50, 46, 1, ones, ones, 20, 20, 15, 1, ones, ones, 25, 25)
    with pytest.raises(MamolError, match=r"sar.tif: it is placed by rational polynomials \(RPC\) only"):
        sar(root)


@unplaced
def test_files_of_a_mosaic_that_do_not_fit_or_are_not_there(root: Path) -> None:
    tiles = {"optical": {"files": ["optical.tif", "t2.tif"]}}
    with pytest.raises(MamolError, match=r"optical: no file for it .* expected one of t2.tif; found optical.tif"):
        scene_of(root, tiles)
    write_raster(root / "t2.tif", FINE[:, :, :2], place(west=500))
    with pytest.raises(MamolError, match=r"t2.tif: 2 bands, optical.tif has 3; .* name those that they share in bands"):
        scene_of(root, tiles)
    two = {"optical": tiles["optical"] | {"bands": [1, 2]}}
    assert scene_of(root, two).rasters["optical"].shape == (40, 100, 2)
    write_raster(root / "t2.tif", FINE, None, None)
    with pytest.raises(MamolError, match=r"t2.tif: no georeference; files of a mosaic must say where they lie"):
        scene_of(root, tiles)
    # A tile elsewhere is left alone as long as another one touches the grid.
    write_raster(root / "t2.tif", FINE, place(west=90_000))
    grid = {"crs": UTM33, "resolution": 10, "bounds": [500_000, 5_099_600, 500_500, 5_100_000]}
    np.testing.assert_array_equal(scene_of(root, tiles, grid=grid).rasters["optical"], FINE)


def test_a_crs_that_leads_nowhere(root: Path) -> None:
    write_raster(root / "sar.tif", FINE, place(20), 'LOCAL_CS["quarry",UNIT["metre",1]]')
    with pytest.raises(MamolError, match=r"sar.tif: it covers x .* in quarry, which does not touch the grid"):
        sar(root)
    with pytest.raises(MamolError, match=r"sar.tif: its place cannot be brought to the grid's CRS .x .* in quarry"):
        sar(root, sar={"files": ["optical.tif", "sar.tif"]})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"nodata": "-9999"}, "modalities.optical.nodata is '-9999'; expected a number"),
        ({"nodata": True}, "modalities.optical.nodata is True"),
        ({"scale": 0}, "modalities.optical has scale 0, offset 0; expected finite, scale not 0"),
        ({"offset": None}, "modalities.optical.offset is None"),
        ({"bands": [0]}, r"modalities.optical.bands is \[0\]; expected a list of whole numbers, from 1, each once"),
        ({"bands": [2, 2]}, "each once"),
        ({"bands": "2"}, "modalities.optical.bands is '2'"),
        ({"resampling": "lanczos"}, "resampling is 'lanczos'; expected one of nearest, bilinear, cubic, average"),
        ({"mask": "scl.tif"}, "modalities.optical.mask is 'scl.tif'; expected"),
        ({"mask": {"file": "scl.tif"}}, "with one of invalid .values., valid .values. and bits"),
        ({"mask": {"file": "scl.tif", "invalid": [1], "bits": [1]}}, "with one of invalid"),
        ({"mask": {"file": "scl.tif", "invalid": []}}, r"mask.invalid is \[\]; list at least one"),
        ({"mask": {"file": "scl.tif", "bits": [63]}}, "mask.bits has 63; bits are counted from 0"),
        ({"mask": {"file": "scl.tif", "bits": [-1]}}, "mask.bits is .-1.; expected a list of whole numbers, from 0"),
        ({"mask": {"valid": [1]}}, "modalities.optical.mask is {}; expected one of file"),
        ({"files": ["a.tif"]}, "expected one of file .with variable., files and stack"),
        ({"variable": 3}, "modalities.optical is"),
        ({"no_data": 3}, "modalities.optical is .*; keys are file, variable, files, stack, nodata, mask, bands"),
    ],
)
def test_mistakes_in_an_entry(root: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(MamolError, match=message):
        scene_of(root, {"optical": OPTICAL | entry})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "expected one of file"),
        ({"files": []}, r"modalities.optical.files is \[\]; expected a list of files"),
        ({"files": [1]}, "expected a list of files"),
        ({"stack": ["a.tif", "a.tif"]}, "modalities.optical.stack names a file twice"),
        ({"stack": ["a.tif"], "bands": [1]}, "has stack and bands"),
        ({"stack": ["a.tif"], "variable": "x"}, "expected one of file"),
        ({"stack": ["a.tif", "b.tif"], "mask": {"files": ["a.tif", "b.tif"], "bits": [1]}}, "names 2 files for 1"),
    ],
)
def test_mistakes_in_lists_of_files(root: Path, entry: dict[str, Any], message: str) -> None:
    with pytest.raises(MamolError, match=message):
        scene_of(root, {"optical": entry})


def test_grids_know_how_they_lie_to_each_other() -> None:
    wkt = rasterio.crs.CRS.from_user_input(UTM33).to_wkt()
    grid = Grid(40, 50, wkt, place())
    assert grid.offset(Grid(3, 3, wkt, place(west=20, south=-30))) == (-3, 2)
    assert grid.offset(Grid(3, 3, wkt, place(west=25))) is None
    assert grid.offset(Grid(40, 50, wkt, place(10.01))) is None
    assert grid.overlaps(Grid(1, 1, wkt, place(1, west=499)))
    assert not grid.overlaps(Grid(1, 1, wkt, place(west=500)))
    assert grid.covering([Grid(2, 2, wkt, place(west=-15, south=390))]) == Grid(41, 52, wkt, place(west=-20))
