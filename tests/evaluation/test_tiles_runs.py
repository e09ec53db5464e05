"""Runs on tiles through the command line: trained, tested again, at every pattern, mapped, resumed; what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mamol
from mamol.core.errors import MamolError
from mamol.data.datamodules import MultimodalData
from mamol.evaluation.predictions import read_predictions
from mamol.evaluation.statistics import compare
from tests.areas import write_scene
from tests.interrupted import assert_same_weights, continued
from tests.lines import run, tables, trained

P = 8
QUIET = ("num_gpus=0", "progress_bar=False")
OPTIONS = ("missing_ratio=0.5", "loss=ce+dice", "class_weight=balanced", "augment=flips,turns")
NETWORKS = {"unet": ("network=unet", "max_epoch=25"), "pixels": ("head=pixels", "rank=2", "max_epoch=3")}
LIBRARY: dict[str, Any] = {"num_gpus": 0, "progress_bar": False, "per_gpu_batchsize": 4, "batch_size": 4, "threads": 1}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sensors, each of which tells two of three classes apart; one of them partly under a cloud."""
    folder = write_scene(tmp_path_factory.mktemp("raw") / "field", 0, (28, 34))
    labels = np.kron(np.random.default_rng(1).integers(1, 4, (7, 9)), np.ones((4, 4), int))[:28, :34]
    hsi, sar = np.load(folder / "hsi.npy"), np.random.default_rng(2).normal(size=(28, 34, 1))
    hsi += 4 * (labels == 1)[..., None]
    hsi[3:11, 4:20] = np.nan
    labels[20:22, 5:9] = 0
    for name, array in {"hsi": hsi, "sar": sar + 4 * (labels == 2)[..., None], "gt": labels}.items():
        np.save(folder / f"{name}.npy", array)
    return folder


@pytest.fixture(scope="module")
def table(scene: Path) -> Path:
    """Tiles, written by the command."""
    out = scene.parent / "tables"
    given = ("--task", "segmentation", "--tile", P, "--layout", "scene", "--margin", 2)
    result = tables("--dataset", "scene", "--root", scene, "--out", out, *given)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module", params=NETWORKS)
def folder(request: pytest.FixtureRequest, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of either network."""
    given = (*OPTIONS, *NETWORKS[request.param], f"data_root={table}", f"exp_name={request.param}")
    return trained(tmp_path_factory.mktemp("runs"), *given)


def metrics(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "metrics.json").read_text())
    return content


def test_it_learns_and_reports_pixels(folder: Path, table: Path) -> None:
    found = metrics(folder)["test"]
    data = MultimodalData(table)
    assert found["n"] == len(data.tables["test"])
    if folder.name.startswith("unet"):
        assert found["mIoU"] > 45  # one class everywhere has less than 15
    assert 0 <= found["mIoU_interval"][0] <= found["mIoU_interval"][1] <= 100
    assert list(found["per_class"]) == list(found["per_class_f1"]) == ["water", "crop", "tree"]
    assert {"confusion.png", "curves.png", "predictions.parquet"} <= {each.name for each in folder.iterdir()}
    kept = read_predictions(folder)
    assert sum(map(sum, kept["confusion"])) == found["pixels"]
    right = sum(np.reshape(one, (3, 3)).trace() for one in kept["confusion"])
    assert 100 * right / found["pixels"] == pytest.approx(found["OA"])
    with pytest.raises(MamolError, match=r"pixels of one tile are alike\); compare the scores of several seeds"):
        compare(folder, folder)


@pytest.mark.usefixtures("figures")
def test_tested_again_and_at_every_pattern_it_scores_the_same(folder: Path, table: Path) -> None:
    """``evaluate`` at this rate is the test; and it draws tiles of each pattern."""
    given = (*OPTIONS, *NETWORKS[folder.name.removesuffix("_seed0")], f"data_root={table}", "test_only=True")
    assert metrics(trained(folder.parent, *given, f"load_path={folder}"))["test"] == metrics(folder)["test"]
    result = run("evaluate", "with", f"load_path={folder}", f"data_root={table}", *QUIET, "evaluate_ratios=0,0.5")
    assert result.returncode == 0, result.stderr
    assert "95 % interval" not in result.stdout
    out = Path(result.stdout.splitlines()[-1])
    grid = pd.read_csv(out / "grid.csv")
    row = grid[(grid["type"] == "both") & (grid["ratio"] == 0.5) & (grid["present"] == "all")].iloc[0]
    test = metrics(folder)["test"]
    assert [row[name] for name in ("n", "mIoU", "OA", "AA", "kappa")] == pytest.approx(
        [test[name] for name in ("n", "mIoU", "OA", "AA", "kappa")]
    )
    assert all((out / f"tiles_{name}.png").stat().st_size > 10_000 for name in ("hsi+sar", "hsi", "sar"))


def test_maps_are_drawn_as_of_any_network_that_is_dense(folder: Path, scene: Path) -> None:
    """Window by window, the side of the tiles, also where they do not begin with one of the table's tiles."""
    given = (f"load_path={folder}", f"scene={scene}", *QUIET)
    result = run("predict", "with", *given, "stride=4", "dry_run=True")
    assert "48 windows at most" in result.stdout, result.stderr
    drawn = mamol.load(folder, num_gpus=0, progress_bar=False).map(scene, stride=8)
    labels = np.load(scene / "gt.npy")
    assert drawn.classes.shape == labels.shape
    assert (drawn.classes > 0).all()
    if folder.name.startswith("unet"):
        assert (drawn.classes == labels)[labels > 0].mean() > 0.6  # most common: 0.4


def test_an_interrupted_run_goes_on_to_the_same_weights(table: Path, tmp_path: Path) -> None:
    """With flips, turns and shifts drawn anew each epoch."""
    options: dict[str, Any] = {**LIBRARY, "network": "unet", "max_epoch": 3, "augment": ["turns", "flips"]}
    whole = mamol.train(table, log_dir=tmp_path / "whole", **options)
    goes_on = continued(table, tmp_path, options)
    assert goes_on.settings.data.augment == ("flips", "turns")
    assert_same_weights(whole, goes_on)


def test_routing_shows_tiles_with_a_class(folder: Path, table: Path) -> None:
    given = (f"load_path={folder}", f"data_root={table}", *QUIET, "routing_class=crop")
    result = run("routing", "with", *given)
    if folder.name.startswith("unet"):
        assert "network=unet has no routers" in result.stderr
    else:
        assert result.returncode == 0, result.stderr
        assert "class 2: crop" in result.stdout


def test_a_network_of_one_pixel_is_refused(table: Path, scene: Path, tmp_path: Path) -> None:
    """When it is made for tiles, and when a checkpoint of windows of this size is tried on them."""
    message = "head=class: classifies the pixel in the middle of a window, and the table is of tiles with a label"
    given = ("backbone=tiny", *QUIET, f"log_dir={tmp_path / 'runs'}", "per_gpu_batchsize=8", "batch_size=8")
    result = run("with", "remote", *given, f"data_root={table}")
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: head=class")
    assert not (tmp_path / "runs").exists()
    counted = run("params", "with", "remote", "network=unet", f"data_root={table}")
    assert counted.stdout.startswith("unet, hsi 3, sar 1, 3 classes")
    sizes = {"train_per_class": 4, "val_per_class": 0, "test_per_class": 4}
    windows = mamol.build_tables(scene, out=tmp_path / "windows", patch_size=P, layout="scene", **sizes)
    plain = mamol.train(windows, log_dir=tmp_path, backbone="tiny", max_epoch=1, **LIBRARY)
    with pytest.raises(MamolError, match="head=class: classifies the pixel in the middle of a window"):
        plain.evaluate(table)
    with pytest.raises(MamolError, match="augment=turns: goes with a head that classifies all pixels of a window"):
        mamol.train(windows, log_dir=tmp_path, backbone="tiny", augment="turns", **LIBRARY)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("augment=crops", "augment='crops' must be some of flips, turns"),
        ("loss=dice", "loss='dice' must be one of ce, ce+dice"),
        ("window_shift=3", "window_shift=3: the windows of "),
    ],
)
def test_options_that_cannot_be(option: str, message: str, table: Path, tmp_path: Path) -> None:
    result = run("with", "remote", "network=unet", *QUIET, f"data_root={table}", f"log_dir={tmp_path / 'r'}", option)
    assert result.returncode == 1
    assert message in result.stderr
    assert not (tmp_path / "r").exists()
