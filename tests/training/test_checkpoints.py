"""Checkpoints: what they hold, what comes back, and what is refused."""

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mamol.core.errors import MamolError
from mamol.core.streams import VISUAL
from mamol.network.network import Network
from mamol.training.checkpoints import describe, read_checkpoint, save_checkpoint
from mamol.training.restoring import load_into
from tests.toys import shake, tiny_tower, toy_batch, toy_network

DATA = {"dataset": "toy", "protocol": "disjoint", "seed": 0, "fingerprint": "0" * 64}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    network = toy_network()
    shake(network)
    path = tmp_path / "checkpoints" / "best-epoch=3-OA=50.00.safetensors"
    save_checkpoint(path, network, describe(network, DATA, 3, 50.0))
    return path


def test_what_is_saved_comes_back(saved: Path) -> None:
    trained, fresh = toy_network(), toy_network()
    shake(trained)
    info = load_into(fresh, saved)
    assert (info.epoch, info.score, info.data) == (3, 50.0, DATA)
    assert info.network == trained.spec
    for name, value in trained.trainable_state().items():
        assert torch.equal(fresh.trainable_state()[name], value), name
    assert torch.equal(fresh(toy_batch())[0], trained(toy_batch())[0])


def test_only_the_trainable_part_is_stored(saved: Path) -> None:
    with safe_open(saved, "pt") as file:
        assert set(file.keys()) == set(toy_network().trainable_state())
        assert json.loads(file.metadata()["mamol"])["network"]["modalities"] == {"hsi": 5, "lidar": 1}


def test_a_run_folder_means_its_best(saved: Path) -> None:
    assert read_checkpoint(saved.parent.parent)[0].epoch == 3


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MamolError, match="there is no such file; give a run's folder or a file of its checkpoints"):
        read_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(MamolError, match=r"no checkpoints/best\*\.safetensors in it"):
        read_checkpoint(tmp_path)


def test_truncated_files_are_refused(saved: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.safetensors"
    short.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(MamolError, match="cannot be read as safetensors"):
        read_checkpoint(short)
    broken = tmp_path / "broken.ckpt"
    torch.save({"state_dict": {"a": torch.ones(1000)}}, broken)
    whole = broken.read_bytes()
    for content in (whole[:500], b"\x80\x02}(}K\x01u."):  # half of it; a dictionary as a key of another
        broken.write_bytes(content)
        with pytest.raises(MamolError, match="cannot be read as a checkpoint"):
            read_checkpoint(broken)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (marker,)

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(MamolError, match="is refused: reading it would run code stored in it"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(MamolError, match=r"refused|cannot be read"):
        read_checkpoint(path)
    assert not marker.exists()


def test_files_of_others_are_refused(tmp_path: Path, saved: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.ones(1)}, foreign)
    with pytest.raises(MamolError, match="is not a checkpoint of this program"):
        read_checkpoint(foreign)
    torch.save({"a": torch.ones(1)}, tmp_path / "foreign.ckpt")
    with pytest.raises(MamolError, match="is not a checkpoint of this program"):
        read_checkpoint(tmp_path / "foreign.ckpt")
    info = describe(toy_network(), DATA, 0, None)
    newer = json.loads(info.to_json()) | {"format": 99}
    save_file({"a": torch.ones(1)}, foreign, metadata={"mamol": json.dumps(newer)})
    with pytest.raises(MamolError, match="has checkpoint format 99, this version reads 1"):
        read_checkpoint(foreign)
    save_file({"a": torch.ones(1)}, foreign, metadata={"mamol": '{"format": 1}'})
    with pytest.raises(MamolError, match="has no readable description of its network"):
        read_checkpoint(foreign)
    bad = json.loads(info.to_json())
    bad["network"]["colour"] = "blue"
    save_file({"a": torch.ones(1)}, foreign, metadata={"mamol": json.dumps(bad)})
    with pytest.raises(MamolError, match="describes its network in another way"):
        read_checkpoint(foreign)


@pytest.mark.parametrize(
    ("m", "method", "options", "message"),
    [
        (3, "mamol", {}, r"modalities \{'hsi': 5, 'lidar': 1\} there"),
        (2, "baseline", {}, "method 'mamol' there, 'baseline' here"),
    ],
)
def test_another_network_is_refused(saved: Path, m: int, method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MamolError, match=message):
        load_into(toy_network(m, method, **options), saved)


def test_another_backbone_is_refused(saved: Path) -> None:
    other = toy_network(tower=tiny_tower(seed=1))
    with pytest.raises(MamolError, match="was trained on other frozen weights"):
        load_into(other, saved)


def swapped_network() -> Network:
    """The toy network with its two modalities in the other order."""
    spec = toy_network().spec
    return Network(replace(spec, modalities=spec.modalities[::-1]), {VISUAL: tiny_tower()}, seed=0)


def test_modalities_keep_their_order(tmp_path: Path) -> None:
    """Not that of the alphabet: augsburg3 has hsi, sar, lidar."""
    network = swapped_network()
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, network, describe(network, DATA, 0, None))
    assert read_checkpoint(path)[0].network.names == ("lidar", "hsi")
    load_into(swapped_network(), path)


def test_bytes_that_are_no_checkpoint_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.ckpt"
    path.write_bytes(bytes(range(256)) * 40)
    with pytest.raises(MamolError, match=r"cannot be read as a checkpoint|is refused"):
        read_checkpoint(path)


def test_swapped_modalities_are_refused(tmp_path: Path) -> None:
    network = toy_network()
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, network, describe(network, DATA, 0, None))
    with pytest.raises(MamolError, match="order of modalities"):
        load_into(swapped_network(), path)


def test_a_table_is_called_one(table_folder: Path) -> None:
    with pytest.raises(MamolError, match=r"train\.arrow is a table, no checkpoint; give a run's folder"):
        read_checkpoint(table_folder / "train.arrow")
