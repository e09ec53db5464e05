"""Labels from polygons and points: what a vector file holds, and which pixels it labels."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import shapes
from shapely.affinity import affine_transform

from mamol.commands.tables import main
from mamol.core.errors import MamolError
from mamol.data.scenes import Scene, load_scene
from mamol.data.tables import open_tables

UTM = "EPSG:32633"
SHAPE = (40, 50)
PLACE = Affine(10, 0, 500000, 0, -10, 5100000)
MAIZE, WHEAT, RYE = shapely.box(2, 3, 12, 20), shapely.box(20, 3, 30, 30), shapely.box(35, 5, 45, 15)
"""Fields in columns and rows of the grid."""


def on_earth(shapes: Sequence[shapely.Geometry | None], place: Affine = PLACE) -> np.ndarray:
    """Shapes in columns and rows, in the grid's coordinates."""
    a, b, c, d, e, f = place[:6]
    return np.array([each and affine_transform(each, (a, b, d, e, c, f)) for each in shapes])


def write_vector(
    path: Path,
    shapes: Sequence[shapely.Geometry | None],
    crs: str | None = UTM,
    layer: str | None = None,
    **columns: Any,
) -> Path:
    """Writes shapes with their columns; a second layer is added to the first."""
    values = [np.array(each) for each in columns.values()]
    pyogrio.raw.write(
        path,
        shapely.to_wkb(np.array(shapes, object)),
        values,
        list(columns),
        layer=layer,
        geometry_type="Polygon" if path.suffix == ".shp" else "Unknown",
        crs=crs,
        append=path.exists(),
    )
    return path


def write_geojson(path: Path, shape: shapely.Geometry, *crops: object) -> None:
    """Writes GeoJSON that names no coordinate system, as other programs do."""
    outline = shapely.geometry.mapping(shape)
    features = [{"type": "Feature", "properties": {"crop": crop}, "geometry": outline} for crop in crops]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def write_raster(path: Path, shape: tuple[int, int] = SHAPE, place: Affine = PLACE, crs: str | None = UTM) -> Path:
    values = np.random.default_rng(0).random((2, *shape)).astype(np.float32)
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 2, "dtype": "float32"}
    with rasterio.open(path, "w", **profile, crs=crs, transform=place) as file:
        file.write(values)
    return path


def describe(root: Path, **labels: Any) -> Path:
    """Writes a scene.json; keys of the whole scene begin with ``scene_``."""
    own = {key.removeprefix("scene_"): labels.pop(key) for key in list(labels) if key.startswith("scene_")}
    content = {"modalities": {"ms": {"file": "optical.tif"}}, "labels": labels, **own}
    (root / "scene.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a georeferenced raster."""
    write_raster(tmp_path / "optical.tif")
    return tmp_path


def scene_of(root: Path, **labels: Any) -> Scene:
    return load_scene("scene", describe(root, **labels))


def inside(shape: shapely.Geometry, size: tuple[int, int] = SHAPE) -> np.ndarray:
    """The pixels whose centres a shape in columns and rows holds, by shapely alone."""
    rows, cols = np.indices(size) + 0.5
    return shapely.contains_xy(shape, cols, rows)


@pytest.mark.parametrize("name", ["fields.gpkg", "fields.geojson", "fields.shp"])
def test_a_pixel_has_the_polygon_that_holds_its_centre(root: Path, name: str) -> None:
    slanted = shapely.Polygon([(20.3, 3.1), (30.7, 8.9), (22.2, 30.6)])
    write_vector(root / name, on_earth([MAIZE, slanted]), crop=["wheat", "maize"])
    scene = scene_of(root, file=name, column="crop")
    assert scene.classes == ("maize", "wheat")
    assert scene.maps is not None
    np.testing.assert_array_equal(scene.labels, 2 * inside(MAIZE) + inside(slanted))
    np.testing.assert_array_equal(scene.maps.polygons, inside(MAIZE) + 2 * inside(slanted))
    assert scene.maps.polygons.dtype == np.uint32
    assert name in scene.sources
    assert ("fields.dbf" in scene.sources) == name.endswith("shp")


def test_outlines_of_a_label_map_give_it_back(root: Path) -> None:
    truth = np.random.default_rng(1).integers(0, 4, SHAPE).repeat(2, axis=1)[:, : SHAPE[1]].astype(np.uint8)
    outlines = [(shapely.geometry.shape(each), int(value)) for each, value in shapes(truth, truth > 0, transform=PLACE)]
    write_vector(root / "fields.gpkg", [each for each, _ in outlines], code=[value for _, value in outlines])
    scene = scene_of(root, file="fields.gpkg", column="code")
    np.testing.assert_array_equal(scene.labels, truth)
    assert scene.maps is not None
    numbers, first = np.unique(scene.maps.polygons, return_index=True)
    assert len(numbers) == len(outlines) + 1
    assert [outlines[number - 1][1] for number in numbers[1:]] == truth.ravel()[first[1:]].tolist()


def test_a_turned_grid(root: Path) -> None:
    turned = Affine(8.66, 5, 500000, 5, -8.66, 5100000)
    write_raster(root / "optical.tif", place=turned)
    slanted = shapely.Polygon([(20.3, 3.1), (30.7, 8.9), (22.2, 30.6)])
    write_vector(root / "fields.gpkg", on_earth([slanted], turned), crop=["maize"])
    np.testing.assert_array_equal(scene_of(root, file="fields.gpkg", column="crop").labels, inside(slanted))


def test_polygons_in_longitude_and_latitude_are_reprojected(root: Path) -> None:
    to_degrees = pyproj.Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    degrees = shapely.transform(on_earth([MAIZE, WHEAT]), lambda at: np.column_stack(to_degrees.transform(*at.T)))
    write_vector(root / "fields.geojson", degrees, crs="EPSG:4326", crop=["maize", "wheat"])
    labels = scene_of(root, file="fields.geojson", column="crop").labels
    np.testing.assert_array_equal(labels, inside(MAIZE) + 2 * inside(WHEAT))


def test_points_label_the_pixel_that_they_lie_in(root: Path) -> None:
    points = [shapely.Point(3.01, 7.99), shapely.MultiPoint([(49.9, 39.9), (0.1, 0.1)])]
    write_vector(root / "plots.gpkg", on_earth(points), crop=["oak", "beech"])
    scene = scene_of(root, file="plots.gpkg", column="crop")
    expected = np.zeros(SHAPE, int)
    expected[7, 3], expected[39, 49], expected[0, 0] = 2, 1, 1
    np.testing.assert_array_equal(scene.labels, expected)


def test_overlaps_of_different_classes_are_counted_and_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    # The middle one differs from what lies above and below it; two of one class may lie on each other.
    shapes = [MAIZE, shapely.box(10, 3, 20, 9), shapely.box(2, 3, 12, 5), shapely.box(30, 30, 34, 34)]
    write_vector(root / "fields.gpkg", on_earth(shapes), crop=["maize", "wheat", "maize", "wheat"])
    with caplog.at_level(logging.WARNING):
        scene = scene_of(root, file="fields.gpkg", column="crop")
    both = inside(MAIZE) & inside(shapes[1])
    assert both.sum() == 12
    assert "fields.gpkg: left out: pixels in polygons of different classes: 12" in caplog.text
    expected = np.where(both, 0, inside(MAIZE) + 2 * (inside(shapes[1]) | inside(shapes[3])))
    np.testing.assert_array_equal(scene.labels, expected)
    assert scene.maps is not None
    assert not scene.maps.polygons[both].any()
    assert (scene.maps.polygons[inside(shapes[2]) & ~both] == 3).all()


def test_crossed_outlines_are_the_areas_they_enclose(root: Path) -> None:
    bow = shapely.Polygon([(2, 2), (22, 22), (22, 2), (2, 22)])
    write_vector(root / "fields.gpkg", on_earth([bow]), crop=["maize"])
    labels = scene_of(root, file="fields.gpkg", column="crop").labels
    assert labels is not None
    areas = shapely.MultiPolygon([([(2, 2), (12, 12), (2, 22)],), ([(22, 2), (12, 12), (22, 22)],)])
    # Centres on the diagonals lie on an edge, which belongs to one side or the other.
    on_edge = np.abs(shapely.distance(shapely.boundary(areas), shapely.points(*(np.indices(SHAPE)[::-1] + 0.5)))) < 1e-6
    np.testing.assert_array_equal(labels[~on_edge] > 0, inside(areas)[~on_edge])


def test_what_has_no_class_no_shape_or_lies_outside_is_left_out(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    shapes = on_earth([MAIZE, WHEAT, RYE, shapely.box(2000, 0, 2010, 10), RYE])
    shapes[4] = None
    write_vector(root / "fields.gpkg", shapes, crop=np.array(["maize", None, " ", "rye", "maize"], object))
    with caplog.at_level(logging.WARNING):
        scene = scene_of(root, file="fields.gpkg", column="crop")
    assert scene.classes == ("maize",)
    assert (
        "left out: polygons without a class: 2, polygons without a geometry: 1, polygons outside the scene: 1"
        in caplog.text
    )


def test_numbers_are_classes_in_their_order_and_nulls_are_none(root: Path) -> None:
    write_vector(root / "fields.gpkg", on_earth([MAIZE, WHEAT, RYE]), code=np.array([12.0, 3.0, np.nan]))
    scene = scene_of(root, file="fields.gpkg", column="code")
    assert scene.classes == ("3", "12")
    np.testing.assert_array_equal(scene.labels, 2 * inside(MAIZE) + inside(WHEAT))


def test_classes_give_the_order_and_the_names_of_numbers(root: Path) -> None:
    write_vector(root / "fields.gpkg", on_earth([MAIZE, WHEAT]), crop=["maize", "wheat"], code=np.array([1, 2]))
    expected = 2 * inside(MAIZE) + inside(WHEAT)
    scene = scene_of(root, file="fields.gpkg", column="crop", scene_classes=["wheat", "maize"])
    assert scene.classes == ("wheat", "maize")
    np.testing.assert_array_equal(scene.labels, expected)
    scene = scene_of(root, file="fields.gpkg", column="code", scene_classes=["maize", "wheat"])
    np.testing.assert_array_equal(scene.labels, inside(MAIZE) + 2 * inside(WHEAT))
    assert scene.classes == ("maize", "wheat")


def test_merged_classes_count_as_one_or_as_none(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_vector(root / "fields.gpkg", on_earth([MAIZE, WHEAT, RYE]), crop=["maize", "fallow", "rye"])
    merge = {"maize": "crop", "rye": "crop", "fallow": None, "mais": "crop"}
    with caplog.at_level(logging.WARNING):
        scene = scene_of(root, file="fields.gpkg", column="crop", merge=merge)
    assert scene.classes == ("crop",)
    np.testing.assert_array_equal(scene.labels, inside(MAIZE) | inside(RYE))
    assert "merge names mais, which no polygon has" in caplog.text


def test_a_class_without_a_pixel_is_left_out_unless_it_is_listed(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    sliver = shapely.box(20.6, 3, 21.4, 30)
    write_vector(root / "fields.gpkg", on_earth([MAIZE, sliver, RYE]), crop=["maize", "road", "rye"])
    with caplog.at_level(logging.WARNING):
        scene = scene_of(root, file="fields.gpkg", column="crop", merge={"maize": "zea"})
    assert scene.classes == ("rye", "zea")
    np.testing.assert_array_equal(scene.labels, inside(RYE) + 2 * inside(MAIZE))
    assert "classes without a pixel: road" in caplog.text
    with pytest.raises(MamolError, match=r"no pixel's centre lies in a polygon of road; take it out of classes"):
        scene_of(root, file="fields.gpkg", column="crop", scene_classes=["maize", "road", "rye"])


def test_the_named_layer_is_read(root: Path) -> None:
    write_vector(root / "area.gpkg", on_earth([MAIZE]), layer="fields", crop=["maize"])
    write_vector(root / "area.gpkg", on_earth([RYE]), layer="plots", crop=["rye"])
    assert scene_of(root, file="area.gpkg", layer="plots", column="crop").classes == ("rye",)
    with pytest.raises(MamolError, match=r"area.gpkg: no layer 'roads'; it has fields, plots"):
        scene_of(root, file="area.gpkg", layer="roads", column="crop")
    with pytest.raises(MamolError, match=r'several layers: fields, plots; name one, "layer": "fields"'):
        scene_of(root, file="area.gpkg", column="crop")


def test_polygons_are_not_needed_for_a_map(root: Path) -> None:
    assert load_scene("scene", describe(root, file="none.gpkg", column="crop"), need_labels=False).maps is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {"file": "none.gpkg", "column": "crop"},
            "labels: no file none.gpkg in .*; found fields.gpkg, opt",
        ),
        ({"file": "fields.gpkg"}, "names no column with the class.*; its columns are crop, area, fold, day"),
        ({"file": "fields.gpkg", "column": "kind"}, "no column 'kind'; its columns are crop, area, fold, day"),
        ({"file": "fields.gpkg", "column": "crop", "split": "part"}, "no column 'part'; its columns are crop, area"),
        ({"file": "fields.gpkg", "column": "area"}, "column area: holds fractions; classes are texts or whole num"),
        ({"file": "fields.gpkg", "column": "day"}, "column day: holds neither texts nor whole numbers"),
        (
            {"file": "fields.gpkg", "column": "crop", "split": "fold"},
            "column fold: 'hold' is no split; expected",
        ),
        ({"file": "fields.gpkg", "column": "crop", "scene_classes": ["rye", "maize"]}, "'wheat' not among the classes"),
        (
            {"file": "fields.gpkg", "column": "crop", "variable": "x"},
            "labels has the key variable, which a vector",
        ),
        ({"file": "fields.gpkg", "column": 3}, "labels.column is 3; expected a name, as in"),
        (
            {"file": "fields.gpkg", "column": "crop", "merge": ["rye"]},
            r"labels.merge is \['rye'\]; expected class",
        ),
        (
            {"file": "truth.tif", "column": "crop"},
            "labels.column goes with a vector file .*, and labels.file is",
        ),
    ],
)
def test_labels_that_are_refused(root: Path, labels: dict[str, Any], message: str) -> None:
    write_vector(
        root / "fields.gpkg",
        on_earth([MAIZE, WHEAT]),
        crop=["maize", "wheat"],
        area=[1.5, 2.5],
        fold=["train", "hold"],
        day=np.array(["2026-01-01", "2026-01-02"], "datetime64[D]"),
    )
    with pytest.raises(MamolError, match=message):
        scene_of(root, **labels)


def test_a_layer_without_features_is_refused(root: Path) -> None:
    write_vector(root / "fields.gpkg", [], crop=np.array([], object))
    with pytest.raises(MamolError, match="the layer fields is empty; give polygons or points"):
        scene_of(root, file="fields.gpkg", column="crop")


def test_mixed_classes_are_refused(root: Path) -> None:
    features = [
        {
            "type": "Feature",
            "properties": {"crop": crop},
            "geometry": shapely.geometry.mapping(shapely.box(15, 46, 16, 47)),
        }
        for crop in (1, "maize")
    ]
    (root / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    with pytest.raises(MamolError, match="column crop: mixes texts and numbers; write all classes as texts or all as"):
        scene_of(root, file="fields.geojson", column="crop")


def test_polygons_elsewhere_are_refused_with_both_extents(root: Path) -> None:
    write_vector(root / "fields.gpkg", on_earth([shapely.box(2000, 0, 2010, 10)]), crop=["maize"])
    with pytest.raises(
        MamolError,
        match=r"no polygon with a class lies on the scene; the polygons span x 520000 to .*the scene x 500000",
    ):
        scene_of(root, file="fields.gpkg", column="crop")


def test_metres_that_are_called_degrees_are_refused(root: Path) -> None:
    write_geojson(root / "fields.geojson", on_earth([MAIZE])[0], "maize")
    with pytest.raises(MamolError, match=r"coordinates are in degrees \(WGS 84\) as the file says, but go to x 5001"):
        scene_of(root, file="fields.geojson", column="crop")


def test_a_shapefile_without_its_parts_is_refused(root: Path) -> None:
    write_vector(root / "fields.shp", on_earth([MAIZE]), crop=["maize"])
    (root / "fields.prj").unlink()
    with pytest.raises(MamolError, match=r"says no coordinate system; save it with one .*.prj"):
        scene_of(root, file="fields.shp", column="crop")
    (root / "fields.dbf").unlink()
    with pytest.raises(
        MamolError, match=r"no column 'crop'; its columns are .*; a Shapefile's columns lie in the .dbf"
    ):
        scene_of(root, file="fields.shp", column="crop")


def test_lines_and_broken_files_are_refused(root: Path) -> None:
    write_vector(root / "roads.gpkg", on_earth([shapely.LineString([(0, 0), (9, 9)])]), crop=["road"])
    with pytest.raises(MamolError, match=r"roads.gpkg: holds LineString; expected polygons or points"):
        scene_of(root, file="roads.gpkg", column="crop")
    (root / "broken.gpkg").write_text("nothing")
    with pytest.raises(MamolError, match=r"broken.gpkg: not a readable vector file"):
        scene_of(root, file="broken.gpkg", column="crop")


def test_polygons_of_no_pixel_are_refused(root: Path) -> None:
    write_vector(root / "fields.gpkg", on_earth([shapely.box(3.1, 3.1, 3.4, 3.4)]), crop=["maize"])
    with pytest.raises(MamolError, match="no pixel's centre lies in polygons of one class"):
        scene_of(root, file="fields.gpkg", column="crop")


def test_too_many_classes_are_refused(root: Path) -> None:
    points = [shapely.Point(*at) for at in np.random.default_rng(0).uniform(1, 39, (1001, 2))]
    write_vector(root / "plots.gpkg", on_earth(points), number=np.arange(1001))
    with pytest.raises(MamolError, match="1001 classes on the scene, at most 1000 are expected; name the col"):
        scene_of(root, file="plots.gpkg", column="number")


def test_a_scene_without_a_place_is_refused(root: Path) -> None:
    write_raster(root / "optical.tif", crs=None)
    write_vector(root / "fields.gpkg", on_earth([MAIZE]), crop=["maize"])
    with pytest.raises(MamolError, match="polygons need a scene that lies somewhere on the earth"):
        scene_of(root, file="fields.gpkg", column="crop")


FIELDS = [shapely.box(col, row, col + 5, row + 5) for row in (2, 10, 18) for col in (2, 10, 18, 26)]


@pytest.fixture
def fields_root(root: Path) -> Path:
    """Six fields of maize and six of wheat, 25 pixels each; a column says the split."""
    fold = ["train", "TEST", "val", None] * 3
    crops = ["maize", "wheat"] * 3 + ["wheat", "maize"] * 3
    write_vector(root / "fields.gpkg", on_earth(FIELDS), crop=crops, fold=np.array(fold, object))
    return describe(root, file="fields.gpkg", column="crop")


def test_tables_of_whole_polygons(fields_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--dataset", "scene", "--root", str(fields_root), "--out", str(tmp_path / "out"), "--patch-size", "2"]
    assert main([*options, "--protocol", "polygons", "--train-per-class", "30", "--test-per-class", "all"]) == 0
    report = capsys.readouterr().out
    assert "protocol polygons, seed 0" in report
    assert "overlap: 0 polygons have training and test pixels; 0.0 % of the test pixels lie in them" in report
    tables = open_tables(tmp_path / "out")
    assert tables["test"].info.counts["train"] == {"maize": 30, "wheat": 30}
    assert tables["test"].info.counts["test"] == {"maize": 100, "wheat": 100}
    assert tables["test"].info.overlap["shared_polygons"] == 0

    def fields_of(split: str) -> set[tuple[int, int]]:
        return {((row - 2) // 8, (col - 2) // 8) for row, col in zip(tables[split].row, tables[split].col, strict=True)}

    assert len(fields_of("train")) == 4
    assert not fields_of("train") & fields_of("test")
    assert main([*options, "--train-per-class", "30", "--test-per-class", "40"]) == 0
    assert "overlap: 12 polygons have training and test pixels; 100.0 %" in capsys.readouterr().out


def test_tables_by_the_split_column(fields_root: Path, tmp_path: Path) -> None:
    describe(fields_root, file="fields.gpkg", column="crop", split="fold")
    options = [
        "--dataset",
        "scene",
        "--root",
        str(fields_root),
        "--out",
        str(tmp_path / "out"),
        "--protocol",
        "polygons",
    ]
    assert main([*options, "--train-per-class", "all", "--test-per-class", "all", "--val-per-class", "all"]) == 0
    counts = open_tables(tmp_path / "out")["train"].info.counts
    # Of the four columns of fields, each has one crop above and another below; the fourth is in no split.
    assert {split: sum(each.values()) for split, each in counts.items()} == {"train": 75, "val": 75, "test": 75}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--protocol", "polygons"],
            "class rye has 1 polygon with pixels, and one to train and one to test are needed",
        ),
        (["--train-per-class", "some"], "train-per-class 'some': expected a whole number or 'all'"),
    ],
)
def test_nothing_is_written_for_what_is_refused(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    write_vector(root / "fields.gpkg", on_earth([MAIZE, WHEAT, RYE]), crop=["maize", "maize", "rye"])
    describe(root, file="fields.gpkg", column="crop")
    assert main(["--dataset", "scene", "--root", str(root), "--out", str(tmp_path / "out"), *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
