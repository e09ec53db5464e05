"""``compensate=True`` in a run: from the option to the checkpoint, through an interruption, and back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mamol
from mamol.core.errors import MamolError
from mamol.network.network import Network
from mamol.training.checkpoints import describe, read_checkpoint, save_checkpoint
from mamol.training.restoring import load_into
from tests.interrupted import assert_same_weights, continued
from tests.toys import tiny_tower, toy_batch, toy_network

OPTIONS: dict[str, Any] = {
    "backbone": "tiny",
    "num_gpus": 0,
    "progress_bar": False,
    "per_gpu_batchsize": 16,
    "batch_size": 16,
    "threads": 1,
    "compensate": True,
    "max_epoch": 3,
    "modalities": "lidar,sar",
    "expert_blocks": "last2",
}


def test_an_interrupted_run_goes_on_to_the_same_weights(table_folder: Path, tmp_path: Path) -> None:
    """Also which patterns are drawn, and how far the training is."""
    whole = mamol.train(table_folder, log_dir=tmp_path / "whole", **OPTIONS)
    found = continued(table_folder, tmp_path, OPTIONS)
    assert found.metrics["test"] == whole.metrics["test"]
    assert_same_weights(whole, found)
    info, weights = read_checkpoint(whole.checkpoint)
    others = {"head_blocks": None, "merged_ranks": None, "train_backbone": False}
    assert info.network.options == {"compensate": True, **others}
    assert any(name.startswith("compensator.") for name in weights)
    params = whole.metrics["params"]
    assert params["compensator"] > 0
    parts = ("embedding", "routers", "experts", "head", "compensator")
    assert params["trainable"] == sum(params[name] for name in parts)
    opened = mamol.load(whole.folder, num_gpus=0, progress_bar=False)
    assert opened.evaluate(table_folder, ratios=[0.5]).equals(whole.evaluate(table_folder, ratios=[0.5]))


def test_a_checkpoint_without_the_option_is_one_without_a_compensator(tmp_path: Path) -> None:
    tower, path = tiny_tower(), tmp_path / "old.safetensors"
    old = toy_network(tower=tower)
    old.spec = replace(old.spec, options={})
    save_checkpoint(path, old, describe(old, {}, 1, None))
    here = Network(replace(old.spec, options={"compensate": False}), {"visual": tower}, seed=1)
    load_into(here, path)
    assert torch.equal(here(toy_batch())[0], old(toy_batch())[0])
    with pytest.raises(MamolError, match="other data: compensate False there, True here; use the table"):
        load_into(toy_network(tower=tower, compensate=True), path)


def test_it_is_refused_before_anything_is_written(table_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MamolError, match="compensate=True: fusion=single_stream leaves absent modalities out"):
        mamol.train(table_folder, log_dir=tmp_path / "runs", **{**OPTIONS, "fusion": "single_stream"})
    with pytest.raises(MamolError, match="compensate=True: sar is alone and never absent; use compensate=False"):
        mamol.train(table_folder, log_dir=tmp_path / "runs", **{**OPTIONS, "modalities": "sar"})
    assert not (tmp_path / "runs").exists()
