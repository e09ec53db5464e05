"""The mixture against its equations, and as a backbone of every method and head."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from mamol.backbones.mixture.experts import KNOWN, Mixture, Told
from mamol.backbones.mixture.folder import DESCRIPTION, WEIGHTS, read_pretrained, write_pretrained
from mamol.backbones.mixture.tower import MixtureTower, Sizes
from mamol.core.backbone import BackboneRequest, family_of
from mamol.core.errors import MamolError
from mamol.core.gates import balance_loss, balance_per_modality, mutual_information
from mamol.core.method import METHODS
from mamol.core.seal import write_sealed_json
from mamol.core.streams import Streams
from mamol.embeddings.window import WindowEmbedding
from tests.invariants import (
    assert_absent_content_is_inert,
    assert_neighbours_do_not_matter,
    features_of,
    gradients,
    reordered,
)
from tests.mixtures import small_folder, small_mixture, small_tower, trainable_names
from tests.toys import BANDS, shake, toy_batch, toy_network, windows

SENSORS = {"hsi": 5, "lidar": 1}


def _told(tower: MixtureTower, streams: Streams) -> Told:
    mlp = tower.blocks[-1].mlp(streams)
    assert isinstance(mlp, Told)
    return mlp


def _streams() -> Streams:
    """HSI of two samples, of which the second has it alone, and LiDAR of the first."""
    available = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    return Streams(available, torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]), inputs=windows(SENSORS))


@pytest.mark.parametrize("top_k", [1, 2])
def test_the_mixture_is_its_equation_token_by_token(top_k: int) -> None:
    tower = small_tower(SENSORS, top_k=top_k)
    streams, z = _streams(), torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(4))
    told = _told(tower, streams)
    knowledge, mixture = tower.weights.knowledge, told.mixture
    expected = torch.zeros_like(z)
    for n in range(3):
        for t in range(5):
            e_mod = knowledge.modality[int(streams.modality[n])]
            seen = torch.cat([z[n, t], e_mod, knowledge.pattern(streams.available[n])])
            p = (mixture.router.weight @ seen).softmax(0)
            for k in p.topk(top_k).indices.tolist():
                expert = mixture.experts[k]
                hidden = functional.gelu(expert.up.weight @ z[n, t] + expert.up.bias)
                expected[n, t] += p[k] * (expert.down.weight @ hidden + expert.down.bias)
    torch.testing.assert_close(told(z), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(told.contract(told.activate(told.expand(z))), expected, atol=1e-5, rtol=1e-5)


def test_the_router_sees_modality_and_pattern_beside_the_token() -> None:
    tower, streams = small_tower(SENSORS), _streams()
    z = torch.randn(1, 2, 16, generator=torch.Generator().manual_seed(4)).expand(3, -1, -1)
    told = _told(tower, streams)
    told(z)
    first, other_pattern, other_modality = told.routed[1]
    assert not torch.allclose(first, other_pattern)
    assert not torch.allclose(first, other_modality)
    mixture = tower.blocks[-1].feed_forward
    assert isinstance(mixture, Mixture)
    alone = mixture.gates(mixture.logits(z))[1]
    assert torch.equal(alone[0], alone[1])
    assert torch.equal(alone[0], alone[2])


def test_an_unknown_sensor_is_the_mean_of_the_known_ones_and_not_in_the_pattern() -> None:
    knowledge = small_tower(SENSORS).weights.knowledge
    mean = knowledge.modality.mean(0)
    for other in ({"hsi": 6, "lidar": 1}, {"ms": 5, "lidar": 1}):  # other bands, another name
        known = knowledge(replace(_streams(), inputs=windows(other)), 3)
        torch.testing.assert_close(known[0, 0, :KNOWN], mean)
        torch.testing.assert_close(known[2, 0, :KNOWN], knowledge.modality[1])
        torch.testing.assert_close(known[0, 0, KNOWN:], knowledge.pattern(torch.tensor([0.0, 1.0])))


def test_in_one_sequence_every_token_has_the_sensor_of_its_own_window() -> None:
    knowledge = small_tower(SENSORS).weights.knowledge
    available = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    streams = Streams(available, torch.arange(2), count=4, inputs=windows(SENSORS))
    hsi, lidar = knowledge.modality
    own = knowledge(streams, 2 + 2 * 4)[..., :KNOWN]  # a prompt, the class token, two windows of four
    torch.testing.assert_close(own[0], torch.stack([(hsi + lidar) / 2] * 2 + [hsi] * 4 + [lidar] * 4))
    torch.testing.assert_close(own[1, :6], torch.stack([lidar] * 6))  # what follows is padding
    torch.testing.assert_close(knowledge(streams, 1)[:, 0, :KNOWN], own[:, 0])


def test_balance_counts_each_modality_by_itself() -> None:
    gates = functional.one_hot(torch.tensor([[0, 0], [1, 1]]), 2).float()
    modality, probabilities = torch.tensor([[0], [1]]), gates
    pooled = balance_loss(gates, probabilities)
    assert pooled == pytest.approx(1)  # evenly used, though each modality has an expert of its own
    assert balance_per_modality(gates, probabilities, modality) == pytest.approx(4)
    even = functional.one_hot(torch.tensor([[0, 1], [1, 0]]), 2).float()
    assert balance_per_modality(even, even, modality) == pytest.approx(2)
    masked = balance_per_modality(gates, probabilities, modality, torch.tensor([[True, False], [True, True]]))
    assert masked == pytest.approx(4)


def test_mutual_information_is_zero_to_log_of_the_modalities() -> None:
    modality = torch.tensor([0, 0, 0, 1])
    own = torch.eye(2)[modality][:, None].expand(-1, 3, -1)
    assert mutual_information(own, modality) == pytest.approx(torch.log(torch.tensor(2.0)).item())
    assert mutual_information(own.mean(0, keepdim=True).expand(4, -1, -1), modality) == pytest.approx(0, abs=1e-7)
    other = own.clone()
    other[0, 0] = torch.tensor([0.0, 1.0])
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[0, 0] = False
    assert mutual_information(other, modality, mask) == pytest.approx(mutual_information(own, modality).item())


@pytest.mark.parametrize("head", ["class", "pixels"])
@pytest.mark.parametrize("method", list(METHODS))
def test_every_method_and_head_trains_on_it_and_leaves_it_as_it_was(method: str, head: str) -> None:
    tower = small_tower(SENSORS, layers=6)
    before = {name: value.clone() for name, value in tower.weights.state_dict().items()}
    network, batch = toy_network(2, method, tower=tower, head=head), toy_batch()
    if head == "pixels":
        batch["label"] = batch["label"][:, None, None].expand(-1, 4, 4)
    shake(network)
    assert gradients(network, batch).keys() == trainable_names(network)
    assert not any(name.startswith("towers.") for name in trainable_names(network))
    assert all(torch.equal(value, before[name]) for name, value in tower.weights.state_dict().items())


@pytest.mark.parametrize("method", ["mamol", "lora", "moe_ada"])
def test_methods_begin_as_the_frozen_mixture_whether_they_call_it_or_reach_into_it(method: str) -> None:
    tower = small_tower(SENSORS, layers=6)
    network, plain, batch = toy_network(2, method, tower=tower), toy_network(2, "baseline", tower=tower), toy_batch()
    plain.embedding.load_state_dict(network.embedding.state_dict())
    network.eval()
    torch.testing.assert_close(features_of(network, batch), features_of(plain, batch), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fusion", ["late", "single_stream"])
@pytest.mark.parametrize("method", ["mamol", "lora"])
def test_invariants(method: str, fusion: str) -> None:
    options: dict[str, Any] = {"tower": small_tower({**SENSORS, "sar": 2}, layers=6), "fusion": fusion}
    network, batch = toy_network(3, method, **options), toy_batch(m=3)
    shake(network)
    assert_neighbours_do_not_matter(network, batch)
    features = features_of(network, batch)
    whole = torch.stack(list(network.features(batch, shortcut=False)[0].values()), 1)
    torch.testing.assert_close(features, whole, atol=1e-5, rtol=1e-5)
    order = [2, 0, 1]
    other = reordered(network, order)
    permuted = features_of(other, {**batch, "available": batch["available"][:, order]})
    expected = features if fusion == "single_stream" else features[:, order]
    if fusion == "late":
        torch.testing.assert_close(permuted, expected, atol=1e-5, rtol=1e-5)
    assert_absent_content_is_inert(network, batch, float("nan"))


def test_sensors_of_the_folder_begin_with_its_embedding_and_others_with_their_own() -> None:
    made = small_mixture({"hsi": 5, "lidar": 2}, layers=6)  # the network's LiDAR has one band
    tower = small_tower({"hsi": 5, "lidar": 2}, layers=6)
    network, drawn = toy_network(2, "linear_probe", tower=tower), toy_network(2, "linear_probe")
    hsi, lidar = network.embedding
    assert isinstance(hsi, WindowEmbedding)
    assert isinstance(lidar, WindowEmbedding)
    for name, value in made.embeddings[0].items():
        assert torch.equal(hsi.get_parameter(name), value), name
    assert lidar.modality_type is None
    assert lidar.project[0].weight.shape == drawn.embedding[1].project[0].weight.shape
    assert not trainable_names(network.embedding)
    assert trainable_names(toy_network(2, "lora", tower=tower).embedding)


def test_a_folder_gives_its_tower_again_at_any_grid(tmp_path: Path) -> None:
    folder = small_folder(tmp_path / "made", SENSORS)
    request = BackboneRequest(str(folder), "openai")
    towers = [family_of(str(folder), "openai").visual(request, 4) for _ in range(2)]
    assert towers[0].fingerprint == towers[1].fingerprint
    assert not towers[0].origin.random
    assert str(folder) in towers[0].origin.source
    assert torch.equal(towers[0].begin(torch.ones(1, 16, 16)), small_tower(SENSORS).begin(torch.ones(1, 16, 16)))
    assert family_of(str(folder)).visual(request, 6).begin(torch.zeros(1, 36, 16)).shape == (1, 37, 16)
    moved = folder.rename(tmp_path / "moved")
    again = family_of(str(folder), str(moved)).visual(BackboneRequest(str(folder), str(moved)), 4)
    assert again.fingerprint == towers[0].fingerprint


def test_the_bytes_of_a_folder_are_those_of_its_content(tmp_path: Path) -> None:
    one, other = (small_folder(tmp_path / name, SENSORS) for name in ("one", "other"))
    for name in (DESCRIPTION, WEIGHTS):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def _edited(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    content.pop("seal")
    content["sizes"] |= changes.pop("sizes", {})
    write_sealed_json(folder / DESCRIPTION, {**content, **changes})


def test_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    def refused(folder: Path, match: str, **request: Any) -> None:
        wanted = BackboneRequest(**{"name": str(folder), "weights": "openai", **request})
        with pytest.raises(MamolError, match=match) as told:
            family_of(wanted.name, wanted.weights).visual(wanted, 4)
        assert "\n" not in str(told.value)
        assert str(folder) in str(told.value)

    refused(tmp_path / "nowhere", "backbone.json is not there; give the folder")
    refused(small_folder(tmp_path / "gelu", SENSORS), "trained with gelu; use activation=auto", activation="quickgelu")
    for number, (changes, match) in enumerate(
        [
            ({"format": 9}, "has format 9, this version reads 1"),
            ({"weights": "0" * 64}, "belongs to another backbone.json"),
            ({"sizes": {"heads": 3}}, "heads is 3, expected a divisor of the width 16"),
            ({"sizes": {"top_k": 5}}, "top_k is 5, expected at most the 4 experts"),
            ({"sizes": {"layers": 0}}, "layers is 0, expected a whole number from 1"),
            ({"sizes": {"mixtures": [7]}}, "blocks from 0 to 3"),
            ({"sizes": {"sensors": []}}, "sensors is empty"),
            ({"sizes": {"depth": 3}}, "described in another way"),
        ]
    ):
        folder = small_folder(tmp_path / str(number), SENSORS)
        _edited(folder, **changes)
        refused(folder, match)
    damaged = small_folder(tmp_path / "damaged", SENSORS)
    content = bytearray((damaged / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (damaged / WEIGHTS).write_bytes(content)
    refused(damaged, "does not fit its checksum")
    other = small_folder(tmp_path / "other", SENSORS)
    _edited(other, sizes={"hidden": 32})
    with pytest.raises(MamolError, match="weights are not those of its sizes"):
        family_of(str(other)).visual(BackboneRequest(str(other), ""), 4)


def test_texts_and_images_are_refused(tmp_path: Path) -> None:
    folder = str(small_folder(tmp_path / "made", SENSORS))
    with pytest.raises(MamolError, match="has no text tower"):
        family_of(folder).text(BackboneRequest(folder, ""))
    with pytest.raises(MamolError, match="takes no images"):
        family_of(folder).image_grid(folder, None)


def test_the_three_sizes() -> None:
    sizes = Sizes.named("tiny", windows(BANDS), 8)
    assert (sizes.width, sizes.layers, sizes.heads, sizes.mixtures) == (128, 12, 2, tuple(range(6, 12)))
    assert Sizes.from_json(sizes.to_json()) == sizes
    assert [Sizes.named(name, windows(BANDS), 8).width for name in ("small", "base")] == [384, 768]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    made = replace(small_mixture(SENSORS), sources={"a.mat": "1" * 64}, card={"steps": 3})
    write_pretrained(tmp_path / "made", made)
    found = read_pretrained(tmp_path / "made")
    assert (found.sizes, found.sources, found.card) == (made.sizes, made.sources, made.card)
    assert all(torch.equal(value, made.state[name]) for name, value in found.state.items())
