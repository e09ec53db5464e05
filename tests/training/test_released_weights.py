"""Checkpoints of the released code: loaded with their own frozen weights, or refused with the reason."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from mamol.core.backbone import Origin
from mamol.core.errors import MamolError
from mamol.network.network import Network
from mamol.parity.golden import Golden, read_golden
from mamol.parity.remote import released_network, remote_batch
from mamol.training.checkpoints import NAMED_BY_OLD_LIGHTNING, read_checkpoint, read_pickle
from mamol.training.released_weights import to_our_names
from mamol.training.restoring import load_into
from tests.released import Sizes, checkpoint_state, golden_tensors
from tests.shared import golden_file
from tests.toys import shake, windows

SIZES = Sizes()


@pytest.fixture
def golden() -> Golden:
    return Golden(SIZES.metadata(), golden_tensors(SIZES))


def write_checkpoint(path: Path, golden: Golden, **extra: object) -> Path:
    """A Lightning file as the release's module would make it from the golden weights."""
    state = checkpoint_state(golden.part("weights."))
    content = {"epoch": 7, "global_step": 96, "pytorch-lightning_version": "1.1.4", "state_dict": state, **extra}
    torch.save(content, path)
    return path


def other_network(golden: Golden) -> Network:
    """A network of the golden file's sizes with other weights, trainable and frozen."""
    network = released_network(golden)
    shake(network)
    tower = {name: torch.randn_like(value) for name, value in network.tower.visual.state_dict().items()}
    network.tower.load_weights(tower, Origin("other"))
    network.embedding[0].set_normalisation([5.0], [3.0])
    return network


def check_loaded(golden: Golden, path: Path) -> None:
    network = other_network(golden)
    before = network.tower.fingerprint
    expected, batch = golden.tensors["expected.logits"], remote_batch(golden)
    assert (network(batch)[0] - expected).abs().max() > 1e-2
    info = load_into(network, path)
    torch.testing.assert_close(network(batch)[0], expected, atol=1e-5, rtol=0)
    assert (info.epoch, info.backbone_origin, info.data) == (7, str(path), {})
    assert info.backbone_fingerprint == network.tower.fingerprint != before
    assert not any(p.requires_grad for p in network.tower.parameters())


def test_the_golden_weights_as_a_checkpoint(tmp_path: Path) -> None:
    golden = read_golden(golden_file("released_remote"))
    check_loaded(golden, write_checkpoint(tmp_path / "a.ckpt", golden))


def test_a_released_checkpoint_brings_everything(golden: Golden, tmp_path: Path) -> None:
    check_loaded(golden, write_checkpoint(tmp_path / "a.ckpt", golden))


def test_a_released_checkpoint_is_where_a_trained_tower_begins(golden: Golden, tmp_path: Path) -> None:
    network = other_network(golden)
    for weight in network.tower.trained("last1"):
        weight.requires_grad_(True)
    load_into(network, write_checkpoint(tmp_path / "a.ckpt", golden))
    there, _ = to_our_names(golden.part("weights.visual."))
    trained = {name.removeprefix("towers.visual.visual."): own for name, own in network.trained_weights().items()}
    assert trained
    assert all(torch.equal(own, there[name]) for name, own in trained.items())


def test_half_precision_is_loaded_into_float32(golden: Golden, tmp_path: Path) -> None:
    halves = {name: value.half() for name, value in golden.part("weights.").items()}
    torch.save({"state_dict": checkpoint_state(halves)}, tmp_path / "a.ckpt")
    network = other_network(golden)
    load_into(network, tmp_path / "a.ckpt")
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_the_class_that_old_lightning_names_is_read_without_lightning(golden: Golden, tmp_path: Path) -> None:
    assert f"{ModelCheckpoint.__module__}.{ModelCheckpoint.__qualname__}" == NAMED_BY_OLD_LIGHTNING
    path = write_checkpoint(tmp_path / "a.ckpt", golden, callbacks={ModelCheckpoint: {"best_model_path": "x"}})
    check_loaded(golden, path)
    (by_class,) = read_pickle(path)["callbacks"]
    assert by_class is not ModelCheckpoint


def test_anything_that_would_run_code_is_refused(golden: Golden, tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    path = write_checkpoint(tmp_path / "a.ckpt", golden, hyper_parameters=Evil())
    with pytest.raises(MamolError, match="is refused: reading it would run code stored in it"):
        load_into(other_network(golden), path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"activation": "auto"}, "method=released and activation=auto: add the named config released"),
        ({"method": "mamol"}, "method=mamol and activation=gelu: add the named config released"),
        ({"modalities": windows({"lidar": 1, "hsi": 3})}, r"modalities=\['lidar', 'hsi'\]; choose them"),
        ({"modalities": windows({"hsi": 3, "sar": 1, "lidar": 1})}, "for hsi and one other modality"),
    ],
)
def test_networks_of_another_kind_are_refused(
    spec: dict[str, Any], message: str, golden: Golden, tmp_path: Path
) -> None:
    network = other_network(golden)
    network.spec = replace(network.spec, **spec)
    with pytest.raises(MamolError, match=message):
        load_into(network, write_checkpoint(tmp_path / "a.ckpt", golden))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks": (0, 2)}, r"missing method\.layers\.1\..*unexpected method\.layers\.0\."),
        ({"rank": 5}, r"other shape method\.layers\.1\.experts\.down"),
        ({"classes": 9}, r"other shape head\.bias"),
        ({"bands": (7, 1)}, r"other shape embedding\.0\.mean"),
        ({"layers": 4}, r"a\.ckpt holds another tower \(width 16, 4 layers.* than backbone gives \(width 16, 3 layers"),
    ],
)
def test_other_sizes_are_named(change: dict[str, Any], message: str, golden: Golden, tmp_path: Path) -> None:
    sizes = replace(SIZES, **change)
    path = write_checkpoint(tmp_path / "a.ckpt", Golden(sizes.metadata(), golden_tensors(sizes)))
    with pytest.raises(MamolError, match=message):
        load_into(other_network(golden), path)


def test_unknown_weights_are_refused(golden: Golden, tmp_path: Path) -> None:
    state: dict[str, Tensor] = checkpoint_state(golden.part("weights."))
    path = write_checkpoint(tmp_path / "a.ckpt", golden, state_dict=state | {"food101_classifier.bias": torch.ones(2)})
    with pytest.raises(MamolError, match=r"unexpected food101_classifier\.bias"):
        load_into(other_network(golden), path)


def test_it_says_too_little_of_itself_for_predict(golden: Golden, tmp_path: Path) -> None:
    with pytest.raises(MamolError, match="which does not say its classes or bands: it can be tested"):
        read_checkpoint(write_checkpoint(tmp_path / "a.ckpt", golden))
