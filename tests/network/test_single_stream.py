"""The network's invariants with ``fusion=single_stream``, for every method."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mamol.backbones.clip import VisualTower
from mamol.core.gates import balance_loss
from mamol.core.method import METHODS
from mamol.core.spec import NetworkSpec
from mamol.core.streams import VISUAL, Trace
from mamol.network.encoder import encode
from mamol.network.fusion import SingleStream
from mamol.network.network import Network
from tests.invariants import assert_neighbours_do_not_matter, features_of, gradients, reordered
from tests.lines import QUICK, run, trained
from tests.streams import GRID, small_tower
from tests.toys import BANDS, CLASSES, shake, toy_batch, windows

BEGINS_AS_THE_TOWER: list[tuple[str, dict[str, Any]]] = [
    ("baseline", {}),
    ("mamol", {}),
    ("mamol", {"experts_dynamic": 3, "balance_weight": 0.1}),
    ("mamol", {"router_input": "modality", "balance_weight": 0.1}),
    ("linear_probe", {}),
    ("lora", {"rank": 2}),
    ("lora_pattern", {}),
    ("moe_ada", {"experts_dynamic": 3, "balance_weight": 0.1}),
    ("moe_task", {}),
    ("moe_task", {"moe_task_form": "moelora"}),
]
BEGINS_ELSEWHERE: list[tuple[str, dict[str, Any]]] = [
    ("released", {}),
    ("mmp", {"prompt_length": 4}),
    ("mmp", {"prompt_length": 4, "prompt_type": "attention"}),
    ("dcp", {"prompt_length": 6}),
    ("dcp_released", {"prompt_length": 6}),
    ("moe_rep", {}),
]
every_variant = pytest.mark.parametrize(("method", "options"), BEGINS_AS_THE_TOWER + BEGINS_ELSEWHERE)


SIZES = {"expert_blocks": "last2", "prompt_depth": 2}  # of the small tower


@cache
def tower() -> VisualTower:
    return small_tower()


def made(
    m: int, method: str, options: dict[str, Any], *, shaken: bool = True, fusion: str = "single_stream"
) -> Network:
    """In evaluation mode: noise and dropout are for training."""
    known = {name: value for name, value in (SIZES | options).items() if name in METHODS[method].options}
    modalities = windows(dict(list(BANDS.items())[:m]))
    spec = NetworkSpec("small", method, modalities, tuple(CLASSES), GRID, known, fusion=fusion)
    network = Network(spec, {VISUAL: tower()})
    if shaken:
        shake(network)
    return network.eval()


def batch_of(m: int) -> dict[str, Tensor]:
    """Random windows for the small tower; some samples miss modalities."""
    return {name: value[..., :GRID, :GRID] if value.ndim == 4 else value for name, value in toy_batch(m=m).items()}


def test_every_method_is_here() -> None:
    assert {method for method, _ in BEGINS_AS_THE_TOWER + BEGINS_ELSEWHERE} == METHODS.keys()


@every_variant
@pytest.mark.parametrize("m", [1, 3])
def test_shapes_and_every_trainable_parameter_gets_a_gradient(method: str, options: dict[str, Any], m: int) -> None:
    network, batch = made(m, method, options).train(), batch_of(m)
    assert network(batch)[0].shape == (6, len(CLASSES))
    assert features_of(network, batch).shape == (6, 1, network.tower.output_dim)
    trainable = {n for n, p in network.named_parameters() if p.requires_grad}
    assert ("embedding.0.modality_type" in trainable) == (method != "linear_probe")
    assert not any(n.startswith("towers.") for n in trainable)
    assert gradients(network, batch).keys() == trainable
    batch["available"][:] = False
    batch["available"][:, -1] = True  # a batch of one pattern and one modality, as a rank may get
    assert gradients(network, batch).keys() == trainable


@pytest.mark.parametrize(("method", "options"), BEGINS_AS_THE_TOWER)
def test_at_initialisation_the_encoder_is_the_frozen_tower(method: str, options: dict[str, Any]) -> None:
    network, batch = made(2, method, options, shaken=False).train(), batch_of(2)
    plain = made(2, "baseline", {})
    plain.embedding.load_state_dict(network.embedding.state_dict())
    torch.testing.assert_close(features_of(network, batch), features_of(plain, batch), atol=5e-6, rtol=0)


@pytest.mark.parametrize("samples", [[0], [1, 2]])
def test_a_sequence_is_what_open_clips_blocks_make_of_it(samples: list[int]) -> None:
    network, batch = made(3, "baseline", {}), batch_of(3)
    batch["available"][samples] = torch.tensor([True, False, True])
    visual = network.tower.visual
    positions = visual.positional_embedding
    parts = [(visual.class_embedding + positions[0]).expand(len(samples), 1, -1)]
    for i in (0, 2):
        parts.append(network.embedding[i](batch[list(BANDS)[i]][samples], network.tower) + positions[1:])
    x = visual.transformer(visual.ln_pre(torch.cat(parts, 1)))
    expected = visual.ln_post(x[:, 0]) @ visual.proj
    torch.testing.assert_close(features_of(network, batch)[samples, 0], expected, atol=1e-5, rtol=1e-5)


def test_with_one_modality_it_begins_as_late_fusion() -> None:
    single, late = (made(1, "mamol", {}, shaken=False, fusion=fusion) for fusion in ("single_stream", "late"))
    assert torch.equal(single(batch_of(1))[0], late(batch_of(1))[0])


@every_variant
def test_class_token_shortcut_is_exact(method: str, options: dict[str, Any]) -> None:
    network, batch = made(2, method, options), batch_of(2)
    tokens = torch.randn(6, 2 * GRID**2, network.tower.width)
    known = network.streams(batch)["visual"]
    assert known.token_mask is not None
    short, full = (encode(network.tower, tokens, network.method, known, shortcut=s).features for s in (True, False))
    torch.testing.assert_close(short, full, atol=1e-5, rtol=1e-5)


@every_variant
def test_content_of_absent_modalities_changes_nothing(method: str, options: dict[str, Any]) -> None:
    network, batch = made(3, method, options), batch_of(3)
    expected, grads = network(batch)[0], gradients(network, batch)
    for i, name in enumerate(list(BANDS)[:3]):
        batch[name][~batch["available"][:, i]] = float("nan")
    assert torch.equal(network(batch)[0], expected)
    for name, grad in gradients(network, batch).items():
        assert torch.equal(grad, grads[name]), name


@every_variant
def test_content_of_padding_changes_nothing(
    method: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, batch = made(3, method, options), batch_of(3)
    (logits, auxiliary), grads = network(batch), gradients(network, batch)
    plain, junk = SingleStream.sequences, torch.randn(tower().width)  # a norm would take away a constant
    mask = network.streams(batch)["visual"].token_mask
    assert mask is not None

    def filled(self: SingleStream, tokens: Tensor, available: Tensor) -> Tensor:
        return torch.where(mask[..., None], plain(self, tokens, available), junk)

    monkeypatch.setattr(SingleStream, "sequences", filled)
    again = network(batch)
    torch.testing.assert_close(again[0], logits, atol=1e-5, rtol=1e-5)
    assert (auxiliary is None) == (again[1] is None)
    if auxiliary is not None:
        torch.testing.assert_close(again[1], auxiliary)
    for name, grad in gradients(network, batch).items():
        torch.testing.assert_close(grad, grads[name], atol=1e-4, rtol=1e-3)


def test_a_sequence_gets_the_dcp_prompts_of_all_modalities() -> None:
    method: Any = made(3, "dcp", {"prompt_length": 6}).method
    whole = SingleStream().streams(batch_of(3)["available"], range(3), GRID**2, VISUAL)
    each = [method.begin(replace(whole, modality=torch.full((6,), i))) for i in range(3)]
    for layer in (0, 1):
        kinds = [method.prompts(layer, state).split(2, 1) for state in each]
        expected = torch.cat([prompts for kind in zip(*kinds, strict=True) for prompts in kind], 1)
        assert torch.equal(method.prompts(layer, method.begin(whole)), expected)


def test_the_balancing_loss_and_the_routing_leave_out_padding() -> None:
    logits = torch.randn(2, 3, 2)
    gates = functional.one_hot(logits.argmax(-1), 2).float()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    kept = [x.flatten(0, 1)[:4][None] for x in (gates, logits.softmax(-1))]
    torch.testing.assert_close(balance_loss(gates, logits.softmax(-1), mask), balance_loss(*kept))
    network, batch = made(2, "mamol", {}), batch_of(2)
    trace, token_mask = Trace(), network.streams(batch)["visual"].token_mask
    network.features(batch, trace)
    routing = trace.routing["visual"]
    assert token_mask is not None
    assert torch.equal((routing[2] > 0).any(-1), functional.pad(token_mask, (1, 0), value=True))
    assert routing[3].shape[1] == 1


@every_variant
def test_a_sample_does_not_depend_on_its_neighbours(method: str, options: dict[str, Any]) -> None:
    assert_neighbours_do_not_matter(made(3, method, options), batch_of(3))


@every_variant
def test_the_order_of_modalities_is_without_effect(method: str, options: dict[str, Any]) -> None:
    network, batch, order = made(3, method, options), batch_of(3), [2, 0, 1]
    other = reordered(network, order)
    assert other.spec.names == tuple(network.spec.names[i] for i in order)
    after = other({**batch, "available": batch["available"][:, order]})[0]
    torch.testing.assert_close(after, network(batch)[0], atol=1e-5, rtol=1e-5)


def test_checkpoints_from_before_the_option_are_late_fusion() -> None:
    content = made(2, "mamol", {}, fusion="late").spec.to_json()
    del content["fusion"]
    assert NetworkSpec.from_json(content).fusion == "late"


def test_a_run_and_its_checkpoint(table_folder: Path, tmp_path: Path) -> None:
    arguments = [f"data_root={table_folder}", "limit_batches=2", "max_epoch=1"]
    folder = trained(tmp_path, *arguments, "fusion=single_stream", "method=dcp")
    assert json.loads((folder / "config.json").read_text())["fusion"] == "single_stream"
    arguments = [*arguments, f"log_dir={tmp_path}", "test_only=True", "method=dcp", f"load_path={folder}"]
    assert run("with", *QUICK, *arguments, "fusion=single_stream").returncode == 0
    refused = run("with", *QUICK, *arguments)
    assert refused.returncode == 1
    assert "fusion 'single_stream' there, 'late' here" in refused.stderr
    assert "fusion='early' must be one of late, single_stream" in run("with", *arguments, "fusion=early").stderr
