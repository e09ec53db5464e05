"""The plain ways that benchmarks compare with compute the same, and do what they are said to do for nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import benchmarks.__main__ as program
from benchmarks import loading, mapping, page, pretraining, steps, straight, tables, workload
from benchmarks.harness import Figure
from benchmarks.plain import PlainNetwork, no_output
from benchmarks.workload import batch, labelled_pixels, step_of, with_holes
from mamol.backbones.mixture.tower import Sizes
from mamol.core.modality import WINDOW, Modality
from mamol.data.scenetable import SceneTable
from mamol.network.masked import MaskedAutoencoder
from mamol.network.network import Network
from mamol.tasks.single_label import SingleLabel
from tests.streams import randomise
from tests.toys import CLASSES, GRID, shake, toy_batch, toy_network


def names(figures: list[Figure]) -> list[str]:
    """Of figures that were measured."""
    assert all(figure.value is not None and figure.value > 0 for figure in figures)
    return [figure.name for figure in figures]


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 4 × 4 pixels, as figures are only looked at for being there."""
    for module in (workload, pretraining):
        monkeypatch.setattr(module, "WINDOW", GRID)


def same_gradients(ours: nn.Module, plain: nn.Module) -> None:
    """Checks the gradients of two modules of the same parameters."""
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        if mine.requires_grad:
            torch.testing.assert_close(theirs.grad, mine.grad, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("m", [1, 3])
def test_the_plain_dense_head_classifies_every_pixel_as_ours_does(m: int) -> None:
    network, data = toy_network(m, head="pixels"), toy_batch(m=m)
    shake(network)
    plain = PlainNetwork(network, no_output)
    ours, theirs = network(data)[0], plain(data)
    assert ours.shape == (6, GRID, GRID, len(CLASSES))
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    for logits in (ours, theirs):
        logits.square().mean().backward()
    same_gradients(network.embedding, plain.embedding)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_straight_line_is_our_network(m: int) -> None:
    network, data = toy_network(m), toy_batch(m=m)
    shake(network)
    plain = straight.StraightNetwork(network)
    torch.testing.assert_close(plain(data), network(data)[0], atol=1e-5, rtol=1e-5)
    for logits in (plain(data), network(data)[0]):
        logits.square().mean().backward()
    same_gradients(network.embedding, plain.embedding)
    same_gradients(network.method.layers, plain.layers)


def test_plain_distillation_teaches_what_ours_teaches() -> None:
    network, data = toy_network(compensate=True), toy_batch()
    shake(network)
    network.progress = 1.0
    plain = steps.PlainDistillation(network)
    losses = []
    for loss in (lambda: straight.sum_of(network.loss(data, SingleLabel())), lambda: plain.loss(data)):
        torch.manual_seed(3)
        losses.append(loss())
        losses[-1].backward()
    torch.testing.assert_close(losses[1], losses[0], atol=1e-4, rtol=1e-4)
    assert network.compensator is not None
    same_gradients(network.compensator, plain.compensator)
    same_gradients(network.head, plain.network.head)


def test_there_is_nothing_to_distil_without_a_compensator() -> None:
    with pytest.raises(ValueError, match="compensate=True"):
        steps.PlainDistillation(toy_network())


def test_the_plain_autoencoder_has_our_loss_and_computes_hidden_tokens_and_unused_experts(
    small_windows: None,
) -> None:
    sensors = [Modality(name, WINDOW, bands) for name, bands in pretraining.HOUSTON.items()]
    sizes = Sizes(16, 2, 2, 24, 4, 4, 1, (1,), tuple(sensors))
    ours = MaskedAutoencoder(sizes, [sensors], pretraining.MASK_RATIO)
    randomise(ours, 0, 0.3)
    data, plain = pretraining.windows_of([(True, True), (True, False)]), pretraining.plain_form(ours)
    losses, tokens = [], []
    for network in (ours, plain):
        computed = _tokens_of_experts(network)
        losses.append(pretraining.loss_of(network, data))
        losses[-1].backward()
        tokens.append(sum(computed))
    torch.testing.assert_close(losses[1], losses[0], atol=1e-5, rtol=1e-4)
    same_gradients(ours.tower.weights, plain.tower.weights)
    assert tokens == [3 * (1 + 4), 3 * (1 + 16) * 4]  # 3 streams, 4 of 16 pixels visible, 4 experts


def _tokens_of_experts(network: MaskedAutoencoder) -> list[int]:
    """How many tokens go through each expert, filled in while it computes."""
    found: list[int] = []

    def keep(module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        found.append(given[0].shape[:-1].numel())

    for expert in network.tower.weights.layers[1].feed_forward.each():
        expert.register_forward_hook(keep)
    return found


@pytest.mark.parametrize("head", ["class", "pixels"])
def test_maps_are_what_the_network_says_of_their_windows(head: str, tmp_path: Path) -> None:
    network = toy_network(head=head)
    shake(network)
    drawing = mapping.Drawing.of(network, (2 * GRID, 3 * GRID), tmp_path, batch=2 * GRID)
    assert drawing.rows < drawing.scene.height
    expected = ["map, dense"] if head == "pixels" else ["map, class token", "map, block by block"]
    assert names(mapping.compared(drawing, 1)) == expected
    assert {path.suffix for path in tmp_path.iterdir()} >= set(mapping.ENDINGS)


def test_a_map_that_is_something_else_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = toy_network()
    drawing = mapping.Drawing.of(network, (GRID, GRID), tmp_path, batch=GRID)
    right = drawing.plain(drawing.batches())
    monkeypatch.setattr(mapping.Drawing, "plain", lambda self, batches: right[::-1])
    with pytest.raises(AssertionError):
        mapping.compared(drawing, 1)


def test_steps_are_measured_on_the_tiny_tower(small_windows: None) -> None:
    assert names(steps.run("tiny", rounds=1)) == [
        "training step, dense head",
        "training step, dense head, with holes",
        "training step with holes",
        "distillation step",
        "distillation",
    ]


def test_options_that_are_off_pre_training_and_maps_are_measured(small_windows: None) -> None:
    assert names(straight.run("tiny", rounds=1)) == ["options that are off"]
    assert names(pretraining.run("tiny", rounds=1)) == ["pre-training step"]
    assert names(mapping.run(rounds=1, shapes={"pixels": (GRID, 2 * GRID)})) == ["map, dense"]


def test_holes_and_labels_of_pixels_are_what_they_say() -> None:
    data = batch([(True, True), (False, True)])
    seen = ~with_holes(data)["hsi"].isnan()
    assert seen.float().mean() == pytest.approx(10 / 14)
    assert torch.equal(with_holes(data)["lidar"], data["lidar"])
    assert labelled_pixels(data)["label"].shape == (2, 14, 14)


def test_a_step_descends_the_loss_that_it_is_given() -> None:
    layer = nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    step_of(layer, lambda: layer(torch.ones(2)).sum())()
    assert (layer.weight < before).all()


def test_tables_give_what_slices_of_the_rasters_give() -> None:
    assert names(tables.run(rounds=1)) == [
        "loading a batch of 128, patches",
        "check of a table's checksum",
        "loading a batch of 128, a scene",
        "loading a batch of 128, 3 scenes together",
    ]


def test_a_batch_that_is_another_one_is_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = SceneTable.open(loading.write_table(tmp_path, "scene"))
    right = tables.served(table)
    monkeypatch.setattr(tables, "served", lambda table: lambda chosen: right(np.sort(chosen)))
    with pytest.raises(RuntimeError, match="the same batch"):
        tables.loading("a scene", table, tmp_path, 1)


def test_a_page_is_measured_against_the_passes_that_it_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "SIZES", {"patch_size": 4, "train_per_class": 4, "val_per_class": 1, "test_per_class": 2})
    asked: list[page.Pass] = []
    monkeypatch.setattr(page, "recorded", lambda made, record=page.recorded: asked.extend(record(made)) or asked)
    (figure,) = page.run(rounds=1, preview=2)
    assert names([figure]) == ["page of a run"]
    assert f"{len(asked)} passes of " in figure.note
    said, routed = (
        sum(len(batch["available"]) for _, batch, traced, _ in asked if traced == which) for which in (False, True)
    )
    samples, patterns, pixels = 12, 3, 4
    assert (said, routed) == (patterns * (samples + pixels), patterns * samples)
    computed: list[Any] = []
    features = Network.features
    monkeypatch.setattr(Network, "features", lambda *given, **rest: computed.append(features(*given, **rest)))
    page.replayed(asked)
    assert len(computed) == len(asked)


def test_all_of_them_are_run_by_the_command() -> None:
    for module in (mapping, page, pretraining, steps, straight, tables):
        assert module.run in program.BENCHMARKS.values()
