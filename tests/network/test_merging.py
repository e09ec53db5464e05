"""A merged network is the one that it was made of, under its pattern, and its tower is a plain one."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from mamol.backbones.mixture.folder import tower_of
from mamol.core.backbone import BackboneRequest, Origin, family_of
from mamol.core.errors import MamolError
from mamol.core.spec import NetworkSpec
from mamol.network.building import assemble
from mamol.network.merging import mergeable, merged
from mamol.network.network import Network
from tests.mixtures import small_mixture
from tests.toys import shake, toy_batch, toy_network, windows

pytestmark = pytest.mark.usefixtures("tiny")

ONE: dict[str, Any] = {"experts_dynamic": 1}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("mamol", ONE),
    ("mamol", {**ONE, "head": "pixels", "head_blocks": [2], "rank": 3}),
    ("mamol", {**ONE, "fusion": "single_stream"}),
    ("mamol", {**ONE, "fusion": "single_stream", "head": "pixels", "router_input": "modality"}),
    ("mamol", {"experts_per_block": [1, 1], "expert_blocks": [4, 11], "shared_expert": False, "top_k": 2}),
    ("mamol", {"dynamic_experts": False, "expert_blocks": "first2"}),
    ("mamol", {**ONE, "modality_experts": False, "gate_renormalise": True, "train_backbone": "last1"}),
    ("lora", {"rank": 2}),
    ("lora_pattern", {"expert_blocks": "last2"}),
]


def shaken(method: str = "mamol", **options: Any) -> Network:
    """Experts that say something: of the last blocks' frozen MLPs' order."""
    network = toy_network(3, method, **options)
    shake(network)
    return network.eval()


def logits(network: Network, batch: dict[str, Any]) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network(batch)[0]
    return found


@pytest.mark.parametrize(("method", "options"), VARIANTS, ids=str)
@pytest.mark.parametrize("present", [(0, 2), (1,), (0, 1, 2)])
def test_under_its_pattern_outputs_stay(method: str, options: dict[str, Any], present: tuple[int, ...]) -> None:
    network = mergeable(shaken(method, **options), present)
    made = merged(network, present)
    batch = toy_batch(m=3)
    batch["lidar"][2:4, :, :2] = float("nan")  # holes
    pattern = torch.zeros(3, dtype=torch.bool)
    pattern[list(present)] = True
    before = logits(network, {**batch, "available": pattern.expand(6, 3)})
    after = logits(made, {**batch, "available": torch.ones(6, len(present), dtype=torch.bool)})
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)
    plain = toy_network(3, "baseline", fusion=made.spec.fusion, head=made.spec.head).tower
    assert any(a.inner > b.inner for a, b in zip(mlps(made.tower), mlps(plain), strict=True)), "something was merged"


def mlps(tower: Any) -> list[Any]:
    return [block.feed_forward for block in tower.blocks]


def test_without_its_experts_it_would_be_another_one() -> None:
    network = shaken(**ONE)
    made = merged(network, (0, 2))
    for mlp in mlps(made.tower)[6:]:
        assert mlp.inner == mlp.c_fc.out_features == mlp.c_proj.in_features == 4 * 128 + 2 * (1 + 1 + 2) * 8
        mlp.c_proj.weight.data[:, 4 * 128 :] = 0
    batch = toy_batch(m=3)
    before = logits(network, {**batch, "available": torch.tensor([True, False, True]).expand(6, 3)})
    after = logits(made, {**batch, "available": torch.ones(6, 2, dtype=torch.bool)})
    assert (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("activation", ["gelu", "quickgelu"])
def test_both_activations_give_their_input_back(activation: str) -> None:
    tower = family_of("tiny").visual(BackboneRequest("tiny", "random", activation), 4)
    mlp = tower.blocks[0].feed_forward
    generator = torch.Generator().manual_seed(0)
    z, down, up = (torch.randn(shape, generator=generator) for shape in ((7, 128), (5, 128), (128, 5)))
    with torch.inference_mode():
        before = mlp(z)
        mlp.absorb(down / 11, up)
        torch.testing.assert_close(mlp(z), before + z @ (down / 11).T @ up.T, rtol=0, atol=1e-5)


def test_what_a_checkpoint_holds_is_enough() -> None:
    network = shaken(**ONE)
    made = merged(network, (0, 1))
    again = assemble(made.spec, "random")
    assert again.fingerprint == network.fingerprint
    again.load_trainable_state(made.trainable_state())
    batch = {**toy_batch(), "available": torch.ones(6, 2, dtype=torch.bool)}
    assert isinstance(again, Network)
    assert torch.equal(logits(again.eval(), batch), logits(made, batch))
    assert NetworkSpec.from_json(made.spec.to_json()) == made.spec


def test_the_source_stays_as_it_is() -> None:
    network = shaken(**ONE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    merged(network, (0,))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_several_routed_experts_are_refused() -> None:
    with pytest.raises(
        MamolError, match="block 6 has 2 routed experts, among which each token chooses: leave one in ea"
    ):
        merged(shaken(), (0, 1))


@pytest.mark.parametrize("method", ["mmp", "dcp", "moe_rep", "moe_task", "moe_ada", "linear_probe", "baseline"])
def test_other_methods_are_refused(method: str) -> None:
    with pytest.raises(
        MamolError, match=f"method={method} has no updates that go into the tower's weights; merge takes"
    ):
        mergeable(toy_network(2, method), (0,))


def test_a_network_without_method_is_refused() -> None:
    network = assemble(NetworkSpec("", "", windows({"hsi": 3, "sar": 2}), ("a", "b"), 8, network="unet"), "")
    with pytest.raises(
        MamolError, match="network=unet has no updates beside a frozen tower; merge takes runs of method"
    ):
        mergeable(network, (0,))


def test_compensation_needs_all_modalities() -> None:
    network = shaken(**ONE, compensate=True)
    with pytest.raises(MamolError, match=r"compensate=True fills in .*: merge with present=hsi\+lidar\+sar"):
        mergeable(network, (0, 1))
    assert merged(mergeable(network, (0, 1, 2)), (0, 1, 2)).compensator is not None


def test_an_mlp_of_another_kind_is_refused() -> None:
    tower = tower_of(small_mixture({"hsi": 3}), 4, Origin("test"))
    with pytest.raises(MamolError, match="cannot be given more hidden units; merge takes runs around a CLIP or ViLT"):
        tower.blocks[-1].feed_forward.absorb(torch.zeros(1, tower.width), torch.zeros(tower.width, 1))


def test_merged_ranks_has_one_number_for_each_block() -> None:
    network = merged(shaken(**ONE), (0,))
    options = {**network.spec.options, "merged_ranks": [1, 2]}
    with pytest.raises(MamolError, match=r"merged_ranks=\[1, 2\]: the tower has 12 blocks; give one number for each"):
        assemble(replace(network.spec, options=options), "random")
