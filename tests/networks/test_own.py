"""What holds for every network without frozen towers: nothing absent or unseen reaches anything, all of it trains."""

from typing import Any

import pytest
import torch
from torch import Tensor

import mamol.network  # noqa: F401 - registers the networks
from mamol.core.backbone import RANDOM
from mamol.core.errors import MamolError
from mamol.core.network import NETWORKS, AnyNetwork
from mamol.core.spec import NetworkSpec
from mamol.core.task import TASKS, UNLABELLED
from tests.invariants import assert_absent_content_is_inert, assert_neighbours_do_not_matter, gradients
from tests.toys import BANDS, CLASSES, GRID, toy_batch, windows

OWN = [name for name, kind in NETWORKS.items() if not kind.reads]
NONE: dict[str, Any] = dict.fromkeys(("backbone", "method", "activation", "fusion", "head"), "")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in OWN},
    "volumetric": ("perceiver", {"volumetric": True}),
}
"""Each network with its defaults, and those whose options change what they are made of."""
every_network = pytest.mark.parametrize("name", VARIANTS)
every_side = pytest.mark.parametrize("side", [2, 3, 5, 14])


def spec(name: str, m: int = 3, side: int = GRID) -> NetworkSpec:
    network, options = VARIANTS[name]
    modalities = windows(dict(list(BANDS.items())[:m]))
    return NetworkSpec(
        modalities=modalities, classes=tuple(CLASSES), grid=side, network=network, options=options, **NONE
    )


def made(name: str, m: int = 3, side: int = GRID, seed: int = 0) -> AnyNetwork:
    return NETWORKS[VARIANTS[name][0]].build(spec(name, m, side), RANDOM, seed).eval()


def batch_of(side: int = GRID, m: int = 3) -> dict[str, Tensor]:
    """Windows of which some pixels are labelled."""
    batch = toy_batch(m=m, grid=side)
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(len(CLASSES), (len(batch["label"]), side, side), generator=generator)
    return {**batch, "label": labels.masked_fill(torch.rand(labels.shape, generator=generator) < 0.5, UNLABELLED)}


@every_network
@every_side
@pytest.mark.parametrize("m", [1, 2, 3])
def test_every_pixel_has_logits_and_every_parameter_trains(name: str, side: int, m: int) -> None:
    if m == 1 and name == "dis2":
        with pytest.raises(MamolError, match="network=dis2: hsi is the only modality, so that nothing can stand in"):
            made(name, m, side)
        return
    network, batch = made(name, m, side), batch_of(side, m)
    network.progress = 1.0  # so late that all terms of the loss count
    logits, auxiliary = network(batch)
    assert network.dense
    assert auxiliary is None
    assert logits.shape == (6, side, side, len(CLASSES))
    assert torch.equal(network.classify(batch), logits[:, side // 2, side // 2])
    trained = gradients(network, batch)
    assert trained.keys() == {each for each, _ in network.named_parameters()}
    assert [each for each, gradient in trained.items() if not gradient.any()] == []


@every_network
@pytest.mark.parametrize("content", [1e30, torch.nan])
@pytest.mark.parametrize("training", [False, True])
def test_what_is_absent_is_inert_to_the_bit(name: str, content: float, training: bool) -> None:
    assert_absent_content_is_inert(made(name).train(training), batch_of(), content)


@every_network
def test_what_was_not_seen_is_inert_to_the_bit(name: str) -> None:
    """One band without a value is enough; whatever number stands in the others."""
    network, batch = made(name), batch_of()
    gone = torch.rand(6, GRID, GRID, generator=torch.Generator().manual_seed(2)) < 0.4
    holes = {**batch, "hsi": batch["hsi"].masked_fill(gone[:, None], torch.nan)}
    expected, grads = network(holes)[0], gradients(network, holes)
    assert torch.isfinite(expected).all()
    spoilt = holes["hsi"].clone()
    spoilt[:, 1:] = spoilt[:, 1:].masked_fill(gone[:, None], 1e30)
    assert torch.equal(network({**batch, "hsi": spoilt})[0], expected)
    for each, gradient in gradients(network, {**batch, "hsi": spoilt}).items():
        assert torch.equal(gradient, grads[each]), each
    assert not torch.equal(network(batch)[0], expected)


@every_network
def test_every_modality_matters_where_it_is_present(name: str) -> None:
    network, batch = made(name), batch_of()
    batch["available"][:] = True
    whole = network(batch)[0]
    for i in range(3):
        fewer = batch["available"].clone()
        fewer[:, i] = False
        assert not torch.allclose(network({**batch, "available": fewer})[0], whole)


@every_network
def test_a_tested_sample_does_not_look_at_others(name: str) -> None:
    assert_neighbours_do_not_matter(made(name), batch_of())


@every_network
def test_the_seed_decides_and_nothing_else_draws(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, same, other = (made(name, seed=seed).trainable_state() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, same[each]) for each, value in one.items())
    assert any(not torch.equal(value, other[each]) for each, value in one.items())


@every_network
def test_statistics_are_taken_off_and_kept_with_the_weights(name: str) -> None:
    """Raw values and their statistics give what normalised values do."""
    network, batch = made(name, m=2), batch_of(m=2)
    expected = network(batch)[0]
    mean, std = ({each: [value] * BANDS[each] for each in ("hsi", "lidar")} for value in (7.0, 2.0))
    network.normalise(mean, std)
    raw = {**batch, **{each: batch[each] * 2 + 7 for each in ("hsi", "lidar")}}
    torch.testing.assert_close(network(raw)[0], expected, rtol=1e-4, atol=1e-5)
    again = made(name, m=2, seed=1)
    again.load_trainable_state(network.trainable_state())
    assert torch.equal(again(raw)[0], network(raw)[0])


@every_network
def test_nothing_is_frozen(name: str) -> None:
    network = made(name)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert sum(network.count_trainable().values()) == sum(p.numel() for p in network.parameters())
    assert (network.fingerprint, network.random_weights, network.spec.label) == ("", False, VARIANTS[name][0])


@every_network
def test_training_learns(name: str) -> None:
    """Absent modalities and unlabelled pixels included."""
    network, batch, task = made(name).train(), batch_of(), TASKS.find("classes")
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        optimiser.zero_grad()
        terms = network.loss(batch, task)
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
        losses.append(float(terms["loss"].detach()))
    assert "loss" in terms
    assert (len(terms) == 1) == (type(network).loss is AnyNetwork.loss), "terms of its own"
    assert losses[-1] < losses[0] / 3
