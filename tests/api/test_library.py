"""The library as a notebook uses it: arrays to tables, training, predictions, maps, scores, an adapter to hand on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from scipy.io import loadmat

import mamol
from mamol.core.backbone import BackboneRequest, family_of
from mamol.core.settings import flat_defaults
from mamol.data.arrowfiles import map_file
from mamol.data.patches import WindowCutter
from tests.lines import run as command
from tests.pages import ROOT

QUICK: dict[str, Any] = {"backbone": "tiny", "num_gpus": 0, "progress_bar": False, "max_epoch": 2, "batch_size": 16}
QUICK |= {"per_gpu_batchsize": 16, "exp_name": "x"}
Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    """Two sensors that see two classes."""
    rng = np.random.default_rng(0)
    labels = labels_of()
    return {
        "hsi": rng.normal(size=(24, 32, 6)).astype(np.float32) + 4 * labels[..., None],
        "sar": rng.normal(size=(24, 32)) - 4 * labels,
    }


def labels_of() -> np.ndarray:
    labels = np.zeros((24, 32), int)
    labels[2:22, 2:15], labels[2:22, 17:30] = 1, 2
    return labels


@pytest.fixture(scope="module")
def tables(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> mamol.Tables:
    """Tables of them."""
    sizes = {"train_per_class": 24, "val_per_class": 8, "test_per_class": 20}
    out = tmp_path_factory.mktemp("library") / "tables"
    return mamol.build_tables(
        arrays, labels_of(), out=out, classes=["water", "crop"], patch_size=4, name="Field", **sizes
    )


@pytest.fixture(scope="module")
def trained(tables: mamol.Tables, tmp_path_factory: pytest.TempPathFactory) -> mamol.Run:
    """A run on them."""
    return mamol.train(tables, log_dir=tmp_path_factory.mktemp("runs"), **QUICK)


def test_tables_of_arrays_say_what_they_are(tables: mamol.Tables) -> None:
    assert "Field: 24 x 32, bands: hsi 6, sar 1, windows of 4" in str(tables)
    assert {path.name for path in tables.folder.iterdir()} >= {"train.arrow", "val.arrow", "test.arrow"}


def test_arrays_and_their_files_give_the_same_tables(arrays: Arrays, tables: mamol.Tables, tmp_path: Path) -> None:
    modalities = {name: {"file": f"{name}.npy"} for name in arrays}
    for name, array in {**arrays, "labels": labels_of()}.items():
        np.save(tmp_path / f"{name}.npy", array)
    scene = {"name": "Field", "modalities": modalities, "labels": {"file": "labels.npy"}, "classes": ["water", "crop"]}
    (tmp_path / "scene.json").write_text(json.dumps(scene))
    sizes = {"train_per_class": 24, "val_per_class": 8, "test_per_class": 20, "patch_size": 4}
    for source in (tmp_path, tmp_path / "scene.json"):
        other = mamol.build_tables(source, out=tmp_path / "tables", modalities="hsi,sar", **sizes)
        ours, theirs = (rows_of(each.folder) for each in (tables, other))
        assert ours == theirs


def rows_of(folder: Path) -> dict[str, list[Any]]:
    """All columns of the training table."""
    return map_file(folder / "train.arrow")[1].to_pydict()


def test_a_run_says_what_it_is(trained: mamol.Run) -> None:
    assert trained.modalities == {"hsi": 6, "sar": 1}
    assert trained.classes == ["water", "crop"]
    assert trained.folder is not None
    written = json.loads((trained.folder / "metrics.json").read_text())
    assert written.pop("seal").startswith("mamol-sha256:")
    assert trained.metrics == written
    assert repr(trained).endswith("x_seed0: mamol on hsi 6, sar 1; 2 classes)")


def test_every_option_of_the_command_line_is_a_keyword(tables: mamol.Tables, tmp_path: Path) -> None:
    defaults = {name: value for name, value, _ in flat_defaults() if name != "data_root"}
    run = mamol.train(tables, **{**defaults, **QUICK, "max_epoch": 1, "log_dir": tmp_path})
    assert json.loads((run.checkpoint.parents[1] / "config.json").read_text())["rank"] == 8


def test_the_library_and_the_command_line_train_the_same(
    trained: mamol.Run, tables: mamol.Tables, tmp_path: Path
) -> None:
    options = [f"{name}={value}" for name, value in QUICK.items()]
    done = command("with", "remote", *options, f"data_root={tables.folder}", f"log_dir={tmp_path}")
    ours, theirs = mamol.load(tmp_path / "x_seed0").metrics, trained.metrics
    assert done.returncode == 0
    assert ours["test"] == theirs["test"]


def test_loading_gives_the_same_run(trained: mamol.Run, arrays: Arrays) -> None:
    windows = {"sar": np.random.default_rng(1).normal(size=(40, 1, 4, 4))}
    first = trained.predict(windows)
    assert (first.shape, first.dtype) == ((40, 2), np.float32)
    np.testing.assert_allclose(first.sum(1), 1, rtol=1e-6)
    assert trained.folder is not None
    for path in (trained.folder, str(trained.folder), trained.checkpoint):
        np.testing.assert_array_equal(mamol.load(path, num_gpus=0).predict(windows), first)


def test_a_map_of_arrays_is_that_of_their_windows(trained: mamol.Run, arrays: Arrays, tmp_path: Path) -> None:
    drawn = trained.map({"hsi": arrays["hsi"]}, name="Field")
    assert drawn.classes.shape == drawn.confidence.shape == (24, 32)
    rows, cols = np.array([5, 23]), np.array([9, 31])
    probabilities = trained.predict({"hsi": WindowCutter(arrays["hsi"], 4).cut(rows, cols)})
    np.testing.assert_array_equal(drawn.classes[rows, cols], probabilities.argmax(1) + 1)
    np.testing.assert_allclose(drawn.confidence[rows, cols], probabilities.max(1), atol=1e-6)
    assert "Field" in drawn.title
    for ending in ("tif", "png", "mat", "npy"):
        assert drawn.save(tmp_path / f"x.{ending}").is_file()
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), drawn.classes)
    np.testing.assert_array_equal(loadmat(tmp_path / "x.mat")["classified"], drawn.classes)
    assert drawn.plot().axes


def test_a_map_of_arrays_with_a_place_keeps_it(trained: mamol.Run, arrays: Arrays, tmp_path: Path) -> None:
    place = (10.0, 0.0, 500000.0, 0.0, -10.0, 5200000.0)
    drawn = trained.map({"sar": arrays["sar"]}, crs="EPSG:32632", transform=place)
    with rasterio.open(drawn.save(tmp_path / "x.tif")) as file:
        assert file.crs.to_epsg() == 32632
        assert tuple(file.transform)[:6] == place
        np.testing.assert_array_equal(file.read(1), drawn.classes)


def test_a_map_of_a_folder_is_that_of_the_command_line(finished_run: Path, scene_folder: Path) -> None:
    run = mamol.load(finished_run, num_gpus=0, progress_bar=False)
    done = command(
        "predict", "with", f"load_path={finished_run}", f"scene={scene_folder}", "present=lidar", "num_gpus=0"
    )
    (path,) = [Path(line) for line in done.stdout.splitlines() if line.endswith("lidar.npy")]
    np.testing.assert_array_equal(run.map(scene_folder, present="lidar").classes, np.load(path))


def test_scores_are_a_frame(trained: mamol.Run, tables: mamol.Tables) -> None:
    frame = trained.evaluate(tables, ratios=[0, 0.7], types=["both"])
    assert list(frame)[:7] == ["type", "ratio", "present", "n", "OA", "AA", "kappa"]
    whole = frame[(frame.ratio == 0.7) & (frame.present == "all")]
    assert whole.OA.tolist() == pytest.approx([trained.metrics["test"]["OA"]])


def test_a_saved_adapter_is_the_network(trained: mamol.Run, tmp_path: Path) -> None:
    folder = trained.save(tmp_path / "adapter")
    assert {path.name for path in folder.iterdir()} == {
        "adapter.safetensors",
        "description.json",
        "metrics.json",
        "README.md",
    }
    card = (folder / "README.md").read_text()
    assert "random frozen weights" in card
    assert "hsi (6), sar (1)" in card
    again = mamol.load(folder, num_gpus=0)
    windows = {"hsi": np.ones((3, 6, 4, 4))}
    np.testing.assert_array_equal(again.predict(windows), trained.predict(windows))
    assert again.metrics == trained.metrics
    with pytest.raises(mamol.MamolError, match="adapter is there and not empty; give another folder"):
        trained.save(folder)


def test_an_adapter_works_at_the_command_line(trained: mamol.Run, tables: mamol.Tables, tmp_path: Path) -> None:
    folder = trained.save(tmp_path / "adapter")
    line = ("remote", *(f"{k}={v}" for k, v in QUICK.items()), f"data_root={tables.folder}", f"log_dir={tmp_path}")
    done = command("with", *line, f"load_path={folder}", "test_only=True")
    assert done.returncode == 0, done.stderr
    assert mamol.load(folder).metrics["test"] == json.loads((tmp_path / "x_seed0" / "metrics.json").read_text())["test"]


STARTS = """
import gc, sys, mamol
def absent(*names): assert not (there := set(names) & sys.modules.keys()), (sys.argv, there)
absent("torch", "sacred", "pandas")
from mamol.commands.door import run
training = ("pytorch_lightning", "torchmetrics", "tensorboard", "scipy.stats", "mamol.api.experiment")
networks = ("open_clip", "torchvision", "transformers", "torch._dynamo")
drawing = ("matplotlib", "pyogrio", "geopandas", "shapely")
launchers = ("ray", "submitit")
assert run(["run.py", "--help"]) == run(["run.py", "help"]) == 0
absent("torch", "sacred", "pandas")
assert run(["run.py", "help", "predict"]) == run(["run.py", "print_config"]) == 0
absent(*training, *networks, *drawing, "rasterio", "h5py", "scipy")
assert gc.isenabled() and gc.get_freeze_count(), "collections leave out what was imported"
assert run(["run.py", "datasets"]) == 0
absent(*training, *networks, *drawing)
from mamol.core.backbone import BackboneRequest, family_of
sys.stderr.write(family_of("tiny").visual(BackboneRequest("tiny", "openai"), 4).fingerprint)
assert run(["run.py", "methods"]) == run(["run.py", "params", "with", "remote", "backbone=tiny"]) == 0
absent(*training, *drawing)
import mamol.evaluation.predict, mamol.evaluation.grid, mamol.evaluation.routing, mamol.launch.maps
from mamol.api import calibrate, export, merge, prune, report
absent(*training, *launchers)
mamol.train, mamol.Map
"""
"""What is not imported at each point, from the cheapest command on."""


@pytest.mark.usefixtures("tiny")
def test_importing_costs_nothing() -> None:
    """In one process. The first tower that it builds is that of this process, where open_clip was there before."""
    done = subprocess.run([sys.executable, "-c", STARTS], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    tower = family_of("tiny").visual(BackboneRequest("tiny", "openai"), 4)
    assert tower.fingerprint in done.stderr


def test_building_tables_does_without_torch() -> None:
    line = [sys.executable, "-X", "importtime", "make_arrow.py", "--help"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    loaded = {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}
    assert "mamol.data.prepare" in loaded
    assert not {"torch", "sacred", "pytorch_lightning", "open_clip"} & loaded


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, r"labels: tables need them; give an array \(H, W\)"),
        ({"labels": np.zeros((24, 31), int)}, r"hsi: shape \(24, 32, 6\) does not fit the grid of the scene"),
        ({"labels": np.zeros((24, 32), int)}, "labels: the label map has no labelled pixel"),
        ({"classes": ["water"]}, "classes: 1 names for labels that go up to 2; give one name per label"),
        ({"patch_size": "8"}, "patch_size '8': expected a whole number"),
        (
            {"patch_sice": 8},
            "patch_sice: not for dataset scene, which takes layout, margin, min_valid, modalities, patch_size",
        ),
        ({"modalities": "hsi,lidar"}, "modalities: no array is called lidar; there are hsi, sar"),
        ({"dataset": "trento"}, "dataset 'trento': arrays are a scene of their own"),
        ({"source": {}}, "arrays: no arrays; give a dictionary"),
        ({"source": {"hsi": [["a"]]}}, "hsi: expected an array of numbers"),
        ({"source": {"hsi": np.full((24, 32), np.nan)}}, "hsi: "),
    ],
)
def test_arrays_that_do_not_fit_are_told(change: dict[str, Any], message: str, arrays: Arrays, tmp_path: Path) -> None:
    given = {"source": arrays, "labels": labels_of(), "out": tmp_path / "tables", "patch_size": 4, **change}
    with pytest.raises(mamol.MamolError, match=message):
        mamol.build_tables(given.pop("source"), given.pop("labels"), **given)
    assert not (tmp_path / "tables").exists()


@pytest.mark.parametrize("what", ["labels", "classes", "name"])
def test_what_belongs_to_arrays_is_refused_of_files(what: str, tmp_path: Path) -> None:
    given = {"labels": labels_of(), "classes": ["a", "b"], "name": "Field"}
    with pytest.raises(mamol.MamolError, match=f"{what}: belongs to arrays; of files, the scene.json says it"):
        mamol.build_tables(tmp_path, out=tmp_path / "tables", **{what: given[what]})


@pytest.mark.parametrize(
    ("scene", "options", "message"),
    [
        ({"lidar": np.zeros((9, 9))}, {}, "present=lidar: the checkpoint has no modality lidar; it has hsi\\+sar"),
        ({"sar": np.zeros((9, 9))}, {"present": "hsi"}, "present=hsi: there is no array of hsi; give it"),
        ({"sar": np.zeros((9, 9, 2))}, {}, "sar has 2 bands, the checkpoint was trained with 1"),
        ({"sar": np.zeros((9, 9))}, {"crs": "EPSG:32632"}, "crs and transform belong together"),
        ({"sar": np.zeros((9, 9))}, {"crs": "Mars", "transform": (1, 0, 0, 0, 1, 0)}, "crs='Mars' is no coordinate"),
    ],
)
def test_maps_that_cannot_be_drawn_are_told(
    scene: Arrays, options: dict[str, Any], message: str, trained: mamol.Run
) -> None:
    with pytest.raises(mamol.MamolError, match=message):
        trained.map(scene, **options)


@pytest.mark.parametrize("windows", [{}, {"sar": np.zeros((2, 1, 4, 4)), "hsi": np.zeros((3, 6, 4, 4))}])
def test_windows_that_belong_to_no_samples_are_told(windows: Arrays, trained: mamol.Run) -> None:
    with pytest.raises(mamol.MamolError, match="predict: give windows of one or more of hsi, sar, N of each"):
        trained.predict(windows)


def test_windows_with_holes_count_where_enough_was_seen(trained: mamol.Run) -> None:
    rng = np.random.default_rng(2)
    windows = {"hsi": rng.normal(size=(3, 6, 4, 4)), "sar": rng.normal(size=(3, 1, 4, 4))}
    torn = {name: array.copy() for name, array in windows.items()}
    torn["hsi"][0] = np.nan
    torn["hsi"][1, :, 0] = np.nan
    found = trained.predict(torn)
    np.testing.assert_allclose(found[0], trained.predict({"sar": windows["sar"]})[0], atol=1e-5)
    np.testing.assert_allclose(found[2], trained.predict(windows)[2], atol=1e-5)
    assert np.isfinite(found).all()
    torn["sar"][0] = np.nan
    with pytest.raises(mamol.MamolError, match="predict: no sensor saw sample 0; leave it out"):
        trained.predict(torn)


def test_windows_of_another_shape_are_told(trained: mamol.Run) -> None:
    with pytest.raises(mamol.MamolError, match=r"sar has shape \(2, 1, 5, 5\); this network takes hsi \(N, 6, 4, 4\)"):
        trained.predict({"sar": np.zeros((2, 1, 5, 5))})


def test_a_notebook_trains_in_one_process(
    tables: mamol.Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.raises(mamol.MamolError, match="2 processes cannot be started from a notebook; use num_gpus=1"):
        mamol.train(tables, cpu_processes=2, log_dir=tmp_path / "runs", **{**QUICK, "batch_size": 32})
    assert not (tmp_path / "runs").exists()


def test_training_trains(tables: mamol.Tables, trained: mamol.Run) -> None:
    with pytest.raises(mamol.MamolError, match="test_only=True: nothing would be trained"):
        mamol.train(tables, test_only=True, load_path=trained.checkpoint, **QUICK)
