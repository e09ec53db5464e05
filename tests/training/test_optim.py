"""Optimiser groups and schedule."""

import pytest
import torch

from mamol.training.optim import linear_schedule, optimiser, parameter_groups
from tests.toys import toy_batch, toy_network


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    network = toy_network(3)
    grouped = [id(p) for group in parameter_groups(network, 0.1) for p in group["params"]]  # type: ignore[attr-defined]
    trainable = {id(p): n for n, p in network.named_parameters() if p.requires_grad}
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == trainable.keys()
    assert id(network.head.weight) in grouped, "the release forgot it"
    assert not {id(p) for p in network.tower.parameters()} & set(grouped)


def test_matrices_decay_and_vectors_do_not() -> None:
    decay, plain = parameter_groups(toy_network(), 0.02)
    assert decay["weight_decay"] == 0.02
    assert plain["weight_decay"] == 0
    assert all(p.ndim >= 2 for p in decay["params"])  # type: ignore[attr-defined]
    assert all(p.ndim == 1 for p in plain["params"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["adamw", "adam", "sgd"])
def test_each_moves_within_three_steps_and_every_frozen_one_stays(kind: str) -> None:
    network, batch = toy_network(2), toy_batch(12)
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    optimizer = optimiser(network, kind, 1e-2, 2e-2)
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(batch)[0], batch["label"]).backward()
        optimizer.step()
    for name, parameter in network.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == parameter.requires_grad, name


@pytest.mark.parametrize(("warmup", "rising"), [(0.1, 10), (25, 25), (0, 0)])
def test_schedule_rises_then_falls_to_zero(warmup: float, rising: int) -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2.0)
    schedule = linear_schedule(optimizer, warmup, 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:rising] == pytest.approx([2.0 * (i + 1) / rising for i in range(rising)])
    assert rates[rising:] == pytest.approx([2.0 * (100 - i) / (100 - rising) for i in range(rising, 100)])
    assert optimizer.param_groups[0]["lr"] == 0
