"""The network's invariants (tests/network/test_network.py) for every compared method."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from mamol.core.backbone import Backbone
from mamol.core.method import METHODS
from mamol.core.streams import Streams
from mamol.network.encoder import encode
from mamol.network.network import Network
from tests.invariants import (
    assert_absent_content_is_inert,
    assert_neighbours_do_not_matter,
    features_of,
    gradients,
    reordered,
)
from tests.toys import CLASSES, shake, tiny_tower, toy_batch, toy_network

BEGINS_AS_THE_TOWER: list[tuple[str, dict[str, Any]]] = [
    ("linear_probe", {}),
    ("lora", {"rank": 2}),
    ("lora_pattern", {}),
    ("moe_rep", {"experts_dynamic": 1}),
    ("moe_ada", {}),
    ("moe_ada", {"experts_dynamic": 3, "expert_blocks": "last2", "balance_weight": 0.1}),
    ("moe_task", {}),
    ("moe_task", {"moe_task_form": "moelora"}),
]
BEGINS_ELSEWHERE: list[tuple[str, dict[str, Any]]] = [
    ("mmp", {"prompt_length": 4}),
    ("mmp", {"prompt_length": 4, "prompt_depth": 12, "prompt_type": "attention"}),
    ("dcp", {"prompt_length": 6}),
    ("dcp_released", {"prompt_length": 6, "prompt_depth": 12}),
    ("moe_rep", {}),
    ("moe_rep", {"experts_dynamic": 3, "top_k": 2, "expert_blocks": [0, 11], "balance_weight": 0.0}),
]
"""The documented exceptions: prompts are tokens from the first step on, and replaced MLPs are scaled by their gate."""

every_variant = pytest.mark.parametrize(("method", "options"), BEGINS_AS_THE_TOWER + BEGINS_ELSEWHERE)


@cache
def tower() -> Backbone:
    return tiny_tower()


def made(m: int, method: str, options: dict[str, Any], *, shaken: bool = True) -> Network:
    """In evaluation mode: noise and dropout are for training."""
    network = toy_network(m, method, tower=tower(), **options)
    if shaken:
        shake(network)
    return network.eval()


def test_every_compared_method_is_here() -> None:
    here = {method for method, _ in BEGINS_AS_THE_TOWER + BEGINS_ELSEWHERE}
    assert here >= METHODS.keys() - {"mamol", "baseline", "released"}


@every_variant
@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_shapes_and_every_trainable_parameter_gets_a_gradient(method: str, options: dict[str, Any], m: int) -> None:
    network, batch = made(m, method, options).train(), toy_batch(m=m)
    assert network(batch)[0].shape == (6, len(CLASSES))
    trainable = {n for n, p in network.named_parameters() if p.requires_grad}
    found = gradients(network, batch)
    assert found.keys() == trainable
    assert not any(n.startswith("towers.") for n in trainable)
    batch["available"][:] = False
    batch["available"][:, -1] = True  # a batch of one pattern and one modality, as a rank may get
    assert gradients(network, batch).keys() == trainable


@pytest.mark.parametrize(("method", "options"), BEGINS_AS_THE_TOWER)
def test_at_initialisation_the_encoder_is_the_frozen_tower(method: str, options: dict[str, Any]) -> None:
    network, batch = made(2, method, options, shaken=False).train(), toy_batch()
    assert plain_difference(network, batch) <= 5e-6  # gates of moe_ada sum to one but for rounding


@pytest.mark.parametrize(("method", "options"), BEGINS_ELSEWHERE)
def test_the_documented_exceptions_do_begin_elsewhere(method: str, options: dict[str, Any]) -> None:
    network, batch = made(2, method, options, shaken=False), toy_batch()
    renormalised = method == "moe_rep" and options.get("top_k") == 2  # of equal experts: the tower after all
    assert (plain_difference(network, batch) > 1e-4) != renormalised


def plain_difference(network: Network, batch: dict[str, Tensor]) -> float:
    plain = toy_network(2, "baseline", tower=network.tower)
    plain.embedding.load_state_dict(network.embedding.state_dict())
    return (features_of(network, batch) - features_of(plain, batch)).abs().max().item()


@every_variant
def test_class_token_shortcut_is_exact(method: str, options: dict[str, Any]) -> None:
    network = made(2, method, options)
    tokens = torch.randn(5, 16, network.tower.width)
    known = Streams(torch.ones(5, 2), torch.arange(5), torch.zeros(5, dtype=torch.long))
    short, full = (encode(network.tower, tokens, network.method, known, shortcut=s).features for s in (True, False))
    torch.testing.assert_close(short, full, atol=1e-5, rtol=1e-5)


@every_variant
@pytest.mark.parametrize("content", [float("nan"), 1e30])
def test_content_of_absent_modalities_changes_nothing(method: str, options: dict[str, Any], content: float) -> None:
    assert_absent_content_is_inert(made(3, method, options), toy_batch(m=3), content)


@every_variant
def test_a_sample_does_not_depend_on_its_neighbours(method: str, options: dict[str, Any]) -> None:
    assert_neighbours_do_not_matter(made(2, method, options), toy_batch())


@every_variant
def test_permuting_modalities_permutes_the_features(method: str, options: dict[str, Any]) -> None:
    network, batch = made(3, method, options), toy_batch(m=3)
    order = [2, 0, 1]
    other, moved = reordered(network, order), {**batch, "available": batch["available"][:, order]}
    assert other.spec.names == tuple(network.spec.names[i] for i in order)
    torch.testing.assert_close(features_of(other, moved), features_of(network, batch)[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(other(moved)[0], network(batch)[0], atol=1e-5, rtol=1e-5)


@every_variant
def test_weights_survive_a_checkpoint(method: str, options: dict[str, Any]) -> None:
    network, batch = made(2, method, options), toy_batch()
    fresh = made(2, method, options, shaken=False)
    fresh.load_trainable_state(network.trainable_state())
    assert torch.equal(fresh(batch)[0], network(batch)[0])


@every_variant
def test_under_autocast_nothing_breaks(method: str, options: dict[str, Any]) -> None:
    network, batch = made(2, method, options).train(), toy_batch()
    with torch.autocast("cpu", torch.bfloat16):
        grads = gradients(network, batch)
    assert all(torch.isfinite(grad).all() for grad in grads.values())
