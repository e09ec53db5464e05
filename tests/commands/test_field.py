"""From files as they come to a map, in three commands: a cloud, a swath edge, another grid, fields as polygons."""

from pathlib import Path

import numpy as np
import pytest

import make_arrow
from mamol.data.scenes import load_scene
from mamol.data.scenetable import SceneTable
from tests.field import CLASSES, SIDE, write_field_scene
from tests.lines import run, trained


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_field_scene(tmp_path_factory.mktemp("field") / "raw")


@pytest.fixture(scope="module")
def tables(field: Path) -> Path:
    out = field.parent / "tables"
    line = ["--dataset", "scene", "--root", field, "--out", out, "--patch-size", "4", "--protocol", "polygons"]
    sizes = ["--train-per-class", "80", "--val-per-class", "20", "--test-per-class", "80"]
    assert make_arrow.main(list(map(str, [*line, *sizes]))) == 0
    return out


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


def test_train_and_map(field: Path, tables: Path) -> None:
    options = (f"data_root={tables}", "exp_name=field", "max_epoch=3", "batch_size=16", "per_gpu_batchsize=16")
    folder = trained(field.parent / "runs", *options)
    done = run("predict", "with", f"load_path={folder}", f"scene={field}", "num_gpus=0", "progress_bar=False")
    assert done.returncode == 0, done.stderr
    (path,) = [Path(line) for line in done.stdout.splitlines() if line.endswith("ms+sar.npy")]
    classes = np.load(path)
    nobody = np.zeros((SIDE, SIDE), bool)
    nobody[10:26, 6:30] = True
    assert classes.shape == (SIDE, SIDE)
    assert (classes[~nobody] > 0).mean() > 0.95
