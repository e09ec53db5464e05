"""A mixture without some sensors and experts is the same for what stays, and its folder is a backbone."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor

from mamol.backbones.mixture.experts import Mixture
from mamol.backbones.mixture.folder import Pretrained, read_pretrained, tower_of, write_pretrained
from mamol.backbones.mixture.pruning import pruned
from mamol.backbones.mixture.tower import Layer, MixtureTower, Sizes
from mamol.core.backbone import Origin
from mamol.core.pruning import Cut
from mamol.network.network import Network
from tests.mixtures import small_mixture
from tests.toys import BANDS, toy_batch, toy_network, windows

NAMES = ("hsi", "lidar", "sar")
SENSORS = {name: BANDS[name] for name in NAMES}
ALL = {2: (0, 1, 2, 3), 3: (0, 1, 2, 3)}


def network_on(made: Pretrained, fusion: str = "late") -> Network:
    """Nothing added; sensors that the backbone knows have its embedding, heads are drawn the same."""
    return toy_network(3, "baseline", tower=tower_of(made, 4, Origin("test")), fusion=fusion).eval()


def features(network: Network, pattern: tuple[bool, ...]) -> dict[str, torch.Tensor]:
    batch = {**toy_batch(m=3), "available": torch.tensor([pattern]).expand(6, 3)}
    with torch.inference_mode():
        return network.features(batch)[0]


@pytest.mark.parametrize("fusion", ["late", "single_stream"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_without_absent_sensors_features_stay(fusion: str, top_k: int) -> None:
    made = small_mixture(SENSORS, top_k=top_k)
    left = pruned(made, Cut((0, 2), ALL))
    assert left.sizes == replace(made.sizes, sensors=windows({"hsi": 5, "sar": 2}))
    before, after = network_on(made, fusion), network_on(left, fusion)
    for hsi, sar in product((False, True), repeat=2):
        if hsi or sar:
            wanted, found = (features(each, (hsi, False, sar)) for each in (before, after))
            for name, value in wanted.items():
                torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
    for now, then in ((0, 0), (1, 2)):
        for name, value in made.embeddings[then].items():
            assert torch.equal(left.embeddings[now][name], value)


@pytest.mark.parametrize("top_k", [1, 3])
def test_without_experts_it_is_the_mixture_that_never_chooses_them(top_k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = small_mixture(SENSORS, top_k=top_k)
    cut = Cut((0, 1, 2), {2: (1, 2, 3), 3: (0, 2)})
    left = pruned(made, cut)
    assert left.sizes.experts_per_block == (3, 2)
    network = network_on(made)
    layers = cast(MixtureTower, network.tower).weights.layers
    for block, kept in cut.experts.items():
        mixture = cast(Mixture, cast(Layer, layers[block]).feed_forward)
        gone = [k for k in range(4) if k not in kept]
        monkeypatch.setattr(mixture, "logits", partial(_without, gone, mixture.logits))
    wanted = features(network, (True, True, True))
    for name, value in features(network_on(left), (True, True, True)).items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=1e-6)


def _without(
    gone: list[int], logits: Callable[[Tensor, Tensor | None], Tensor], z: Tensor, known: Tensor | None
) -> Tensor:
    """The logits, with which some experts are never chosen."""
    return logits(z, known).index_fill(-1, torch.tensor(gone), -1e9)


def test_a_pruned_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    left = pruned(small_mixture(SENSORS), Cut((1,), {2: (3,), 3: (0, 1, 2, 3)}))
    write_pretrained(tmp_path / "pruned", left)
    back = read_pretrained(tmp_path / "pruned")
    assert back.sizes == left.sizes
    assert back.state.keys() == left.state.keys()
    assert all(torch.equal(back.state[name], value) for name, value in left.state.items())
    twice = pruned(back, Cut((0,), {2: (0,), 3: (1,)}))
    at_once = pruned(small_mixture(SENSORS), Cut((1,), {2: (3,), 3: (1,)}))
    assert twice.sizes == at_once.sizes
    assert all(torch.equal(twice.state[name], value) for name, value in at_once.state.items())


def test_sizes_of_earlier_folders_are_as_ever() -> None:
    sizes = small_mixture(SENSORS).sizes
    assert "experts_per_block" not in sizes.to_json()
    assert Sizes.from_json(json.loads(json.dumps(sizes.to_json()))) == sizes
    assert [sizes.experts_of(block) for block in range(4)] == [0, 0, 4, 4]


OTHER = "is .* expected a whole number from 1 for each of the 2 mix"
TYPE = r"\[1\] is .*, expected a whole number"


@pytest.mark.parametrize(
    ("each", "told"), [([3], OTHER), ([3, 0], OTHER), ([3, True], TYPE), ([1, 2, 3], OTHER), ([1, 2.0], TYPE)]
)
def test_other_numbers_of_experts_are_refused(each: list[int], told: str) -> None:
    content = {**small_mixture(SENSORS).sizes.to_json(), "experts_per_block": each}
    with pytest.raises(ValueError, match=f"experts_per_block ?{told}"):
        Sizes.from_json(content)
