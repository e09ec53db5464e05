"""Invariants of the network, crossed over methods, options and numbers of modalities."""

from typing import Any

import pytest
import torch

from mamol.core.errors import MamolError
from mamol.core.method import Method, Pass
from mamol.core.streams import Streams
from mamol.network.encoder import encode
from tests.invariants import (
    assert_absent_content_is_inert,
    assert_neighbours_do_not_matter,
    features_of,
    gradients,
    reordered,
)
from tests.toys import CLASSES, GRID, shake, toy_batch, toy_network

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("baseline", {}),
    ("mamol", {}),
    ("mamol", {"top_k": 2, "gate_renormalise": True}),
    ("mamol", {"experts_dynamic": 5, "expert_blocks": "last2", "rank": 2}),
    ("mamol", {"expert_blocks": [0, 11], "router_input": "pattern"}),
    ("mamol", {"router_input": "modality", "balance_weight": 0.1}),
    ("mamol", {"dynamic_experts": False}),
    ("mamol", {"shared_expert": False, "modality_experts": False, "router_input": "features"}),
    ("mamol", {"modality_experts": False, "balance_weight": 0.1}),
    ("released", {}),
    ("released", {"experts_dynamic": 4, "top_k": 2, "expert_blocks": "last2"}),
]
every_variant = pytest.mark.parametrize(("method", "options"), VARIANTS)


@every_variant
@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_shapes_and_every_trainable_parameter_gets_a_gradient(method: str, options: dict[str, Any], m: int) -> None:
    network, batch = toy_network(m, method, **options), toy_batch(m=m)
    shake(network)
    assert network(batch)[0].shape == (6, len(CLASSES))
    trainable = {n for n, p in network.named_parameters() if p.requires_grad}
    assert gradients(network, batch).keys() == trainable
    assert not any(n.startswith("towers.") for n in trainable)


@pytest.mark.parametrize(("method", "options"), [v for v in VARIANTS if v[0] != "released"])
def test_at_initialisation_the_encoder_is_the_frozen_tower(method: str, options: dict[str, Any]) -> None:
    network, batch = toy_network(2, method, **options), toy_batch()
    plain = toy_network(2, "baseline", tower=network.tower)
    plain.embedding.load_state_dict(network.embedding.state_dict())
    torch.testing.assert_close(features_of(network, batch), features_of(plain, batch), atol=1e-6, rtol=0)


def test_the_loop_is_open_clips_own_forward() -> None:
    network = toy_network()
    visual = network.tower.visual
    side = GRID * visual.patch_size[0]
    images = torch.randn(3, 3, side, side)
    tokens = visual.conv1(images).flatten(2).transpose(1, 2)
    known = Streams(torch.ones(3, 2), torch.arange(3), torch.zeros(3, dtype=torch.long))
    plain: Method[Pass] = Method()
    for shortcut in (True, False):
        ours = encode(network.tower, tokens, plain, known, shortcut=shortcut).features
        torch.testing.assert_close(ours, visual(images), atol=1e-5, rtol=1e-5)


@every_variant
def test_class_token_shortcut_is_exact(method: str, options: dict[str, Any]) -> None:
    network = toy_network(2, method, **options)
    shake(network)
    tokens = torch.randn(5, 16, network.tower.width)
    known = Streams(torch.ones(5, 2), torch.arange(5), torch.zeros(5, dtype=torch.long))
    short, full = (encode(network.tower, tokens, network.method, known, shortcut=s).features for s in (True, False))
    torch.testing.assert_close(short, full, atol=1e-5, rtol=1e-5)


@every_variant
@pytest.mark.parametrize("content", [float("nan"), 1e30, -7.0])
def test_content_of_absent_modalities_changes_nothing(method: str, options: dict[str, Any], content: float) -> None:
    network = toy_network(3, method, **options)
    shake(network)
    assert_absent_content_is_inert(network, toy_batch(m=3), content)


@every_variant
def test_a_sample_does_not_depend_on_its_neighbours(method: str, options: dict[str, Any]) -> None:
    network = toy_network(2, method, **options)
    shake(network)
    assert_neighbours_do_not_matter(network, toy_batch())


@every_variant
def test_permuting_modalities_permutes_the_features(method: str, options: dict[str, Any]) -> None:
    network, batch = toy_network(3, method, **options), toy_batch(m=3)
    shake(network)
    order = [2, 0, 1]
    other, moved = reordered(network, order), {**batch, "available": batch["available"][:, order]}
    assert other.spec.names == tuple(network.spec.names[i] for i in order)
    torch.testing.assert_close(features_of(other, moved), features_of(network, batch)[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other(moved)[0], network(batch)[0], atol=1e-5, rtol=1e-5)


def test_absent_features_are_zero_and_a_modality_without_samples_is_fine() -> None:
    network, batch = toy_network(2), toy_batch()
    batch["available"][:, 1] = False
    batch["available"][:, 0] = True
    features = features_of(network, batch)
    assert (features[:, 1] == 0).all()
    assert (features[:, 0] != 0).any()
    assert (gradients(network, batch)["embedding.1.project.0.weight"] == 0).all()


def test_same_seed_same_weights_and_nothing_global_is_touched() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = toy_network(), toy_network()
    assert torch.equal(torch.rand(3), expected)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_other_state_is_refused_by_name() -> None:
    network = toy_network()
    state = network.trainable_state()
    bias = state.pop("head.bias")
    with pytest.raises(MamolError, match=r"missing head\.bias, unexpected nothing"):
        network.load_trainable_state(state)
    with pytest.raises(MamolError, match="unexpected extra"):
        network.load_trainable_state(state | {"head.bias": bias, "extra": bias})
    with pytest.raises(MamolError, match=r"other shape head\.bias"):
        network.load_trainable_state(state | {"head.bias": torch.zeros(9)})


def test_normalisation_is_per_band() -> None:
    network = toy_network()
    embedding = network.embedding[0]
    embedding.set_normalisation([1.0, 2, 3, 4, 5], [2.0] * 5)
    window = torch.arange(1, 6).float()[None, :, None, None].expand(1, 5, 4, 4)
    assert (embedding(window, network.tower) == 0).all()
