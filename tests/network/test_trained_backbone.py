"""``train_backbone``: which weights of a tower are trained, by which methods, and what stays as it was."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from mamol.backbones.clip import VisualTower
from mamol.core.backbone import Backbone
from mamol.core.errors import MamolError
from mamol.core.head import HEADS
from mamol.core.method import METHODS
from mamol.core.settings import Settings
from mamol.network.network import Network
from mamol.network.parameters import count
from mamol.training.optim import optimiser
from tests.image_text import batch_of, network_of, towers
from tests.invariants import gradients
from tests.mixtures import small_tower, trainable_names
from tests.streams import small_tower as small_clip
from tests.timms import tower as small_timm
from tests.toys import GRID, shake, toy_batch, toy_network

SENSORS = {"hsi": 5, "lidar": 1}
SMALL = {"expert_blocks": "last2", "prompt_depth": 2, "prompt_length": 6}


def clip() -> VisualTower:
    return small_clip(grid=GRID)


def mixture() -> Backbone:
    """Every token uses all experts, so that each of them is moved."""
    return small_tower(SENSORS, top_k=4)


def siglip() -> Backbone:
    """Without a class token."""
    return small_timm("siglip")


def dinov3() -> Backbone:
    """With registers, LayerScale and rotary positions."""
    return small_timm("dinov3")


def made(method: str, train: bool | str, make: Callable[[], Backbone] = mixture, **options: Any) -> Network:
    """Of two modalities, on four blocks, with other weights than it began with."""
    network = toy_network(2, method, tower=make(), train_backbone=train, **{**SMALL, **options})
    shake(network)
    return network


def of_tower(network: Network) -> set[str]:
    """Names of its trained weights."""
    return {name for name in trainable_names(network) if name.startswith("towers.")}


def reached(network: Network) -> set[str]:
    """Names of the tower's weights that the plain forward pass has a use for."""
    network.zero_grad()
    network(toy_batch())[0].square().sum().backward()
    return {n for n, p in network.named_parameters() if n.startswith("towers.") and p.grad is not None}


@pytest.mark.parametrize("make", [clip, mixture, siglip, dinov3])
@pytest.mark.parametrize("method", list(METHODS))
def test_with_every_method_exactly_those_weights_are_trained_that_it_uses(
    method: str, make: Callable[[], Backbone]
) -> None:
    network = made(method, True, make)
    known = {n for n in of_tower(network) if ".knowledge." in n} if method == "moe_rep" else set()  # all mixtures gone
    assert reached(network) == of_tower(network) - known
    assert gradients(network, toy_batch()).keys() == trainable_names(network), "as DDP expects"
    last = made(method, "last2", make)
    assert reached(last) == of_tower(last)
    assert not any(".knowledge." in name for name in of_tower(last)), "blocks that stay frozen use it, too"


def test_the_last_blocks_are_all_that_gets_a_gradient() -> None:
    network = made("lora", "last1", clip)
    tower = "towers.visual.visual."
    assert {name.split(".ln_post")[0].split(".resblocks.3.")[0] for name in reached(network)} == {
        tower + "transformer",
        tower.removesuffix("."),
    }
    assert len(reached(network)) == 12 + 2
    whole = made("lora", True, clip)
    everything = {f"towers.visual.{name}" for name, _ in whole.tower.named_parameters()}
    assert everything - of_tower(whole) == {tower + "conv1.weight"}, "which windows do not use"


@pytest.mark.parametrize("method", ["mamol", "dcp"])
def test_images_and_texts_train_both_towers_but_for_pixels_and_words(method: str) -> None:
    images, texts = towers()
    spec = network_of(method, prompt_length=6).spec
    network = Network(replace(spec, options={"train_backbone": True}), {"visual": images, "text": texts})
    shake(network)
    network(batch_of())[0].square().sum().backward()
    assert {n for n, p in network.named_parameters() if p.grad is not None} == trainable_names(network)
    assert not any(weight.requires_grad for tower in (images, texts) for weight in tower.of_embed())
    assert {name.split(".")[1] for name in of_tower(network)} == {"visual", "text"}


@pytest.mark.parametrize("fusion", ["late", "single_stream"])
@pytest.mark.parametrize("head", list(HEADS))
def test_steps_move_what_is_trained_and_leave_the_rest_as_it_was(head: str, fusion: str) -> None:
    network = made("mamol", "last2", head=head, fusion=fusion)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    start, optimizer = network.fingerprint, optimiser(network, "adamw", 1e-2, 2e-2)
    grouped = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
    assert {id(weight) for weight in network.trained_weights().values()} <= grouped
    for _ in range(3):
        network.zero_grad()
        network(toy_batch())[0].square().sum().backward()
        optimizer.step()
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == trainable_names(network)
    assert network.fingerprint == start, "that of the weights it began with"


def test_without_the_option_nothing_of_the_tower_is_trained_or_stored() -> None:
    frozen, trained = made("mamol", False), made("mamol", "last2")
    assert not of_tower(frozen)
    assert "backbone" not in count(frozen)
    own = trained.trainable_state().keys() - frozen.trainable_state().keys()
    assert own == of_tower(trained)
    assert count(trained)["backbone"] == sum(weight.numel() for weight in trained.trained_weights().values())
    assert count(trained)["trainable"] == sum(p.numel() for p in trained.parameters() if p.requires_grad)
    assert count(trained)["total"] == count(frozen)["total"]
    old = Network(replace(frozen.spec, options={}), {"visual": mixture()})
    assert not of_tower(old), "a checkpoint of an earlier version"


def test_a_frozen_beginning_keeps_no_graph() -> None:
    """Nothing in front of the first trained block is kept for the gradients, unless the embeddings are trained."""
    for method, kept in (("linear_probe", [False, False, True, True]), ("lora", [True] * 4)):
        network, seen = made(method, "last2"), []

        def note(part: nn.Module, given: tuple[torch.Tensor, ...], out: torch.Tensor, seen: list[bool] = seen) -> None:
            seen.append(out.requires_grad)

        for block in network.tower.blocks:
            block.norms[1].register_forward_hook(note)
        network(toy_batch())
        assert seen == kept


def test_a_trained_tower_stays_in_evaluation_mode() -> None:
    network = made("mamol", True).train()
    assert network.training
    assert not any(part.training for part in network.tower.modules())


def test_wrong_values_are_refused() -> None:
    for wrong in ("lastx", "first2", "last", 2, None):
        with pytest.raises(MamolError, match=r"train_backbone=.* must be False, True or last<n>"):
            Settings.of({"train_backbone": wrong})
    for none in ("last99", "last0"):
        with pytest.raises(MamolError, match=f"train_backbone='{none}': the tower has the blocks 0 to 3; choose among"):
            made("mamol", none)
    with pytest.raises(MamolError, match="train_backbone=last2: network=unet has no train_backbone to choose; leave"):
        Settings.of({"network": "unet", "train_backbone": "last2"})
