"""The stacked layer equals the paper's equations written out, output and every gradient."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mamol.core.backbone import chosen_blocks
from mamol.core.errors import MamolError
from mamol.core.gates import balance_loss, balance_per_modality, top_k_gates
from mamol.core.streams import Streams
from mamol.methods.mamol import MaMOL, MaMOLLayer, MaMOLOptions
from mamol.methods.router import Routed
from tests.reference import mamol_layer
from tests.streams import alone
from tests.toys import shake, tiny_tower

WIDTH = 12


def both_ways(options: MaMOLOptions, m: int, dtype: torch.dtype) -> list[tuple[torch.Tensor, ...]]:
    """Output and gradients of the stacked layer and of the reference, from the same weights."""
    generator = torch.Generator().manual_seed(m)
    psi, layer = nn.Linear(m, 8).to(dtype), MaMOLLayer(WIDTH, m, options).to(dtype)
    e_mod = nn.Embedding(m, 8).to(dtype).requires_grad_(options.router_input == "modality")
    with torch.no_grad():
        for parameter in (*psi.parameters(), *layer.parameters(), *e_mod.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=dtype) * 0.4)
    z = torch.randn(5, 3, WIDTH, generator=generator, dtype=dtype, requires_grad=True)
    available = (torch.rand(5, m, generator=generator) < 0.6).to(dtype)
    available[:, 0] = torch.where(available.sum(1) == 0, 1, available[:, 0])
    target = torch.randn(5, 3, WIDTH, generator=generator, dtype=dtype)
    modality = torch.arange(5) % m
    results = []
    for fast in (True, False):
        known = Streams(available, torch.arange(5), modality)
        state = Routed(known, pattern=psi(available))
        own = None
        if e_mod.weight.requires_grad:
            state.modality, own = e_mod.weight, e_mod(modality)[:, None].expand(-1, 3, -1)
        delta = layer(0, z, torch.zeros_like, state) if fast else mamol_layer(layer, psi, z, available, own)
        leaves = [z, *psi.parameters(), *layer.parameters(), *(e_mod.parameters() if own is not None else ())]
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
            ("both", "features", "pattern", "modality"),
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


def one_sequence(available: Tensor) -> Streams:
    """Samples whose present windows of two tokens stand one behind the other; those that are shorter are padded."""
    present = available.sum(1)
    there = torch.arange(int(present.max())) < present[:, None]
    return Streams(available, torch.arange(len(available)), token_mask=there.repeat_interleave(2, 1), count=2)


def test_in_one_sequence_the_router_sees_the_modality_of_each_token() -> None:
    """The class token has the mean of those that are present, token by token as in the equation."""
    options = MaMOLOptions(router_input="modality", expert_blocks=[3], top_k=2)
    tower = tiny_tower(2)
    method = MaMOL(alone(tower, 3), options)
    shake(method)
    available = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    z = torch.randn(2, 5, tower.width, generator=torch.Generator().manual_seed(0))
    first, second, third = method.modality_embedding.weight
    own = torch.stack([torch.stack([(first + third) / 2, first, first, third, third]), second.expand(5, -1)])
    layer: Any = method.layers["3"]
    expected = mamol_layer(layer, method.pattern_embedding, z, available, own)
    state = method.begin(one_sequence(available))
    found = method.feed_forward(3, z, torch.zeros_like, state)
    torch.testing.assert_close(found[0], expected[0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found[1, :3], expected[1, :3], atol=2e-5, rtol=1e-4)  # padding follows
    alone_token = method.feed_forward(3, z[:, :1], torch.zeros_like, state)  # as in the last block
    torch.testing.assert_close(alone_token, found[:, :1], atol=2e-5, rtol=1e-4)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("fusion", ["late", "single_stream"])
def test_a_router_that_sees_modalities_is_balanced_in_each_of_them(fusion: str) -> None:
    """Pooled, two modalities with an expert each would look even; class tokens of sequences are a group, too."""
    options = MaMOLOptions(router_input="modality", balance_weight=1.0, expert_blocks=[0])
    method = MaMOL(alone(tiny_tower(2), 2), options)
    layer: Any = method.layers["0"]
    streams = Streams(torch.ones(2, 2), torch.zeros(2, dtype=torch.long), torch.arange(2))
    owners = torch.tensor([[0] * 5, [1] * 5])
    if fusion == "single_stream":
        available = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
        streams, owners = one_sequence(available), torch.tensor([[2, 0, 0, 1, 1], [2, 1, 1, -1, -1]])

    class PerModality(nn.Module):
        """Every modality has an expert of its own, the class token both."""

        def forward(self, z: Tensor, pattern: Tensor, modality: Tensor) -> Tensor:
            logits = torch.tensor([[9.0, -9.0], [-9.0, 9.0], [1.0, 0.0], [5.0, 5.0]])
            return logits[owners].requires_grad_()

    layer.router = PerModality()
    state = method.begin(streams)
    method.feed_forward(0, torch.randn(2, 5, 128), torch.zeros_like, state)
    (loss,) = state.losses
    own_expert, class_token = 2.0, 2 * torch.tensor([1.0, 0.0]).softmax(0)[0].item()
    expected = 2 * own_expert + (class_token if fusion == "single_stream" else 0)
    assert loss.item() == pytest.approx(expected, abs=1e-4)


def test_the_modality_comes_last_and_leaves_other_weights_as_they_are() -> None:
    """What is drawn in front of it is what is drawn without it."""
    made = []
    for sees in ("both", "modality"):
        torch.manual_seed(0)
        made.append(MaMOL(alone(tiny_tower(2), 3), MaMOLOptions(router_input=sees, expert_blocks=[0])))
    both, named = made
    assert both.modality_embedding is None
    assert named.modality_embedding in named.routers()
    assert {n for n, _ in named.named_parameters()} - {n for n, _ in both.named_parameters()} == {
        "modality_embedding.weight"
    }
    off = MaMOL(alone(tiny_tower(2), 3), MaMOLOptions(router_input="modality", dynamic_experts=False))
    assert not off.routers()


def test_balance_per_modality_leaves_out_modalities_that_are_padding_alone() -> None:
    gates = torch.eye(2)[torch.tensor([[0, 1, 0]])]
    owners, mask = torch.tensor([[0, 0, 1]]), torch.tensor([[True, True, False]])
    assert balance_per_modality(gates, gates, owners, mask).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("wanted", "blocks"), [("last2", [10, 11]), ("first3", [0, 1, 2]), ([5, 1], [1, 5]), ("last12", list(range(12)))]
)
def test_blocks_are_chosen(wanted: Any, blocks: list[int]) -> None:
    assert chosen_blocks(wanted, 12) == blocks


@pytest.mark.parametrize("wanted", ["last13", "first0", [12]])
def test_blocks_outside_the_tower_are_refused(wanted: Any) -> None:
    with pytest.raises(MamolError, match="the tower has the blocks 0 to 11; choose among them"):
        chosen_blocks(wanted, 12)
