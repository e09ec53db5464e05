"""``train_backbone`` in a run: from the option to the checkpoint, through an interruption, and back."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import mamol
from mamol.core.errors import MamolError
from mamol.data.tables import open_tables
from mamol.network.building import assemble
from mamol.training.checkpoints import describe, read_checkpoint, save_checkpoint
from mamol.training.restoring import load_into
from tests.interrupted import assert_same_weights, continued
from tests.lines import QUICK, run
from tests.mixtures import small_folder, small_tower
from tests.toys import shake, toy_batch, toy_network

OPTIONS: dict[str, Any] = {
    "num_gpus": 0,
    "progress_bar": False,
    "per_gpu_batchsize": 16,
    "batch_size": 16,
    "threads": 1,
    "train_backbone": "last2",
    "max_epoch": 3,
    "modalities": "lidar,sar",
    "expert_blocks": "last2",
    "router_input": "modality",
}


@pytest.fixture(scope="module")
def folder(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pre-trained mixture of four blocks for the sensors of the synthetic scene."""
    bands = {each.name: each.size for each in open_tables(table_folder)["train"].info.inputs}
    return small_folder(tmp_path_factory.mktemp("made") / "backbone", bands)


@pytest.fixture(scope="module")
def whole(folder: Path, table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> mamol.Run:
    """A run that was not interrupted."""
    return mamol.train(table_folder, log_dir=tmp_path_factory.mktemp("runs"), backbone=str(folder), **OPTIONS)


def test_an_interrupted_run_goes_on_to_the_same_weights(
    folder: Path, whole: mamol.Run, table_folder: Path, tmp_path: Path
) -> None:
    found = continued(table_folder, tmp_path, {**OPTIONS, "backbone": str(folder)})
    assert found.metrics["test"] == whole.metrics["test"]
    assert_same_weights(whole, found)


def test_a_checkpoint_holds_what_was_trained_of_the_tower(folder: Path, whole: mamol.Run, tmp_path: Path) -> None:
    info, weights = read_checkpoint(whole.checkpoint)
    assert info.network.options["train_backbone"] == "last2"
    own = {name: value for name, value in weights.items() if name.startswith("towers.")}
    assert {name.split(".")[4] for name in own if ".layers." in name} == {"2", "3"}
    assert whole.metrics["params"]["backbone"] == sum(value.numel() for value in own.values())
    start = assemble(info.network, "openai").trainable_state()
    assert any(not torch.equal(value, start[name]) for name, value in own.items())
    assert info.backbone_fingerprint == whole.metrics["backbone"]["sha256"]
    adapter = whole.save(tmp_path / "adapter")
    assert "the last2 blocks of" in (adapter / "README.md").read_text("utf-8")
    _, handed_on = read_checkpoint(adapter)
    assert all(torch.equal(value, handed_on[name]) for name, value in weights.items())


def test_whatever_opens_the_run_has_the_trained_tower(
    whole: mamol.Run, table_folder: Path, tmp_path: Path, folder: Path
) -> None:
    expected = whole.evaluate(table_folder, ratios=[0.5])
    for path in (whole.folder, whole.save(tmp_path / "adapter")):
        opened = mamol.load(path, num_gpus=0, progress_bar=False)
        assert opened.evaluate(table_folder, ratios=[0.5]).equals(expected)
    place = (f"load_path={whole.folder}", f"data_root={table_folder}", f"log_dir={tmp_path}", "threads=1")
    settings = [f"{name}={value}" for name, value in OPTIONS.items()]
    again = run("with", "remote", *settings, f"backbone={folder}", *place, "test_only=True", "exp_name=again")
    assert again.returncode == 0, again.stderr
    told = json.loads((Path(again.stdout.splitlines()[-1]) / "metrics.json").read_text("utf-8"))
    assert told["test"] == whole.metrics["test"]
    routed = run("routing", "with", *QUICK[1:], *place)
    assert routed.returncode == 0, routed.stderr
    assert "modality_nats" in routed.stdout
    frozen = [*settings, "train_backbone=False", f"backbone={folder}", *place, "test_only=True"]
    refused = run("with", "remote", *frozen)
    assert "train_backbone 'last2' there, False here" in refused.stderr


def test_another_start_is_refused_and_the_same_one_taken(tmp_path: Path) -> None:
    bands, path = {"hsi": 5, "lidar": 1}, tmp_path / "own.safetensors"
    small: dict[str, Any] = {"expert_blocks": "last2", "train_backbone": "last1"}
    network = toy_network(2, tower=small_tower(bands), **small)
    shake(network)
    save_checkpoint(path, network, describe(network, {}, 1, None))
    same = toy_network(2, tower=small_tower(bands), **small)
    load_into(same, path)
    assert torch.equal(same(toy_batch())[0], network(toy_batch())[0])
    other = toy_network(2, tower=small_tower({**bands, "sar": 2}), **small)
    with pytest.raises(MamolError, match="was trained on other frozen weights"):
        load_into(other, path)
