"""Invariants of the network, crossed over methods, options and numbers of modalities."""

from typing import Any

import pytest
import torch

from mamol.errors import MamolError
from mamol.methods.base import Context, Method
from mamol.models.encoder import encode
from mamol.models.network import Network
from tests.invariants import assert_absent_content_is_inert, assert_neighbours_do_not_matter, gradients
from tests.toys import CLASSES, GRID, shake, toy_batch, toy_network

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("baseline", {}),
    ("mamol", {}),
    ("mamol", {"top_k": 2, "gate_renormalise": True}),
    ("mamol", {"experts_dynamic": 5, "expert_blocks": "last2", "rank": 2}),
    ("mamol", {"expert_blocks": [0, 11], "router_input": "pattern"}),
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
    torch.testing.assert_close(network.features(batch), plain.features(batch), atol=1e-6, rtol=0)


def test_the_loop_is_open_clips_own_forward() -> None:
    network = toy_network()
    visual = network.tower.visual
    side = GRID * visual.patch_size[0]
    images = torch.randn(3, 3, side, side)
    tokens = visual.conv1(images).flatten(2).transpose(1, 2)
    context = Context(torch.ones(3, 2), torch.zeros(3, dtype=torch.long))
    for shortcut in (True, False):
        ours = encode(network.tower, tokens, Method(), context, shortcut=shortcut)
        torch.testing.assert_close(ours, visual(images), atol=1e-5, rtol=1e-5)


@every_variant
def test_class_token_shortcut_is_exact(method: str, options: dict[str, Any]) -> None:
    network = toy_network(2, method, **options)
    shake(network)
    tokens = torch.randn(5, 16, network.tower.width)
    context = Context(torch.ones(5, 2), torch.zeros(5, dtype=torch.long))
    short, full = (encode(network.tower, tokens, network.method, context, shortcut=s) for s in (True, False))
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
    width = network.tower.output_dim
    before = network.features(batch).unflatten(1, (3, width))
    order = [2, 0, 1]
    permute_modalities(network, order)
    after = network.features({**batch, "available": batch["available"][:, order]}).unflatten(1, (3, width))
    torch.testing.assert_close(after, before[:, order], atol=1e-5, rtol=1e-5)


def permute_modalities(network: Network, order: list[int]) -> None:
    """The same network with its modalities in another order."""
    names = list(network.spec.modalities)
    bands = {names[i]: network.spec.modalities[names[i]] for i in order}
    network.spec.modalities.clear()
    network.spec.modalities.update(bands)
    network.embedding = torch.nn.ModuleList(network.embedding[i] for i in order)
    method: Any = network.method
    if not hasattr(method, "layers"):
        return
    with torch.no_grad():
        if method.pattern_embedding is not None:
            weight = method.pattern_embedding.weight
            weight.copy_(weight[:, order].clone())
        for layer in method.layers.values():
            if getattr(layer.options, "modality_experts", False):
                rank, experts = layer.options.rank, layer.experts
                first = experts.down.shape[0] - rank * len(order)
                rows = [first + i * rank + r for i in order for r in range(rank)]
                experts.down[first:] = experts.down[rows].clone()
                experts.up[:, first:] = experts.up[:, rows].clone()


def test_absent_features_are_zero_and_a_modality_without_samples_is_fine() -> None:
    network, batch = toy_network(2), toy_batch()
    batch["available"][:, 1] = False
    batch["available"][:, 0] = True
    features = network.features(batch).unflatten(1, (2, -1))
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
    embedding = toy_network().embedding[0]
    embedding.set_normalisation([1.0, 2, 3, 4, 5], [2.0] * 5)
    window = torch.arange(1, 6).float()[None, :, None, None].expand(1, 5, 4, 4)
    assert (embedding(window) == 0).all()
