"""The files of a map: what GDAL, QGIS and MATLAB find in them, and pictures that can be read."""

import csv
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pyproj import Geod
from rasterio.crs import CRS
from rio_cogeo.cogeo import cog_validate
from scipy.io import loadmat

from mamol.core.errors import MamolError
from mamol.data.scenes import GeoReference
from mamol.evaluation import mapfiles
from mamol.evaluation.blocks import NO_PROBABILITY, Block
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.mapinfo import MapInfo

NAMES = ("water", 'grass & "herbs"', "trees")
SENSORS = ("hsi", "lidar", "sar")
UTM = CRS.from_epsg(32633).to_wkt()
PLACE = GeoReference(UTM, (10.0, 0.0, 500000.0, 0.0, -10.0, 5200000.0))
INFO = MapInfo(NAMES, "Riverside (synthetic)", PLACE, (), SENSORS)


def pixels(height: int, width: int, *, probabilities: bool = True) -> Block:
    """Patches of 9 pixels, and a swath that no sensor saw."""
    rng = np.random.default_rng(height)
    coarse = -(-height // 9), -(-width // 9)
    grown = [np.kron(rng.integers(1, most, coarse), np.ones((9, 9), int))[:height, :width] for most in (4, 8)]
    seen = np.arange(width) < 0.8 * width
    classes, sensors = ((part * seen).astype(np.uint8) for part in grown)
    found = rng.dirichlet((1, 1, 1), (height, width)).transpose(2, 0, 1)
    every = np.where(seen, np.rint(10_000 * found), NO_PROBABILITY).astype(np.uint16)
    confidence = np.where(seen, found.max(0), np.nan).astype(np.float32)
    return Block(classes, confidence, sensors, every if probabilities else None)


def cut(block: Block, rows: int) -> Iterator[Block]:
    for first in range(0, len(block.classes), rows):
        part = slice(first, first + rows)
        every = None if block.probabilities is None else block.probabilities[:, part]
        sizes = None if block.set_size is None else block.set_size[part]
        yield Block(block.classes[part], block.confidence[part], block.sensors[part], every, sizes)


@pytest.fixture(scope="module")
def block() -> Block:
    return pixels(1100, 700)


@pytest.fixture(scope="module")
def written(block: Block, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a map, written in blocks that are no multiple of a tile; without ending."""
    folder = tmp_path_factory.mktemp("files")
    files = MapFiles(INFO, (1100, 700), lambda: cut(block, 130), probabilities=True)
    paths = files.save_all(folder, "area")
    assert sorted(path.name for path in paths) == sorted(path.name for path in folder.iterdir())
    assert {path.name.removeprefix("area") for path in paths} == {
        *(".png", ".mat", ".npy", "_confidence.npy", "_sensors.npy", ".tif", ".qml", "_confidence.tif", "_sensors.tif"),
        *("_sensors.qml", "_probabilities.tif", ".csv"),
    }
    return folder / "area"


@pytest.mark.parametrize("suffix", ["", "_confidence", "_sensors", "_probabilities"])
def test_rasters_are_cloud_optimised_with_overviews_where_the_map_lies(suffix: str, written: Path) -> None:
    path = Path(f"{written}{suffix}.tif")
    valid, errors, warnings = cog_validate(path)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4]
        assert (file.crs, tuple(file.transform)[:6]) == (CRS.from_wkt(UTM), PLACE.transform)


def test_rasters_hold_what_was_given(written: Path, block: Block) -> None:
    seen = block.classes > 0
    with rasterio.open(f"{written}.tif") as file:
        np.testing.assert_array_equal(file.read(1), block.classes)
        np.testing.assert_array_equal(file.dataset_mask() > 0, seen)
        assert [file.tags()[f"CLASS_{code}"] for code in (1, 2, 3)] == list(NAMES)
        assert [file.colormap(1)[code][:3] for code in (1, 2, 3)] == [INFO.painted[code] for code in (1, 2, 3)]
        coarse = file.read(1, out_shape=(550, 350))
        assert set(np.unique(coarse)) <= {0, 1, 2, 3}
    with rasterio.open(f"{written}_confidence.tif") as file:
        np.testing.assert_array_equal(file.read(1)[seen], np.rint(100 * block.confidence[seen]))
        np.testing.assert_array_equal(file.dataset_mask() > 0, seen)
        assert (file.dtypes, file.tags()["UNIT"]) == (("uint8",), "percent")
    with rasterio.open(f"{written}_sensors.tif") as file:
        np.testing.assert_array_equal(file.read(1), block.sensors)
        assert [file.tags()[f"BIT_{bit}"] for bit in range(3)] == list(SENSORS)
    with rasterio.open(f"{written}_probabilities.tif") as file:
        assert block.probabilities is not None
        np.testing.assert_array_equal(file.read(), block.probabilities)
        assert (file.descriptions, file.scales) == (NAMES, (1e-4,) * 3)
        np.testing.assert_array_equal(file.dataset_mask() > 0, seen)


def test_the_overview_of_classes_is_what_most_pixels_are(tmp_path: Path) -> None:
    """Neither a class between two others nor every second pixel."""
    classes = np.ones((1024, 1024), np.uint8)
    classes[::2, ::2] = 3  # a quarter, which "nearest" would take for all
    block = Block(classes, np.ones(classes.shape, np.float32), classes)
    MapFiles(INFO, (1024, 1024), lambda: [block]).save(tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif", OVERVIEW_LEVEL=0) as file:
        assert (file.shape, np.unique(file.read(1)).tolist()) == ((512, 512), [1])


def test_arrays_hold_the_same_three(written: Path, block: Block) -> None:
    content = loadmat(f"{written}.mat")
    for key, part in (("classified", "classes"), ("confidence", "confidence"), ("sensors", "sensors")):
        np.testing.assert_array_equal(content[key], getattr(block, part))
    assert [cell.item() for cell in content["classes"].ravel()] == list(NAMES)
    assert [cell.item() for cell in content["modalities"].ravel()] == list(SENSORS)
    for suffix, part in (("", "classes"), ("_confidence", "confidence"), ("_sensors", "sensors")):
        np.testing.assert_array_equal(np.load(f"{written}{suffix}.npy", allow_pickle=False), getattr(block, part))


def test_a_large_map_is_rasters_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapfiles, "MOST_IN_MEMORY", 99)
    block, nowhere = pixels(10, 10, probabilities=False), MapInfo(NAMES, "", None, (), SENSORS)
    written = MapFiles(nowhere, (10, 10), lambda: cut(block, 3)).save_all(tmp_path, "x")
    assert {path.suffix for path in written} == {".png", ".tif", ".qml", ".csv"}


def test_styles_show_names_and_colours_in_qgis(written: Path) -> None:
    for suffix, texts, colours in (
        ("", dict(enumerate(NAMES, 1)), INFO.painted),
        ("_sensors", {7: "hsi+lidar+sar", 5: "hsi+sar", 2: "lidar"}, INFO.patterns(range(1, 8))),
    ):
        tree = ET.fromstring(Path(f"{written}{suffix}.qml").read_text("utf-8"))
        assert tree.find("pipe/rasterrenderer[@type='paletted']") is not None
        entries = {int(each.attrib["value"]): each.attrib for each in tree.iter("paletteEntry")}
        assert len(entries) == len(colours)
        for code, text in texts.items():
            assert entries[code]["label"] == text
            assert entries[code]["color"] == f"#{bytes(colours[code]).hex()}"


@pytest.mark.parametrize("ending", ["png", "tif", "csv"])
def test_two_blocks_at_most_are_in_memory(ending: str, tmp_path: Path) -> None:
    """A view of a block kept somewhere would hold all of it."""
    block, made = pixels(60, 40, probabilities=False), []

    def blocks() -> Iterator[Block]:
        for part in cut(block, 6):
            fresh = Block(part.classes.copy(), part.confidence.copy(), part.sensors.copy())
            made.append([weakref.ref(array) for array in (fresh.classes, fresh.confidence, fresh.sensors)])
            assert not any(ref() is not None for refs in made[:-2] for ref in refs)
            yield fresh
            del fresh

    MapFiles(INFO, (60, 40), blocks).save(tmp_path / f"x.{ending}")
    assert len(made) >= 10


def areas(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_areas_of_the_classes(written: Path, block: Block) -> None:
    rows = areas(written.with_suffix(".csv"))
    assert [row["class"] for row in rows] == ["no sensor", *NAMES]
    assert [int(row["pixels"]) for row in rows] == np.bincount(block.classes.ravel()).tolist()
    for row in rows:
        assert float(row["area_m2"]) == 100 * int(row["pixels"])
        assert float(row["area_ha"]) == pytest.approx(int(row["pixels"]) / 100)
    assert sum(float(row["percent"]) for row in rows[1:]) == pytest.approx(100, abs=0.02)
    assert rows[0]["percent"] == ""


@pytest.mark.parametrize("turned", [0.0, 0.0003])
@pytest.mark.parametrize("top", [0.05, 46.0, 78.0, -33.0])
def test_areas_in_degrees_are_those_of_the_earth(top: float, turned: float, tmp_path: Path) -> None:
    place = GeoReference(CRS.from_epsg(4326).to_wkt(), (0.001, turned, 14.0, -turned, -0.001, top))
    classes = np.ones((60, 40), np.uint8)
    block = Block(classes, np.ones((60, 40), np.float32), classes)
    MapFiles(MapInfo(("water",), "", place), (60, 40), lambda: cut(block, 7)).save(tmp_path / "x.csv")
    corners = [(0, 0), (40, 0), (40, 60), (0, 60)]
    transform = rasterio.Affine(*place.transform)
    true = abs(
        Geod(ellps="WGS84").polygon_area_perimeter(*zip(*(transform @ each for each in corners), strict=True))[0]
    )
    assert float(areas(tmp_path / "x.csv")[1]["area_m2"]) == pytest.approx(true, rel=1e-4)


def test_areas_without_a_place_are_pixels(tmp_path: Path) -> None:
    block = pixels(9, 9, probabilities=False)
    feet = MapInfo(NAMES, "", GeoReference(CRS.from_epsg(2263).to_wkt(), (10.0, 0.0, 0.0, 0.0, -10.0, 0.0)))
    for info, size in ((MapInfo(NAMES, ""), ""), (feet, f"{81 * 0.2 * (10 * 1200 / 3937) ** 2:.1f}")):
        MapFiles(info, (9, 9), lambda: [block]).save(tmp_path / "x.csv")
        rows = areas(tmp_path / "x.csv")
        unseen = {row["class"]: row["area_m2"] for row in rows}["no sensor"]
        assert unseen == (size and f"{int(rows[0]['pixels']) * (10 * 1200 / 3937) ** 2:.1f}")


def texts(figure: Figure) -> list[str]:
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_picture_shows_classes_confidence_and_sensors(block: Block) -> None:
    figure = MapFiles(INFO, (1100, 700), lambda: cut(block, 130)).picture()
    assert [axes.get_label() for axes in figure.axes] == ["classified", "confidence", "sensors"]
    found = texts(figure)
    assert {"water", "no sensor", "100 %", "hsi+lidar+sar", "sar"} <= set(found)
    assert [axes.get_xlabel() for axes in figure.axes] == ["x (EPSG:32633)"] * 3
    assert figure.axes[0].get_xlim() == (500000, 507000)
    assert figure.axes[0].get_ylim() == (5189000, 5200000)
    assert [text.get_text() for text in figure.axes[0].texts] == ["2 km", "N"]
    width = figure.axes[0].patches[1].get_width()  # type: ignore[attr-defined]
    assert width == pytest.approx(2000 / 7000)


def test_the_picture_of_a_large_map_has_every_nth_pixel(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapfiles, "MOST_SHOWN", 300)  # every fourth
    figure = MapFiles(INFO, (1100, 700), lambda: cut(block, 130)).picture()
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    np.testing.assert_array_equal(np.ma.filled(shown, -1) + 1, block.classes[::4, ::4])
    assert figure.axes[0].get_xlim() == (500000, 507000)


def with_sets(most: int) -> tuple[Figure, np.ndarray]:
    """The picture of a map with sets of 1 to so many classes, and their sizes."""
    block = pixels(40, 60, probabilities=False)
    sizes = np.where(block.classes > 0, 1 + np.arange(60) % most, 0).astype(np.uint8)
    found = replace(block, set_size=sizes)
    return MapFiles(replace(INFO, coverage=0.9), (40, 60), lambda: cut(found, 13)).picture(), sizes


def test_the_picture_of_a_map_with_sets_shows_their_sizes() -> None:
    """One colour for each size, the brighter the fewer classes; white where no sensor saw."""
    figure, sizes = with_sets(3)
    assert [axes.get_label() for axes in figure.axes] == ["classified", "confidence", "set size (90 %)", "sensors"]
    image = figure.axes[2].images[0].get_array()
    assert image is not None
    colours = [np.unique(image[sizes == number], axis=0) for number in range(4)]
    assert [len(found) for found in colours] == [1] * 4
    brightness = [int(found.sum(dtype=int)) for found in colours]
    assert brightness == sorted(brightness, reverse=True)
    assert brightness[0] == 3 * 255
    corners = [(round(axes.get_position().x0, 2), round(axes.get_position().y0, 2)) for axes in figure.axes]
    assert (len({x for x, _ in corners}), len({y for _, y in corners})) == (2, 2)
    (legend,) = figure.legends
    painted = {key.get_label(): key.get_facecolor() for key in legend.get_patches()}
    for number, text in enumerate(("1 class", "2 classes", "3 classes"), 1):
        np.testing.assert_allclose(255 * np.array(painted[text][:3]), colours[number][0], atol=0.5)


def test_a_legend_names_eight_sizes_of_sets_at_most() -> None:
    figure, _ = with_sets(30)
    named = [text for text in texts(figure) if text.endswith((" class", " classes"))]
    assert (len(named), named[0], named[-1]) == (8, "1 class", "30 classes")


@pytest.mark.parametrize(
    ("place", "label", "marks"),
    [
        (None, "column (pixel)", []),
        (GeoReference("", PLACE.transform), "x", []),
        (GeoReference(UTM, (8.0, 6.0, 5e5, 6.0, -8.0, 52e5)), "column (pixel)", ["50 m", "N"]),
        (
            GeoReference(CRS.from_epsg(4326).to_wkt(), (1e-4, 0.0, 14.0, 0.0, -1e-4, 46.0)),
            "longitude (EPSG:4326)",
            ["50 m", "N"],
        ),
    ],
    ids=["nowhere", "no system", "turned", "degrees"],
)
def test_the_axes_show_what_is_known(place: GeoReference | None, label: str, marks: list[str]) -> None:
    block = pixels(30, 27, probabilities=False)
    figure = MapFiles(MapInfo(NAMES, "x", place, (), SENSORS), (30, 27), lambda: [block]).picture()
    assert figure.axes[0].get_xlabel() == label
    assert [text.get_text() for text in figure.axes[0].texts] == marks


@pytest.mark.parametrize("shape", [(30, 30), (10, 60), (60, 10), (30, 50)])
@pytest.mark.parametrize(("place", "coverage"), [(PLACE, None), (None, None), (PLACE, 0.9)])
def test_nothing_covers_anything(shape: tuple[int, int], place: GeoReference | None, coverage: float | None) -> None:
    block = pixels(*shape, probabilities=False)
    block = replace(block, set_size=None if coverage is None else block.classes)
    names = tuple(f"{name} of the valley" for name in NAMES)
    figure = MapFiles(
        MapInfo(
            names, "Riverside: mamol with hsi+lidar+sar (random frozen weights)", place, (), SENSORS, coverage=coverage
        ),
        shape,
        lambda: [block],
    ).picture()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = {axes.get_label(): axes.get_tightbbox(canvas.get_renderer()) for axes in figure.axes}
    boxes |= {"legend": figure.legends[0].get_window_extent(), "title": figure.texts[0].get_window_extent()}
    names_of = list(boxes)
    for number, one in enumerate(names_of):
        assert boxes[one].x0 >= 0, one
        assert boxes[one].y0 >= 0, one
        assert boxes[one].x1 <= figure.bbox.x1, one
        for other in names_of[number + 1 :]:
            a, b = boxes[one], boxes[other]
            common = min(min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0))
            assert common <= 0, f"{one} and {other}"


def test_what_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    block = pixels(9, 9, probabilities=False)
    files = MapFiles(INFO, (9, 9), lambda: [block])
    (tmp_path / "file").write_text("")
    for ending in (".tif", ".png", ".npy", ".mat", ".csv"):
        with pytest.raises(MamolError, match="cannot be written") as caught:
            files.save(tmp_path / "file" / f"x{ending}")
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_raster_that_does_not_read_back_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL tells of a full disk not everywhere: here it loses a tile without a word."""
    copy = rasterio.shutil.copy

    def losing(source: Path, target: Path, **options: object) -> None:
        with rasterio.open(source, "r+") as file:
            file.write(np.zeros((1, 5, 5), np.uint8), window=rasterio.windows.Window(0, 0, 5, 5))
        copy(source, target, **options)

    monkeypatch.setattr(rasterio.shutil, "copy", losing)
    block = pixels(9, 9, probabilities=False)
    with pytest.raises(MamolError, match=r"x\.tif: what was written cannot be read back; is the disk full\?"):
        MapFiles(INFO, (9, 9), lambda: [block]).save(tmp_path / "x.tif")
    assert not list(tmp_path.iterdir())
