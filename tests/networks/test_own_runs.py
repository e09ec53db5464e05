"""A network of its own through the commands and the library, from tables to maps; what does not go with it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import mamol
from mamol.core.errors import MamolError
from mamol.core.groups import MethodSettings, NetworkSettings
from mamol.core.modality import IMAGE, WINDOW, Modality
from mamol.core.settings import Settings
from mamol.data.patches import WindowCutter
from mamol.data.scenes import load_scene
from mamol.evaluation.contributions import contributions, wide
from mamol.evaluation.trained import open_trained
from mamol.network.building import spec_of
from mamol.training.checkpoints import read_checkpoint
from mamol.training.released_weights import load_released
from tests.interrupted import assert_same_weights, continued
from tests.lines import QUICK, run, tables, trained
from tests.networks.test_own import OWN, made
from tests.pages import registered

LIBRARY: dict[str, Any] = {"num_gpus": 0, "progress_bar": False, "per_gpu_batchsize": 16, "batch_size": 16}
OPTIONS = ("missing_type=all", "missing_ratio=0.3")
PER_CLASS = ("--train-per-class", 8, "--val-per-class", 4, "--test-per-class", 6)


@pytest.fixture(scope="module")
def table(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows of 6 × 6 pixels of the synthetic scene, which can be shifted."""
    out = tmp_path_factory.mktemp("own") / "table"
    made_of = ("--dataset", "synthetic", "--root", scene_folder, "--out", out, "--patch-size", 6, "--layout", "scene")
    assert tables(*made_of, *PER_CLASS).returncode == 0
    return out


@pytest.fixture(scope="module", params=OWN)
def name(request: pytest.FixtureRequest) -> str:
    """Each network without frozen towers."""
    return str(request.param)


@pytest.fixture(scope="module")
def folder(name: str, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run; the backbone that its options name is not there and is not asked for."""
    given = (*OPTIONS, f"network={name}", f"data_root={table}", "backbone=none", "max_epoch=6")
    return trained(tmp_path_factory.mktemp("runs"), *given)


def metrics(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "metrics.json").read_text())
    return content


def test_it_learns_and_says_what_it_is(name: str, folder: Path) -> None:
    found = metrics(folder)
    assert found["test"]["OA"] > 35  # by chance 17
    assert found["test"]["n"] == 36
    assert len(found["test"]["per_pattern"]) > 3
    assert found["method"] == name
    nothing = {"name": "", "weights": "none: all weights are trained", "sha256": ""}
    assert found["backbone"] == {**nothing, "random": False, "transductive": False}
    params = found["params"]
    assert (params["frozen"], params["total"]) == (0, params["trainable"])
    assert sum(params.values()) == 3 * params["total"], "trainable, total, and the parts together"
    info, _ = read_checkpoint(folder)
    assert (info.network.network, info.network.method, info.network.backbone) == (name, "", "")


def test_tested_again_it_scores_the_same(name: str, folder: Path, table: Path) -> None:
    given = (*OPTIONS, f"network={name}", f"data_root={table}", "test_only=True", f"load_path={folder}")
    assert metrics(trained(folder.parent, *given))["test"] == metrics(folder)["test"]
    result = run("evaluate", "with", f"load_path={folder}", f"data_root={table}", "num_gpus=0", "progress_bar=False")
    assert result.returncode == 0, result.stderr
    assert "hsi+lidar+sar" in result.stdout


def test_a_map_says_what_the_library_says(name: str, folder: Path, scene_folder: Path) -> None:
    """With stride P, away from the last windows, a pixel is in one window only."""
    opened = mamol.load(folder, num_gpus=0, progress_bar=False)
    drawn = opened.map(scene_folder, present="hsi+lidar")
    rasters = load_scene("synthetic", scene_folder, need_labels=False).rasters
    cutters = {name: WindowCutter(np.atleast_3d(rasters[name]), 6) for name in ("hsi", "lidar")}
    (middle,) = opened.predict({name: each.cut(np.array([9]), np.array([15])) for name, each in cutters.items()})
    assert drawn.classes[9, 15] == middle.argmax() + 1
    assert drawn.confidence[9, 15] == pytest.approx(middle.max(), rel=1e-5)
    assert f"{name} with hsi+lidar" in drawn.title
    assert "random frozen" not in drawn.title


def test_the_command_draws_maps_too(folder: Path, corner_folder: Path) -> None:
    given = (f"load_path={folder}", f"scene={corner_folder}", "num_gpus=0", "progress_bar=False")
    result = run("predict", "with", *given, "stride=3", "dry_run=True")
    assert "6 windows at most" in result.stdout, result.stderr
    result = run("predict", "with", *given, "stride=3")
    assert result.returncode == 0, result.stderr
    assert all(Path(line).is_file() for line in result.stdout.splitlines())


def test_handed_on_it_is_the_same(name: str, folder: Path, table: Path, tmp_path: Path) -> None:
    opened = mamol.load(folder, num_gpus=0, progress_bar=False)
    again = mamol.load(opened.save(tmp_path / "mine"), num_gpus=0, progress_bar=False)
    assert again.evaluate(table, ratios=[0]).equals(opened.evaluate(table, ratios=[0]))
    assert f"{name} on hsi" in repr(again)
    card = (tmp_path / "mine" / "README.md").read_text()
    assert f"All weights of a network `{name}`." in card
    assert "lora" not in card
    assert "clip_weights" not in card
    assert "Frozen weights: none: all weights are trained\n" in card


@pytest.mark.parametrize("name", ["unet", "dis2"])
def test_an_interrupted_run_goes_on_to_the_same_weights(name: str, table: Path, tmp_path: Path) -> None:
    """``dis2`` draws in each step, and its loss changes on the way."""
    options: dict[str, Any] = {**LIBRARY, "network": name, "max_epoch": 3, "resample_missing": True, "threads": 1}
    whole = mamol.train(table, log_dir=tmp_path / "whole", **options)
    goes_on = continued(table, tmp_path, options)
    assert goes_on.metrics["test"] == whole.metrics["test"]
    assert_same_weights(whole, goes_on)


def test_params_counts_its_parts(table: Path) -> None:
    result = run("params", "with", "remote", "network=unet", f"data_root={table}", "modalities=sar,hsi")
    assert result.stdout.startswith("unet, sar 2, hsi 48, 6 classes")
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == [
        "encoder", "decoder", "head", "trainable", "frozen", "total",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("method=lora", "method=lora: network=unet has no method to choose; leave it out, or use network=clip"),
        ("fusion=single_stream", "fusion=single_stream: network=unet has no fusion to choose"),
        ("head=pixels", "head=pixels: network=unet has no head to choose"),
        ("network=vnet", "network='vnet' must be one of unet, dis2, perceiver, clip"),
        ("window_shift=9", "window_shift=9: the windows of "),
        ("load_path={clip}", "network 'clip' there, 'unet' here"),
    ],
)
def test_what_does_not_go_with_it_is_refused_in_one_line(
    option: str, message: str, table: Path, finished_run: Path, tmp_path: Path
) -> None:
    given = ("network=unet", option.format(clip=finished_run), f"log_dir={tmp_path / 'runs'}")
    result = run("with", "remote", *QUICK, f"data_root={table}", *given)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("figures")
def test_routing_shows_what_each_modality_is_worth(name: str, folder: Path, table: Path) -> None:
    """There are no routers."""
    arguments = ("routing", "with", f"load_path={folder}", f"data_root={table}", "num_gpus=0", "progress_bar=False")
    result = run(*arguments)
    assert result.returncode == 0, result.stderr[-1500:]
    assert f"that are lost without a modality: routing of {name} on" in result.stdout
    assert (folder / "routing" / "contributions.png").stat().st_size > 10_000
    found = pd.read_csv(folder / "routing" / "contributions.csv")
    assert found.columns.tolist() == ["pattern", "class", "modality", "samples", "with", "without", "lost"]
    assert len(found) == (3 + 2 + 2 + 2) * 6
    assert (found["samples"] == 6).all()
    loaded = open_trained(Settings.of({"load_path": str(folder), "data_root": str(table), "num_gpus": 0}), "routing")
    chosen = found[(found["pattern"] == "hsi+sar") & (found["class"] == loaded.classes[2])]
    index = np.flatnonzero(loaded.table.label == 2)
    windows = {each: torch.from_numpy(loaded.table.windows(each, index)) for each in loaded.modalities}

    def mean(*available: bool) -> float:
        with torch.inference_mode():
            logits = loaded.network.classify({**windows, "available": torch.tensor([available] * len(index))})
        return float(logits.softmax(1)[:, 2].mean())

    both, sar, hsi = mean(True, False, True), mean(False, False, True), mean(True, False, False)
    assert chosen["modality"].tolist() == ["hsi", "sar"]
    assert chosen["with"].to_numpy() == pytest.approx([both] * 2, abs=1e-5)
    assert chosen["without"].to_numpy() == pytest.approx([sar, hsi], abs=1e-5)
    assert chosen["lost"].to_numpy() == pytest.approx([both - sar, both - hsi], abs=1e-5)


def test_of_one_class_it_is_the_same(name: str, folder: Path, table: Path) -> None:
    loaded = open_trained(Settings.of({"load_path": str(folder), "data_root": str(table), "num_gpus": 0}), "routing")
    found = contributions(loaded, np.arange(36), batch=10)
    alone = contributions(loaded, np.flatnonzero(loaded.table.label == 5), batch=36)
    same = found[found["class"] == loaded.classes[5]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, same, rtol=1e-4)
    assert wide(found).columns.tolist() == ["pattern", "class", "samples", *loaded.modalities]
    assert wide(found)["hsi"].isna().sum() == 6, "only where it is there"


def test_images_and_released_checkpoints_are_not_for_it() -> None:
    inputs = [Modality("ms", WINDOW, 3), Modality("image", IMAGE, 3)]
    with pytest.raises(MamolError, match="network=unet takes windows of scenes, and image is none; use network=clip"):
        spec_of(inputs, ["a"], None, NetworkSettings(network="unet"), MethodSettings())
    with pytest.raises(MamolError, match=r"r.ckpt is a checkpoint of the released code, but network=unet"):
        load_released(made("unet"), {}, "r.ckpt")


PLUGIN = '''
"""One linear map of each pixel's bands."""

import torch
from torch import nn

from mamol.core.network import NETWORKS, AnyNetwork
from mamol.networks.windows import Windows


@NETWORKS.register("pixelwise")
class Pixelwise(AnyNetwork):
    def __init__(self, spec):
        super().__init__()
        self.spec, self.windows = spec, Windows(spec.modalities)
        self.linear = nn.Linear(sum(spec.sizes.values()), len(spec.classes))

    @classmethod
    def build(cls, spec, clip_weights, seed=0):
        return cls(spec)

    def normalise(self, mean, std):
        self.windows.normalise(mean, std)

    def trainable_parts(self):
        return {"windows": self.windows, "linear": self.linear}

    def forward(self, batch):
        return self.linear(torch.cat(self.windows(batch), 1).movedim(1, 3)), None
'''


def test_a_plugin_brings_a_network(table: Path, tmp_path: Path) -> None:
    file = tmp_path / "pixelwise.py"
    file.write_text(PLUGIN)
    with registered([file]):
        found = mamol.train(table, log_dir=tmp_path, plugins=[str(file)], network="pixelwise", max_epoch=1, **LIBRARY)
        assert found.metrics["method"] == "pixelwise"
        assert found.metrics["params"]["linear"] == found.metrics["params"]["trainable"]
