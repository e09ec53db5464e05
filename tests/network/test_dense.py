"""A network as one graph for all patterns says what the network says, pattern by pattern and with holes."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from mamol.core.network import AnyNetwork
from mamol.core.spec import NetworkSpec
from mamol.network.building import assemble
from mamol.network.dense import Graph
from tests.timms import tower
from tests.toys import BANDS, shake, toy_batch, toy_network, windows

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("mamol", {}),
    ("mamol", {"head": "pixels", "head_blocks": [2]}),
    ("mamol", {"fusion": "single_stream"}),
    ("mamol", {"fusion": "single_stream", "head": "pixels", "router_input": "modality"}),
    ("mamol", {"fusion": "single_stream", "router_input": "modality", "balance_weight": 0.1}),
    ("mamol", {"router_input": "modality", "experts_dynamic": 4, "top_k": 2, "gate_renormalise": True}),
    ("mamol", {"compensate": True}),
    ("mamol", {"compensate": True, "head": "pixels"}),
    *((method, {}) for method in ("dcp", "mmp", "moe_rep", "moe_task", "moe_ada", "lora_pattern", "lora", "released")),
    ("dcp", {"fusion": "single_stream"}),
    ("mmp", {"prompt_type": "attention", "head": "pixels"}),
    ("linear_probe", {"fusion": "single_stream", "head": "pixels"}),
]
PATTERNS = [pattern for pattern in product((True, False), repeat=3) if any(pattern)]


def holed() -> dict[str, Tensor]:
    """A sample of each pattern; holes, windows of which nothing was seen, nonsense where a modality is absent."""
    batch = toy_batch(len(PATTERNS), m=3)
    batch["available"] = torch.tensor(PATTERNS)
    batch["hsi"][2, :, :2], batch["lidar"][0] = float("nan"), float("nan")
    batch["sar"][5, 1, 2, 3] = float("nan")
    batch["sar"][~batch["available"][:, 2]] = float("inf")
    return batch


@pytest.fixture(autouse=True)
def exporting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed here is what is written into the file."""
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)


def said(network: AnyNetwork, batch: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """By the network as it is in a test."""
    with torch.inference_mode(), monkeypatch.context() as patch:
        patch.setattr(torch.compiler, "is_exporting", lambda: False)
        logits: Tensor = network(batch)[0]
    return logits


@pytest.mark.parametrize(("method", "options"), VARIANTS, ids=str)
def test_all_patterns_in_one_graph(method: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    network = toy_network(3, method, **options)
    shake(network)
    network.eval()
    graph, batch = Graph(network), holed()
    assert graph.inputs == ["hsi", "lidar", "sar", "available"]
    with torch.inference_mode():
        found = graph(*(batch[name] for name in graph.inputs))
    wanted = said(network, batch, monkeypatch)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert wanted.std(0).max() > 1e-3, "samples differ"


@pytest.mark.parametrize(("method", "options"), VARIANTS[:8] + VARIANTS[-3:], ids=str)
@pytest.mark.parametrize("present", [["sar", "hsi"], ["lidar"]], ids=str)
def test_one_pattern_takes_its_windows_alone(
    method: str, options: dict[str, Any], present: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = toy_network(3, method, **options)
    shake(network)
    network.eval()
    graph, batch = Graph(network, present), holed()
    assert graph.inputs == [name for name in ("hsi", "lidar", "sar") if name in present]
    batch["sar"] = torch.nan_to_num(batch["sar"], posinf=1)
    with torch.inference_mode():
        found = graph(*(batch[name] for name in graph.inputs))
    batch["available"] = torch.tensor([name in present for name in ("hsi", "lidar", "sar")]).expand(len(PATTERNS), 3)
    torch.testing.assert_close(found, said(network, batch, monkeypatch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["unet", "perceiver"])
def test_networks_of_their_own(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bands = {name: BANDS[name] for name in ("hsi", "lidar", "sar")}
    network = assemble(NetworkSpec("", "", windows(bands), ("a", "b"), 4, network=kind), "").eval()
    graph, batch = Graph(network), holed()
    with torch.inference_mode():
        found = graph(*(batch[name] for name in graph.inputs))
    torch.testing.assert_close(found, said(network, batch, monkeypatch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["dinov2", "dinov3"])
def test_towers_of_timm(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = toy_network(3, tower=tower(kind), fusion="single_stream", head="pixels", expert_blocks="last2").eval()
    shake(network)
    graph, batch = Graph(network), holed()
    with torch.inference_mode():
        found = graph(*(batch[name] for name in graph.inputs))
    torch.testing.assert_close(found, said(network, batch, monkeypatch), rtol=0, atol=1e-5)


def test_the_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    network = toy_network(3, fusion="single_stream").eval()
    before = said(network, toy_batch(m=3), monkeypatch)
    Graph(network, ["sar"])
    assert torch.equal(said(network, toy_batch(m=3), monkeypatch), before)
