"""The stacked layer equals the paper's equations written out, output and every gradient."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn

from mamol.core.errors import MamolError
from mamol.core.gates import balance_loss, top_k_gates
from mamol.core.streams import Streams
from mamol.methods.layered import chosen_blocks
from mamol.methods.mamol import MaMOL, MaMOLLayer, MaMOLOptions
from mamol.methods.router import Routed
from tests.reference import mamol_layer
from tests.streams import alone
from tests.toys import tiny_tower

WIDTH = 12


def both_ways(options: MaMOLOptions, m: int, dtype: torch.dtype) -> list[tuple[torch.Tensor, ...]]:
    """Output and gradients of the stacked layer and of the reference, from the same weights."""
    generator = torch.Generator().manual_seed(m)
    psi, layer = nn.Linear(m, 8).to(dtype), MaMOLLayer(WIDTH, m, options).to(dtype)
    with torch.no_grad():
        for parameter in (*psi.parameters(), *layer.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype) * 0.4)
    z = torch.randn(5, 3, WIDTH, generator=generator, dtype=dtype, requires_grad=True)
    available = (torch.rand(5, m, generator=generator) < 0.6).to(dtype)
    available[:, 0] = torch.where(available.sum(1) == 0, 1, available[:, 0])
    target = torch.randn(5, 3, WIDTH, generator=generator, dtype=dtype)
    results = []
    for fast in (True, False):
        known = Streams(available, torch.arange(5), torch.zeros(5, dtype=torch.long))
        state = Routed(known, pattern=psi(available))
        delta = layer(0, z, torch.zeros_like, state) if fast else mamol_layer(layer, psi, z, available)
        leaves = [z, *psi.parameters(), *layer.parameters()]
        gradients = torch.autograd.grad((delta * target).sum(), leaves, allow_unused=True)
        results.append(
            (delta, *(torch.zeros_like(x) if g is None else g for x, g in zip(leaves, gradients, strict=True)))
        )
    return results


@pytest.mark.parametrize(
    ("m", "experts", "rank", "switches", "sees", "renormalise"),
    [
        (m, k, r, s, sees, n)
        for m, (k, r), s, sees, n in product(
            (1, 2, 3, 4),
            (((2, 1), 2), ((2, 2), 3), ((4, 2), 1)),
            ((True, True, True), (True, False, False), (False, True, True), (True, True, False)),
            ("both", "features", "pattern"),
            (False, True),
        )
    ],
)
def test_layer_equals_the_equations(
    m: int, experts: tuple[int, int], rank: int, switches: tuple[bool, bool, bool], sees: str, renormalise: bool
) -> None:
    dynamic, shared, specific = switches
    options = MaMOLOptions(
        experts_dynamic=experts[0],
        top_k=experts[1],
        rank=rank,
        dynamic_experts=dynamic,
        shared_expert=shared,
        modality_experts=specific,
        router_input=sees,
        gate_renormalise=renormalise,
    )
    fast, plain = both_ways(options, m, torch.float32)
    for ours, theirs in zip(fast, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_layer_equals_the_equations_in_double() -> None:
    fast, plain = both_ways(MaMOLOptions(), 3, torch.float64)
    for ours, theirs in zip(fast, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)  # the gates are float32 by design


def test_gates_keep_the_largest_and_are_not_renormalised() -> None:
    logits = torch.tensor([[[2.0, 0.0, 1.0]]])
    kept, probabilities = top_k_gates(logits, 2)
    assert (kept > 0).tolist() == [[[True, False, True]]]
    torch.testing.assert_close(kept[kept > 0], probabilities[0, 0, [0, 2]])
    assert top_k_gates(logits, 2, renormalise=True)[0].sum().item() == pytest.approx(1)


def test_balance_loss_is_one_when_even_and_more_when_not() -> None:
    even = torch.eye(2).reshape(1, 2, 2)
    assert balance_loss(even, even).item() == pytest.approx(1)
    collapsed = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    assert balance_loss(collapsed, collapsed).item() == pytest.approx(2)


def test_balance_weight_adds_a_loss_per_layer() -> None:
    tower = tiny_tower(2)
    method = MaMOL(alone(tower, 2), MaMOLOptions(expert_blocks="last2", balance_weight=0.5))
    state = method.begin(Streams(torch.ones(3, 2), torch.arange(3), torch.zeros(3, dtype=torch.long)))
    for layer in range(12):
        method.feed_forward(layer, torch.randn(3, 2, tower.width), nn.Identity(), state)
    loss = method.auxiliary_loss(state)
    assert len(state.losses) == 2
    assert loss is not None
    assert loss.item() >= 0.9


@pytest.mark.parametrize(
    ("wanted", "blocks"), [("last2", [10, 11]), ("first3", [0, 1, 2]), ([5, 1], [1, 5]), ("last12", list(range(12)))]
)
def test_blocks_are_chosen(wanted: Any, blocks: list[int]) -> None:
    assert chosen_blocks(wanted, 12) == blocks


@pytest.mark.parametrize("wanted", ["last13", "first0", [12]])
def test_blocks_outside_the_tower_are_refused(wanted: Any) -> None:
    with pytest.raises(MamolError, match="the tower has the blocks 0 to 11; choose among them"):
        chosen_blocks(wanted, 12)
