"""Raw input that is wrong: one line that names file or key, what was found, what is allowed and what to do."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mamol.api.tables import build_tables
from mamol.core.errors import MamolError
from mamol.data.areajson import find_area
from mamol.data.facts import files
from mamol.data.grid import Grid
from mamol.data.labelfacts import VectorLabels
from mamol.data.labels import LabelMaps, read_label_maps
from mamol.data.reading import RawFolder, as_labels, as_raster, read_array
from mamol.data.scenejson import read_scene_json
from mamol.data.scenes import Scene, load_scene
from mamol.data.sources import RasterSource
from mamol.data.vectorfiles import read_features
from tests.geotiffs import unplaced, write_raster

CUBE = np.arange(60, dtype=np.float32).reshape(4, 5, 3)


def refused(call: Callable[[], Any]) -> str:
    """The line by which a call is refused."""
    with pytest.raises(MamolError) as found:
        call()
    return str(found.value)


def described(root: Path, file: str = "ms.tif", **more: Any) -> Path:
    """A scene.json of one modality."""
    path = root / "scene.json"
    path.write_text(json.dumps({"modalities": {"ms": {"file": file}}} | more))
    return path


def read(path: Path) -> Scene:
    return load_scene("scene", path, need_labels=False)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (4, 0, 3)])
def test_empty_arrays(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape))
    assert "x.npy: " in (said := refused(lambda: read_array(tmp_path / "x.npy", [])))
    assert "the array is empty" in said or "not a readable .npy file" in said
    assert f"this array has {shape}" in refused(lambda: as_raster(np.zeros(shape), None, "x"))


def test_a_label_map_without_pixels() -> None:
    assert "a label map of 0 x 5 pixels is empty" in refused(lambda: as_labels(np.zeros((0, 5), int), "gt.npy"))


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan, 1.5])
def test_labels_that_are_no_whole_numbers(value: float) -> None:
    labels = np.array([[1.0, value]])
    assert "gt.npy: a label map holds whole numbers" in refused(lambda: as_labels(labels, "gt.npy"))


def test_an_archive_under_the_name_of_an_array(tmp_path: Path) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        np.savez(file, a=CUBE)
    assert "an .npz archive under the name .npy" in refused(lambda: read_array(tmp_path / "x.npy", []))


@unplaced
def test_a_vrt_without_bands_and_one_that_no_memory_holds(tmp_path: Path) -> None:
    size = 'rasterXSize="{0}" rasterYSize="{0}"'
    (tmp_path / "none.vrt").write_text(f"<VRTDataset {size.format(9)}></VRTDataset>")
    assert "none.vrt: not a readable VRT (Missing" in refused(lambda: RasterSource(tmp_path / "none.vrt"))
    alpha = '<VRTRasterBand dataType="Byte" band="1"><ColorInterp>Alpha</ColorInterp></VRTRasterBand>'
    (tmp_path / "alpha.vrt").write_text(f"<VRTDataset {size.format(9)}>{alpha}</VRTDataset>")
    assert "alpha.vrt: it has no band but alpha" in refused(lambda: RasterSource(tmp_path / "alpha.vrt"))
    band = '<VRTRasterBand dataType="Float64" band="1"/>'
    (tmp_path / "huge.vrt").write_text(f"<VRTDataset {size.format(10**6)}>{band}</VRTDataset>")
    said = refused(lambda: RasterSource(tmp_path / "huge.vrt").whole())
    assert "huge.vrt: 1000000 x 1000000 x 1 of float64 are 8000 GB, and this machine has" in said


def test_complex_numbers(tmp_path: Path) -> None:
    write_raster(tmp_path / "sar.tif", (CUBE * 1j).astype(np.complex64))
    assert "sar.tif: band 1 is of type complex64; expected real numbers" in refused(
        lambda: RasterSource(tmp_path / "sar.tif")
    )


def test_a_region_of_interest_that_no_memory_holds_and_points_before_the_first(tmp_path: Path) -> None:
    text = "; File Dimension: {} x {}\n; ROI npts: 1\n 1 {} 1 7\n"
    path = tmp_path / "x.txt"
    path.write_text(text.format(10**7, 10**7, 1))
    assert "x.txt: 10000000 x 10000000 of int64 are 8e+05 GB" in refused(lambda: read_array(path, []))
    path.write_text(text.format(5, 5, 0))
    assert "a point is not inside 5 x 5 pixels (they are counted from 1)" in refused(lambda: read_array(path, []))


def test_a_pixel_index_that_is_empty(tmp_path: Path) -> None:
    facts = read_scene_json(described(tmp_path, "ms.npy"))
    np.save(tmp_path / "gt.npy", np.ones((4, 5), int))
    np.save(tmp_path / "index.npy", np.array([[0.5, 1.0]]))
    object.__setattr__(facts, "labels", files("gt"))
    object.__setattr__(facts, "train_index", files("index"))
    said = refused(lambda: read_label_maps(facts, RawFolder(tmp_path), needed=True))
    assert "index.npy: expected (n, 2) rows and columns from 0 inside 4 x 5" in said
    np.save(tmp_path / "index.npy", np.array([[0, 1]]))
    found = read_label_maps(facts, RawFolder(tmp_path), needed=True)
    assert isinstance(found, LabelMaps)


def test_polygons_of_which_none_has_a_shape(tmp_path: Path) -> None:
    write_raster(tmp_path / "ms.tif", CUBE)
    feature = {"type": "Feature", "properties": {"crop": "oat"}, "geometry": None}
    (tmp_path / "f.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature] * 2}))
    path = described(tmp_path, labels={"file": "f.geojson", "column": "crop"})
    said = refused(lambda: load_scene("scene", path))
    assert "f.geojson: " in said
    assert "the polygons span nothing" in said or "no layer with polygons" in said


def test_a_vector_file_of_another_format_than_its_name(tmp_path: Path) -> None:
    (tmp_path / "f.gpkg").write_text("<OGRVRTDataSource/>")
    said = refused(lambda: read_features(tmp_path / "f.gpkg", VectorLabels("f.gpkg", column="x")))
    assert "f.gpkg: not a readable vector file (no .gpkg file begins so)" in said


def test_an_unreadable_folder_and_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raster(tmp_path / "ms.tif", CUBE)
    np.save(tmp_path / "x.npy", CUBE)
    (tmp_path / "x.mat").write_bytes(b"x" * 200)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    (tmp_path / "y.tif").write_bytes(b"x")
    for call in (lambda: RasterSource(tmp_path / "y.tif"), lambda: read_array(tmp_path / "x.mat", [])):
        assert "cannot be read (Permission denied); give yourself the right to read it" in refused(call)

    def closed(path: Path) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", closed)
    said = refused(lambda: RawFolder(tmp_path).find(files("hsi"), "modality hsi"))
    assert said.startswith(f"{tmp_path}: cannot be read (Permission denied)")


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "no such folder" in refused(lambda: RawFolder(tmp_path / "a"))
    assert "modality ms: no file for it" in refused(lambda: read(described(tmp_path, "a")))


def test_names_that_are_too_long_or_no_text(tmp_path: Path) -> None:
    long = "x" * 5000
    assert "File name too long" in refused(lambda: RawFolder(tmp_path / long))
    assert "File name too long" in refused(lambda: find_area(tmp_path / long))
    assert "File name too long" in refused(lambda: read(described(tmp_path, long)))
    for key, value in (("name", long), ("classes", [long])):
        assert "5000 letters; at most 100" in refused(lambda: read(described(tmp_path, **{key: value})))  # noqa: B023
    assert "modalities has 5000 letters" in refused(
        lambda: read(described(tmp_path, modalities={long: {"file": "ms.tif"}}))
    )
    assert "it holds half a letter, '\\ud800'" in refused(lambda: read(described(tmp_path, name="\ud800")))
    foreign = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    foreign.mkdir()
    assert "its name is no UTF-8" in refused(lambda: RawFolder(foreign))


@pytest.mark.parametrize("name", ["../../x", "/x", "a\nb"])
def test_names_that_would_lead_maps_elsewhere(tmp_path: Path, name: str) -> None:
    assert "files are called after it" in refused(lambda: read(described(tmp_path, name=name)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[" * 200_000 + "]" * 200_000, "it is nested deeper than 32 levels"),
        ('{"modalities":' + "[" * 40 + "]" * 40 + "}", "it is nested deeper than 32 levels"),
        ('{"name": "a", "modalities": {}, "name": "b"}', "the key 'name' is there twice"),
        ('{"modalities": {"ms": {"file": "a", "file": "b"}}}', "the key 'file' is there twice"),
    ],
)
def test_json_that_means_nothing_or_two_things(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "scene.json").write_text(text)
    assert f"scene.json: not valid JSON ({found})" in refused(lambda: read(tmp_path))


def test_a_number_of_hundreds_of_digits(tmp_path: Path) -> None:
    raster = {"ms": {"file": "ms.tif", "scale": 10**400}}
    assert "modalities.ms.scale is 1000" in refused(lambda: read(described(tmp_path, modalities=raster)))


def test_a_file_as_root_that_describes_nothing(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "ms.tif", CUBE)
    for call in (lambda: find_area(path), lambda: read(path)):
        assert "ms.tif: a file, and no scene.json; give the folder of the raw files" in refused(call)


def test_a_variable_that_is_named_for_another_kind_of_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", CUBE)
    raster = {"ms": {"file": "x.npy", "variable": "y"}}
    assert "variable 'y' of " in refused(lambda: read(described(tmp_path, modalities=raster)))


def test_a_grid_that_no_memory_holds(tmp_path: Path) -> None:
    write_raster(tmp_path / "ms.tif", CUBE)
    numbers = {"crs": "EPSG:32633", "resolution": 0.01, "bounds": [500_000, 5_099_000, 510_000, 5_100_000]}
    said = refused(lambda: read(described(tmp_path, grid=numbers)))
    assert "100000 x 1000000 x 3 of float32 are 1200 GB" in said


@unplaced
class TestOutside:
    """Files outside of the scene's folder."""

    @pytest.fixture
    def scene(self, tmp_path: Path) -> Path:
        write_raster(tmp_path / "elsewhere" / "ms.tif", CUBE)
        (tmp_path / "scene").mkdir()
        return tmp_path / "scene"

    def test_a_relative_name_stays_inside_an_absolute_one_need_not(
        self, scene: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        said = refused(lambda: read(described(scene, "../elsewhere/ms.tif")))
        there = scene.parent / "elsewhere" / "ms.tif"
        assert (
            f"../elsewhere/ms.tif leads out of {scene}; files from elsewhere are named by their absolute path, {there}"
            in said
        )
        np.testing.assert_array_equal(read(described(scene, str(there))).rasters["ms"], CUBE)
        assert f"reads a file outside of it: {there}" in caplog.text

    def test_labels_too(self, scene: Path) -> None:
        write_raster(scene / "ms.tif", CUBE)
        for labels in ({"file": "../gt.tif"}, {"file": "../f.gpkg", "column": "crop"}):
            path = described(scene, labels=labels)
            assert " leads out of " in refused(lambda: load_scene("scene", path))  # noqa: B023

    def test_a_link_is_followed_and_told(self, scene: Path, caplog: pytest.LogCaptureFixture) -> None:
        (scene / "ms.tif").symlink_to(scene.parent / "elsewhere" / "ms.tif")
        np.testing.assert_array_equal(read(described(scene)).rasters["ms"], CUBE)
        assert "reads a file outside of it" in caplog.text

    def vrt(self, path: Path, source: str, relative: int = 1, tag: str = "SourceFilename") -> Path:
        path.write_text(
            '<VRTDataset rasterXSize="5" rasterYSize="4"><VRTRasterBand dataType="Float32" band="1"><SimpleSource>'
            f'<{tag} relativeToVRT="{relative}">{source}</{tag}><SourceBand>1</SourceBand>'
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        )
        return path

    @pytest.mark.parametrize("tag", ["SourceFilename", "sourcefilename"])
    def test_a_vrt_reads_inside_unless_it_is_named_by_an_absolute_path(
        self, scene: Path, caplog: pytest.LogCaptureFixture, tag: str
    ) -> None:
        there = scene.parent / "elsewhere" / "ms.tif"
        for source, relative in (("../elsewhere/ms.tif", 1), (str(there), 0)):
            path = self.vrt(scene / "ms.vrt", source, relative, tag)
            said = refused(lambda: read(described(scene, "ms.vrt")))
            assert f"ms.vrt: it reads {there}, which is outside of {scene}; name the VRT by its absolute path" in said
            assert read(described(scene, str(path))).channels == {"ms": 1}
            assert f"reads a file outside of it: {there}" in caplog.text
        write_raster(scene / "here.tif", CUBE)
        self.vrt(scene / "ms.vrt", "here.tif", 1, tag)
        np.testing.assert_array_equal(read(described(scene, "ms.vrt")).rasters["ms"], CUBE[:, :, :1])

    def test_a_vrt_within_a_vrt_under_another_name(self, scene: Path) -> None:
        self.vrt(scene / "inner.tif", str(scene.parent / "elsewhere" / "ms.tif"), 0)
        self.vrt(scene / "ms.vrt", "inner.tif")
        assert "which is outside of" in refused(lambda: read(described(scene, "ms.vrt")))
        assert "inner.tif: a VRT under the name inner.tif; call it .vrt" in refused(
            lambda: read(described(scene, "inner.tif"))
        )
        self.vrt(scene / "ms.vrt", "ms.vrt")
        assert "VRTs within VRTs, more than 8" in refused(lambda: read(described(scene, "ms.vrt")))

    @pytest.mark.parametrize("source", ["/vsicurl/http://localhost/x.tif", 'HDF5:"x.h5"://a', "nothing.tif", ""])
    def test_a_vrt_of_what_is_no_file(self, scene: Path, source: str) -> None:
        self.vrt(scene / "ms.vrt", source)
        assert f"ms.vrt: it reads {source!r}, and there is no such file" in refused(
            lambda: read(described(scene, "ms.vrt"))
        )

    @pytest.mark.parametrize(
        ("content", "found"),
        [
            ("<!DOCTYPE x [<!ENTITY a 'b'>]><VRTDataset>&a;</VRTDataset>", "declares no document type"),
            ('<VRTDataset subClass="VRTPansharpenedDataset"/>', "a VRT with vrtpansharpeneddataset, which is not read"),
            ("<VRTDataset><PixelFunctionLanguage>Python</PixelFunctionLanguage></VRTDataset>", "a function in Python"),
            ("<VRTDataset>", "not a readable VRT"),
        ],
    )
    def test_vrts_that_are_not_read(self, scene: Path, content: str, found: str) -> None:
        (scene / "ms.vrt").write_text(content)
        assert found in refused(lambda: read(described(scene, "ms.vrt")))

    def test_a_vrt_of_a_description(self, scene: Path) -> None:
        (scene / "x.tif").write_text("<GDAL_WMS/>")
        self.vrt(scene / "ms.vrt", "x.tif")
        assert "which is a description and no raster" in refused(lambda: read(described(scene, "ms.vrt")))


@unplaced
def test_a_raster_of_another_format_than_its_name(tmp_path: Path) -> None:
    write_raster(tmp_path / "x.png", np.ones((4, 5), np.uint8), None, None, driver="PNG", photometric=None)
    (tmp_path / "x.png").rename(tmp_path / "ms.tif")
    assert "ms.tif: not a readable GeoTIFF" in refused(lambda: RasterSource(tmp_path / "ms.tif"))


def test_output_folders_that_tables_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "taken" / "train.arrow").mkdir(parents=True)
    (tmp_path / "file").write_text("x")
    foreign = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    found = {"taken": "train.arrow is a folder there", "file": "is a file", "x" * 5000: "File name too long"}
    for name, said in {**found, foreign: "its name is no UTF-8"}.items():
        assert said in refused(lambda: build_tables({"hsi": CUBE}, CUBE[:, :, 0], out=tmp_path / name))  # noqa: B023


def test_a_grid_of_tiles_without_end() -> None:
    grid = Grid(4, 5, "", (1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    assert grid.covering([Grid(4, 5, "", (1.0, 0.0, 1e9, 0.0, -1.0, 0.0))]).width == 10**9 + 5
