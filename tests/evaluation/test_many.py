"""Maps of all scenes of an area: named after each, one VRT of them, and going on with the scene where it stopped."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine

from mamol.core.errors import MamolError
from mamol.data.scenes import GeoReference
from mamol.evaluation import mosaic, predict
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.mosaic import write_mosaics, write_vrt
from mamol.evaluation.order import Order
from mamol.evaluation.partial import PartialMap
from tests.placed import settings_of, write_placed

LAYERS = ("", "_confidence", "_sensors")


@pytest.fixture(scope="module")
def area(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of unlike sizes, which overlap."""
    folder = tmp_path_factory.mktemp("many") / "valley"
    write_placed(scene_folder, folder / "b", "north", slice(0, 8), slice(0, 12))
    write_placed(scene_folder, folder / "a", "south", slice(6, 16), slice(8, 20))
    return folder


@pytest.fixture
def own_run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, without maps."""
    return Path(shutil.copytree(finished_run, tmp_path / "run", ignore=shutil.ignore_patterns("maps")))


def test_a_list_of_scenes_is_a_list_of_maps_and_one_vrt(
    own_run: Path, area: Path, tmp_path: Path, no_pictures: None
) -> None:
    written = predict.predict(settings_of(own_run, area, present="sar"))
    names = [path.name for path in written]
    assert names.index("south_sar.tif") < names.index("north_sar.tif"), "by the folders' names"
    assert names[-5:] == [
        *("valley_sar.vrt", "valley_sar.qml", "valley_sar_confidence.vrt"),
        *("valley_sar_sensors.vrt", "valley_sar_sensors.qml"),
    ]
    assert sorted(names) == sorted(path.name for path in (own_run / "maps").iterdir())

    moved = Path(shutil.copytree(own_run / "maps", tmp_path / "elsewhere"))
    shutil.rmtree(own_run)
    for layer in LAYERS:
        tiles = {}
        for name in ("north", "south"):
            with rasterio.open(moved / f"{name}_sar{layer}.tif") as tile:
                tiles[name], tags, nodata = tile.read(1), tile.tags(), tile.nodata
                colours = tile.colormap(1) if layer != "_confidence" else None
        expected = np.full((16, 20), nodata, tiles["north"].dtype)
        expected[6:, 8:] = tiles["south"]
        expected[:8, :12] = tiles["north"]  # the last one lies above
        with rasterio.open(moved / f"valley_sar{layer}.vrt") as file:
            np.testing.assert_array_equal(file.read(1), expected)
            assert (file.nodata, file.crs.to_epsg(), file.dtypes) == (nodata, 32632, (expected.dtype.name,))
            assert tuple(file.bounds) == (500000, 5199840, 500200, 5200000)
            assert {key: file.tags()[key] for key in tags if key[:3] in ("CLA", "BIT", "UNI")}.items() <= tags.items()
            assert colours is None or file.colormap(1) == colours
    assert (moved / "valley_sar.qml").read_bytes() == (moved / "north_sar.qml").read_bytes()


def write_tile(path: Path, values: np.ndarray, transform: Affine) -> Path:
    place = {"crs": CRS.from_epsg(32632), "transform": transform, "nodata": 0}
    height, width = values.shape
    with rasterio.open(path, "w", "GTiff", width, height, 1, dtype="uint8", **place) as file:
        file.write(values, 1)
    return path


def test_a_vrt_of_unlike_pixels_has_the_smaller_ones_and_looks_through_holes(tmp_path: Path) -> None:
    fine = np.arange(1, 25, dtype=np.uint8).reshape(4, 6)
    coarse = np.array([[101, 0], [103, 104]], np.uint8)
    tiles = [
        write_tile(tmp_path / "fine.tif", fine, Affine(10, 0, 1000, 0, -10, 2000)),
        write_tile(tmp_path / "coarse.tif", coarse, Affine(20, 0, 1040, 0, -20, 2000)),
    ]
    write_vrt(tmp_path / "both.vrt", tiles)
    with rasterio.open(tmp_path / "both.vrt") as file:
        found = file.read(1)
    large = np.kron(coarse, np.ones((2, 2), np.uint8))
    expected = np.zeros((4, 8), np.uint8)
    expected[:, :6] = fine
    expected[:, 4:] = np.where(large > 0, large, expected[:, 4:])
    np.testing.assert_array_equal(found, expected)


UTM, NORTH_UP = CRS.from_epsg(32632).to_wkt(), (10, 0, 500000, 0, -10, 5200000)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (GeoReference(CRS.from_epsg(32633).to_wkt(), NORTH_UP), "they are in 2 coordinate reference systems"),
        (GeoReference("", NORTH_UP), "1 have no coordinate reference system"),
        (None, "1 have no coordinate reference system"),
        (GeoReference(UTM, (10, 1, 500000, 1, -10, 5200000)), "some are rotated or upside down"),
        (GeoReference(UTM, (10, 0, 500000, 0, 10, 5200000)), "some are rotated or upside down"),
    ],
)
def test_maps_that_are_no_single_raster_have_no_vrt(
    place: GeoReference | None, reason: str, finished_run: Path, area: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = Order.of(settings_of(finished_run, area, present="sar"))
    first, second = order.maps
    vars(order)["maps"] = [first, replace(second, frame=replace(second.frame, georeference=place))]
    assert write_mosaics(order) == []
    told = [record.getMessage() for record in caplog.records if "no VRT" in record.getMessage()]
    assert told == [f"valley_sar: no VRT of its 2 maps, {reason}"]


def drawn(monkeypatch: pytest.MonkeyPatch, run: Path, area: Path, **more: object) -> list[str]:
    """The maps whose blocks were computed."""
    names = []
    write = PartialMap.write
    with monkeypatch.context() as patch:
        patch.setattr(PartialMap, "write", lambda made, *rest: (names.append(made.folder.name), write(made, *rest)))
        predict.predict(settings_of(run, area, present="sar", **more))
    return [name.split("_")[0] for name in names]


def test_a_list_goes_on_with_the_scene_where_the_disk_was_full(
    own_run: Path, area: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    save = MapFiles._save_csv

    def full(files: MapFiles, path: Path) -> list[Path]:
        if path.name == "north_sar.csv":
            raise OSError(28, "No space left on device")
        return save(files, path)

    with monkeypatch.context() as patch:
        patch.setattr(MapFiles, "_save_csv", full)
        with pytest.raises(MamolError, match=r"north_sar\.csv: cannot be written \(No space left on device\)"):
            predict.predict(settings_of(own_run, area, present="sar"))
    maps = own_run / "maps"
    assert not list(maps.glob(".*"))
    before = {path.name: path.stat().st_mtime_ns for path in maps.glob("south*") if path.is_file()}
    assert before
    assert not list(maps.glob("south*.blocks/*.npz")), "a finished map takes no room twice"
    assert drawn(monkeypatch, own_run, area) == [], "all blocks were there"
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in maps.glob("south*")}.items()
    assert (maps / "valley_sar.vrt").is_file()
    assert not list(maps.glob("*.blocks"))


def test_a_finished_map_is_recognised_only_by_its_own_files(
    own_run: Path, area: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    def killed(*anything: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(predict, "write_mosaics", killed)
        with pytest.raises(KeyboardInterrupt):
            predict.predict(settings_of(own_run, area, present="sar"))
    (own_run / "maps" / "south_sar.tif").unlink()
    (own_run / "maps" / "north_sar.csv").touch()  # written by another command since
    assert drawn(monkeypatch, own_run, area) == ["south", "north"]
    assert drawn(monkeypatch, own_run, area) == ["south", "north"], "a list that ended begins again"


def test_a_place_is_mapped_in_the_scenes_that_show_it(own_run: Path, area: Path) -> None:
    inside = Order.of(settings_of(own_run, area, present="sar", bbox=[500010, 5199950, 500050, 5199990]))
    assert [one.name for one in inside.maps] == ["north"]
    outside = Order.of(settings_of(own_run, area, present="sar", bbox=[0, 0, 10, 10]))
    with pytest.raises(MamolError, match="bbox: it is outside all 2 scenes of valley"):
        _ = outside.maps


def test_areas_that_do_not_fit_are_told_in_one_line(own_run: Path, area: Path, tmp_path: Path) -> None:
    def maps(folder: Path, **more: object) -> None:
        order = Order.of(settings_of(own_run, folder, **more))
        _ = order.maps

    def changed(name: str, change: dict[str, object]) -> Path:
        folder = Path(shutil.copytree(area, tmp_path / name))
        described = folder / "b" / "scene.json"
        described.write_text(json.dumps(json.loads(described.read_text()) | change))
        return folder

    lacking = changed("lacking", {"modalities": {"hsi": {"file": "hsi.tif"}}})
    twice = changed("twice", {"name": "south"})
    other = changed("other", {"modalities": {"hsi": {"file": "hsi.tif", "bands": [1]}, "sar": {"file": "sar.tif"}}})
    for make, message in (
        (lambda: maps(lacking), r"b/scene\.json: there is no lidar, sar among its modalities hsi; name the sensors"),
        (lambda: maps(twice), r"a/scene\.json and .*b/scene\.json are both called south; give each a name of its own"),
        (lambda: maps(other, present="hsi+sar"), "scene north: hsi has 1 bands, the checkpoint was trained with 48"),
        (lambda: maps(area, root=str(area)), r"root=.*: goes with one scene, and scene=.*valley has 2"),
    ):
        with pytest.raises(MamolError, match=message) as told:
            make()
        assert "\n" not in str(told.value)
    maps(lacking, present="hsi")
    assert not (own_run / "maps").exists()


def test_a_vrt_that_cannot_be_written_is_told_and_the_maps_stay(
    own_run: Path, area: Path, monkeypatch: pytest.MonkeyPatch, no_pictures: None
) -> None:
    def full(*anything: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(mosaic.shutil, "copyfile", full)
        with pytest.raises(MamolError, match=r"valley_sar\.qml: cannot be written .*No space left") as told:
            predict.predict(settings_of(own_run, area, present="sar"))
    assert "\n" not in str(told.value)
    assert not list((own_run / "maps").glob(".*"))
    assert drawn(monkeypatch, own_run, area) == []
    assert (own_run / "maps" / "valley_sar.qml").is_file()


def test_an_estimate_of_an_area_has_a_line_for_each_map(
    own_run: Path, area: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    monkeypatch.setattr(predict, "_seconds_per_pixel", lambda one: tried.append(one.name) or 3600.0)
    told = predict.estimate(settings_of(own_run, area, present="sar", jobs=4)).splitlines()
    assert tried == ["south"], "the speed is that of the network"
    assert told[0].startswith("south_sar: 120 windows at most in 1 blocks of 10 rows, batches of 32; time 5 d 0 h, ")
    assert "time 4 d 0 h, 1 d 0 h at best with 4 jobs; memory " in told[1]
    assert told[1].endswith(" GB each")
