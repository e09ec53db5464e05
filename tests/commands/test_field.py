"""From files as they come to a map, in three commands: a cloud, a swath edge, another grid, fields as polygons."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from PIL import Image
from scipy.io import loadmat, savemat
from scipy.ndimage import uniform_filter

import make_arrow
from mamol.core.names import pattern_name
from mamol.data.scenes import load_scene
from mamol.data.scenetable import SceneTable
from tests import field_scenes
from tests.field import CLASSES, FIELD, SIDE, write_field_scene
from tests.field_figure import stack
from tests.geotiffs import place, write_raster
from tests.lines import run, trained
from tests.shared import data_folder

PATCH = 4
MODALITIES = ("ms", "sar")


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_field_scene(tmp_path_factory.mktemp("field") / "raw")


@pytest.fixture(scope="module")
def tables(field: Path) -> Path:
    out = field.parent / "tables"
    line = ["--dataset", "scene", "--root", field, "--out", out, "--patch-size", PATCH, "--protocol", "polygons"]
    sizes = ["--train-per-class", "80", "--val-per-class", "20", "--test-per-class", "80"]
    assert make_arrow.main(list(map(str, [*line, *sizes]))) == 0
    return out


@pytest.fixture(scope="module")
def folder(field: Path, tables: Path) -> Path:
    """Of a run that was tested with the holes that nature made, and no others."""
    options = (f"data_root={tables}", "exp_name=field", "max_epoch=3", "batch_size=16", "per_gpu_batchsize=16")
    return trained(field.parent / "runs", *options, "test_ratio=0")


@pytest.fixture(scope="module")
def drawn(field: Path, folder: Path) -> dict[str, np.ndarray]:
    """The map of the scene."""
    done = run("predict", "with", f"load_path={folder}", f"scene={field}", "num_gpus=0", "progress_bar=False")
    assert done.returncode == 0, done.stderr
    (path,) = [Path(line) for line in done.stdout.splitlines() if line.endswith("ms+sar.mat")]
    return loadmat(path)


def test_the_scene_is_on_one_grid_with_its_holes(field: Path) -> None:
    scene = load_scene("scene", field)
    assert scene.classes == tuple(sorted(CLASSES))
    assert {name: raster.shape for name, raster in scene.rasters.items()} == {
        "ms": (SIDE, SIDE, 4),
        "sar": (SIDE, SIDE, 1),
    }
    cloud = np.isnan(scene.rasters["ms"]).all(2)
    assert cloud[10:26, 6:30].all()
    assert cloud.sum() == 16 * 24
    assert np.isnan(scene.rasters["sar"][:, 40:]).all()
    assert np.nanmin(scene.rasters["sar"]) > -100


def test_tables_know_what_was_seen(tables: Path) -> None:
    table = SceneTable.open(tables / "train.arrow")
    assert set(table.info.natural["train"]) == {"ms+sar", "ms", "sar"}
    assert abs(np.array(table.info.mean["ms"])).max() < 10


def test_train_and_map(drawn: dict[str, np.ndarray]) -> None:
    classes = drawn["classified"]
    nobody = np.zeros((SIDE, SIDE), bool)
    nobody[10:26, 6:30] = True
    assert classes.shape == (SIDE, SIDE)
    assert (classes[~nobody] > 0).mean() > 0.95


def test_a_map_says_what_the_test_says(tables: Path, folder: Path, drawn: dict[str, np.ndarray]) -> None:
    """The same sensors, class and probability at every test pixel, those whose windows were seen in part, too."""
    told = pd.read_parquet(folder / "predictions.parquet")
    rows, cols = told["row"].to_numpy(), told["col"].to_numpy()
    codes = drawn["sensors"][rows, cols]
    names = [pattern_name([code >> bit & 1 for bit in range(2)], MODALITIES) for code in codes.tolist()]
    assert names == told["pattern"].tolist()
    assert set(names) == {"ms+sar", "ms", "sar"}
    probabilities = told.filter(like="p_").to_numpy()
    np.testing.assert_allclose(drawn["confidence"][rows, cols], probabilities.max(1), atol=1e-5)
    np.testing.assert_array_equal(drawn["classified"][rows, cols] - 1, told["prediction"])
    table = SceneTable.open(tables / "test.arrow")
    shares = [(~np.isnan(table.windows(name, np.arange(len(table)))).any(1)).mean((1, 2)) for name in MODALITIES]
    in_part = [bool(((share < 1) & (codes >> bit & 1 == 1)).any()) for bit, share in enumerate(shares)]
    assert in_part == [True, True]
    least = min(share[codes >> bit & 1 == 1].min() for bit, share in enumerate(shares))
    assert table.info.min_valid <= least < 0.75


# --- bad input: one line each, and nothing written ---


def elsewhere(raw: Path) -> None:
    write_raster(raw / "sar.tif", np.ones((SIDE, SIDE)), place(west=90_000))


def without_crs(raw: Path) -> None:
    write_raster(raw / "sar.tif", np.ones((SIDE, SIDE)), place(), None)


def contradicting(raw: Path) -> None:
    for name, west in (("truth", 0), ("train", 10)):
        write_raster(raw / f"{name}.tif", np.ones((SIDE, SIDE), np.uint8), place(west=west))
    np.save(raw / "ms.npy", np.ones((SIDE, SIDE)))  # says nothing of its place, so the label maps have to
    labels = {"labels": {"file": "truth.tif"}, "train_labels": {"file": "train.tif"}}
    described(raw, modalities={"ms": {"file": "ms.npy"}}, **labels)


def all_nodata(raw: Path) -> None:
    write_raster(raw / "sar.tif", np.zeros((SIDE, SIDE), np.uint8), nodata=0)


def mask_elsewhere(raw: Path) -> None:
    write_raster(raw / "scl.tif", np.full((SIDE, SIDE), 9, np.uint8), place(west=90_000))
    described(raw, modalities={"ms": {"file": "optical.tif", "mask": {"file": "scl.tif", "invalid": [9]}}})


def another_column(raw: Path) -> None:
    described(raw, labels={"file": "fields.gpkg", "column": "kind"})


def polygons(raw: Path, **change: Any) -> None:
    """Other fields in the same file."""
    fields = gpd.read_file(raw / "fields.gpkg")
    (raw / "fields.gpkg").unlink()
    fields.assign(**change).to_file(raw / "fields.gpkg", layer="fields")


def polygons_outside(raw: Path) -> None:
    polygons(raw, geometry=lambda fields: fields.translate(5))


def no_polygons(raw: Path) -> None:
    fields = gpd.read_file(raw / "fields.gpkg")
    (raw / "fields.gpkg").unlink()
    fields.iloc[:0].to_file(raw / "fields.gpkg", layer="fields")


def texts_and_numbers(raw: Path) -> None:
    fields = json.loads(gpd.read_file(raw / "fields.gpkg").to_json())
    fields["features"][0]["properties"]["crop"] = 7
    (raw / "fields.geojson").write_text(json.dumps(fields))
    described(raw, labels={"file": "fields.geojson", "column": "crop"})


def one_polygon(raw: Path) -> None:
    polygons(raw, crop=["rye"] + ["maize"] * ((SIDE // FIELD) ** 2 - 1))


def described(raw: Path, **change: Any) -> None:
    """Another scene.json."""
    path = raw / "scene.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (contradicting, "train.tif: it covers x 500010 .* but truth.tif x 500000 .* must lie on one grid"),
        (elsewhere, "sar.tif: it covers x 590000 to 590480.* does not touch the grid.* x 500000 to 500480"),
        (without_crs, "sar.tif: it has coordinates without a CRS"),
        (all_nodata, "sar: none of its 48 x 48 pixels is valid"),
        (mask_elsewhere, "ms: mask .*scl.tif: it covers x 590000 .* does not touch the grid"),
        (another_column, "no column 'kind'; its columns are crop"),
        (polygons_outside, "no polygon with a class lies on the scene; the polygons span .*, the scene"),
        (no_polygons, "the layer fields is empty"),
        (texts_and_numbers, "column crop: mixes texts and numbers"),
        (one_polygon, "class rye has 1 polygon with pixels, and one to train and one to test are needed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_bad_input_is_told_in_one_line(
    damage: Callable[[Path], None], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, out = write_field_scene(tmp_path / "raw"), tmp_path / "tables"
    damage(raw)
    before = sorted(tmp_path.rglob("*"))
    assert make_arrow.main(["--dataset", "scene", "--root", str(raw), "--out", str(out), "--protocol", "polygons"]) == 1
    told = capsys.readouterr().err.splitlines()
    (error,) = [line for line in told if not line.startswith("WARNING")]
    assert re.search(message, error), error
    assert sorted(tmp_path.rglob("*")) == before


# --- real scenes, as tests/field_scenes.py writes them ---


def checked(kind: field_scenes.Field, data: Path, out: Path) -> Path:
    """Writes a scene by the command line, reads it and compares it with the arrays that it is made of."""
    assert field_scenes.main(["--data", str(data), "--out", str(out), "--only", kind.name]) == 0
    folder = out / kind.name
    scene = load_scene("scene", folder)
    labels, first, second = field_scenes.read_arrays(kind, data)
    assert scene.maps is not None
    assert scene.maps.polygons is not None
    np.testing.assert_array_equal(scene.maps.every, labels)
    assert scene.classes == tuple(kind.classes)
    optical, other = (scene.rasters[name] for name in (kind.first, kind.second))
    clouds, outside = np.isnan(optical[:, :, 0]), np.isnan(other[:, :, 0])
    assert (clouds.mean(), outside.mean()) == pytest.approx((0.25, 0.2), abs=0.06)
    np.testing.assert_allclose(optical[~clouds], first[~clouds], atol=5.1e-5)
    # Twice as coarse, shifted and turned, and back again.
    smoothed = uniform_filter(second[:, :, 0].astype(float), 3)
    assert np.corrcoef(other[:, :, 0][~outside], smoothed[~outside])[0, 1] > 0.85
    with rasterio.open(folder / f"{kind.second}.tif") as file:
        assert file.transform.b != 0
    assert str(gpd.read_file(folder / kind.labels).crs) == kind.crs
    return folder


@pytest.mark.parametrize("kind", field_scenes.FIELDS, ids=lambda kind: kind.name)
def test_arrays_as_field_scenes(kind: field_scenes.Field, tmp_path: Path) -> None:
    row, col = np.mgrid[: kind.part[0].stop or 41, : kind.part[1].stop or 50].astype(np.float32)
    labels = (row // 11 % len(kind.classes) + 1).astype(np.uint8)
    arrays = {"All_Label": labels, "HSI_data": np.stack([row, col], 2) / 100, kind.file: row + col}
    (tmp_path / kind.name).mkdir()
    for name, array in arrays.items():
        savemat(tmp_path / kind.name / f"{name}.mat", {name: array})
    folder = checked(kind, tmp_path, tmp_path / "scenes")
    back = load_scene("scene", folder).rasters[kind.second][:, :, 0] - (row + col)[kind.part]
    assert np.nanmedian(np.abs(back)) < 0.05  # pixels; the grid is shifted by 0.35 of them


@pytest.mark.parametrize("kind", field_scenes.FIELDS, ids=lambda kind: kind.name)
def test_real_scenes_come_to_tables(
    kind: field_scenes.Field, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checked(kind, data_folder(), tmp_path)
    line = ["--dataset", "scene", "--root", folder, "--out", tmp_path / "tables", "--patch-size", "8"]
    sizes = ["--protocol", "polygons", "--train-per-class", "20", "--val-per-class", "0", "--test-per-class", "40"]
    assert make_arrow.main(list(map(str, [*line, *sizes]))) == 0
    assert "0 polygons have training and test pixels" in capsys.readouterr().out
    info = SceneTable.open(tmp_path / "tables" / "test.arrow").info
    assert set(info.natural["test"]) == {f"{kind.first}+{kind.second}", kind.first, kind.second}


def test_pictures_stand_below_each_other(tmp_path: Path) -> None:
    for name, size in (("a", (30, 10)), ("b", (20, 40))):
        Image.new("RGB", size, "navy").save(tmp_path / f"{name}.png")
    page = Image.open(stack([tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "page.png")).convert("RGB")
    assert page.size == (30, 50)
    assert [page.getpixel(at) for at in ((0, 0), (4, 11), (5, 11))] == [(0, 0, 128), (255,) * 3, (0, 0, 128)]
