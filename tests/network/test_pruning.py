"""A pruned network is the one that it was cut from, without what is absent or never chosen."""

from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.core.head import HEADS, Head
from mamol.core.pruning import Cut
from mamol.core.spec import NetworkSpec
from mamol.heads.class_token import ClassTokenHead
from mamol.network.building import assemble
from mamol.network.network import Network
from mamol.network.pruning import prunable, pruned
from tests.toys import shake, toy_batch, toy_network, windows

VARIANTS: list[dict[str, Any]] = [
    {},
    {"head": "pixels", "rank": 3, "head_blocks": [2]},
    {"fusion": "single_stream"},
    {"fusion": "single_stream", "head": "pixels"},
    {"experts_dynamic": 4, "top_k": 2, "gate_renormalise": True, "expert_blocks": "last2"},
    {"router_input": "pattern", "shared_expert": False},
    {"router_input": "features", "modality_experts": False},
    {"router_input": "modality"},
    {"router_input": "modality", "fusion": "single_stream"},
    {"train_backbone": "last1"},
    {"dynamic_experts": False},
    {"experts_per_block": [2, 3], "expert_blocks": [4, 11], "balance_weight": 0.1},
]


def shaken(m: int = 3, **options: Any) -> Network:
    network = toy_network(m, **options)
    shake(network)
    with torch.no_grad():  # experts that say something, in different lengths
        for name, parameter in network.method.named_parameters():
            if name.endswith("experts.up"):
                parameter.mul_(torch.linspace(1, 4, parameter.shape[1]))
    return network.eval()


def all_experts(network: Network) -> dict[int, tuple[int, ...]]:
    """Of every block with routed ones."""
    counts = {int(block): getattr(layer, "dynamic") for block, layer in network.method.layers.items()}  # noqa: B009
    return {block: tuple(range(count)) for block, count in counts.items() if count}


def logits(network: Network, batch: dict[str, Tensor]) -> Tensor:
    with torch.inference_mode():
        found: Tensor = network(batch)[0]
    return found


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("inputs", [(0, 2), (1,)])
def test_without_absent_modalities_outputs_stay(options: dict[str, Any], inputs: tuple[int, ...]) -> None:
    network = shaken(**options)
    left = pruned(network, Cut(inputs, all_experts(network)))
    batch = toy_batch(m=3)
    batch["lidar"][2:4, :, :2] = float("nan")  # holes
    for present in product((False, True), repeat=len(inputs)):
        if any(present):
            pattern = torch.zeros(3, dtype=torch.bool)
            pattern[list(inputs)] = torch.tensor(present)
            before = logits(network, {**batch, "available": pattern.expand(6, 3)})
            after = logits(left, {**batch, "available": pattern[list(inputs)].expand(6, -1)})
            torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


def test_nothing_cut_is_the_same_to_the_bit_and_in_its_description() -> None:
    network = shaken(experts_dynamic=3)
    left = pruned(network, Cut((0, 1, 2), all_experts(network)))
    assert left.spec == network.spec
    assert torch.equal(logits(left, toy_batch(m=3)), logits(network, toy_batch(m=3)))
    for name, value in network.trainable_state().items():
        assert torch.equal(left.trainable_state()[name], value), name


@pytest.mark.parametrize("top_k", [1, 2])
def test_without_experts_it_is_the_network_that_never_chooses_them(top_k: int) -> None:
    network = shaken(experts_dynamic=4, top_k=top_k, expert_blocks=[3, 11])
    cut = Cut((0, 1, 2), {3: (0, 2, 3), 11: (1, 3)})
    left = pruned(network, cut)
    assert left.spec.method_options["experts_per_block"] == [3, 2]
    assert logits(network, toy_batch(m=3)).sub(logits(left, toy_batch(m=3))).abs().max() > 1e-4, "they were in use"
    with torch.no_grad():
        for block, kept in cut.experts.items():
            gone = [k for k in range(4) if k not in kept]
            network.method.layers[str(block)].router.out.bias[gone] = -1e9
    torch.testing.assert_close(logits(left, toy_batch(m=3)), logits(network, toy_batch(m=3)), rtol=0, atol=1e-6)


def test_top_k_shrinks_where_fewer_experts_are_left() -> None:
    network = shaken(experts_dynamic=3, top_k=2, expert_blocks="last1")
    left = pruned(network, Cut((0, 1, 2), {11: (1,)}))
    with torch.no_grad():
        network.method.layers["11"].router.out.bias[[0, 2]] = -1e9
    torch.testing.assert_close(logits(left, toy_batch(m=3)), logits(network, toy_batch(m=3)), rtol=0, atol=1e-6)


def test_a_pruned_network_is_pruned_again() -> None:
    network = shaken(experts_dynamic=3, expert_blocks=[3, 11])
    once = pruned(network, Cut((0, 1, 2), {3: (0, 2), 11: (0, 1, 2)}))
    twice = pruned(once, Cut((0, 2), {3: (1,), 11: (0, 2)}))
    at_once = pruned(network, Cut((0, 2), {3: (2,), 11: (0, 2)}))
    assert twice.spec == at_once.spec
    for name, value in at_once.trainable_state().items():
        assert torch.equal(twice.trainable_state()[name], value), name


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 15).map(lambda bits: bits | 1), min_size=2, max_size=2))
def test_parameters_are_those_of_what_is_left(bits: list[int]) -> None:
    network = shaken(experts_dynamic=4, expert_blocks=[3, 11])
    kept = {block: tuple(k for k in range(4) if each >> k & 1) for block, each in zip((3, 11), bits, strict=True)}
    left = pruned(network, Cut((0, 1, 2), kept))
    gone = sum(4 - len(own) for own in kept.values())
    before, after = network.count_trainable(), left.count_trainable()
    width, rank = network.tower.width, 8
    assert before["experts"] - after["experts"] == gone * 2 * rank * width
    assert before["routers"] - after["routers"] == gone * (width // 2 + 1)
    assert {name: before[name] for name in ("embedding", "head")} == {n: after[n] for n in ("embedding", "head")}


@pytest.mark.parametrize("method", ["mmp", "dcp", "moe_rep", "moe_task", "linear_probe", "released", "lora"])
def test_other_methods_are_refused(method: str) -> None:
    network = toy_network(2, method)
    with pytest.raises(
        MamolError, match=f"method={method} has no experts that can be taken out; prune takes runs of me"
    ):
        prunable(network, 1)


def test_a_network_without_method_is_refused() -> None:
    network = assemble(NetworkSpec("", "", windows({"hsi": 3, "sar": 2}), ("a", "b"), 8, network="unet"), "")
    with pytest.raises(
        MamolError, match="network=unet has no experts to prune; prune takes runs of method=mamol on win"
    ):
        prunable(network, 1)


def test_compensation_needs_all_modalities() -> None:
    network = shaken(compensate=True)
    with pytest.raises(MamolError, match=r"compensate=True fills in what absent modalities .*: keep hsi,lidar,sar"):
        prunable(network, 2)
    left = pruned(prunable(network, 3), Cut((0, 1, 2), {**all_experts(network), 11: (1,)}))
    assert left.compensator is not None
    assert network.compensator is not None
    for name, value in network.compensator.state_dict().items():
        assert torch.equal(left.compensator.state_dict()[name], value)


def test_a_head_that_cannot_say_its_columns_is_refused_only_where_some_go(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(ClassTokenHead):
        state_for = Head.state_for

    monkeypatch.setitem(HEADS._entries, "plain", Plain)
    network = toy_network(2, head="plain")
    pruned(network, Cut((0, 1), all_experts(network)))
    with pytest.raises(MamolError, match="head Plain: features cannot be taken from it"):
        pruned(network, Cut((0,), all_experts(network)))


def test_experts_per_block_has_one_number_for_each_block() -> None:
    with pytest.raises(MamolError, match=r"experts_per_block=\[2, 1\]: there are 6 blocks with experts; give one num"):
        toy_network(2, experts_per_block=[2, 1])
