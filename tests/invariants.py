"""Checks that hold for every method and every fusion."""

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from mamol.core.network import AnyNetwork
from mamol.core.task import TASKS
from mamol.methods.patterns import pattern_index, pattern_table
from mamol.network.network import Network
from tests.toys import BANDS


def gradients(network: AnyNetwork, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of every parameter that gets one from a training step's loss, the same draws each time.

    Under these, a student of ``dis2`` has each modality absent beside each other one in the batches of the tests.
    """
    network.zero_grad()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        terms = network.loss(batch, TASKS.find("classes"))
    torch.stack(list(terms.values())).sum().backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def assert_absent_content_is_inert(network: AnyNetwork, batch: dict[str, Tensor], content: float) -> None:
    """Whatever the windows of absent modalities hold, outputs and gradients are the same to the bit."""
    expected, grads = _logits(network, batch), gradients(network, batch)
    for i, name in enumerate(name for name in BANDS if name in batch):
        batch[name][~batch["available"][:, i]] = content
    assert torch.equal(_logits(network, batch), expected)
    for name, grad in gradients(network, batch).items():
        assert torch.equal(grad, grads[name]), name


def _logits(network: AnyNetwork, batch: dict[str, Tensor]) -> Tensor:
    """What a pass says, with the same dropout each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return network(batch)[0]


def assert_neighbours_do_not_matter(network: AnyNetwork, batch: dict[str, Tensor]) -> None:
    """A sample alone gives what it gives among others."""
    together = network(batch)[0]
    for n in range(len(together)):
        alone = network({k: v[n : n + 1] for k, v in batch.items()})[0]
        torch.testing.assert_close(alone[0], together[n], atol=1e-5, rtol=1e-5)


def features_of(network: Network, batch: dict[str, Tensor]) -> Tensor:
    """What the head sees, (B, parts, output_dim)."""
    return torch.stack(list(network.features(batch)[0].values()), 1)


def reordered(network: Network, order: Sequence[int]) -> Network:
    """A network of the same modalities in another order, with every weight at its new place.

    Args:
        network: Of windows, on one tower.
        order: Which modality of ``network`` comes first, second, ….
    """
    spec = replace(network.spec, modalities=tuple(network.spec.modalities[i] for i in order))
    other = Network(spec, {"visual": network.tower}).train(network.training)
    state = network.trainable_state()
    other.load_trainable_state({_place(n, order): _permuted(network, n, w, order) for n, w in state.items()})
    return other


def _place(name: str, order: Sequence[int]) -> str:
    """The name of a weight of the number-th modality, where it goes to."""
    numbered = re.compile(
        r"(embedding|compensator\.parts|method\.learner\.base|method\.learner\.\S+\.projections)\.(\d+)(?=\.|$)"
    )
    return numbered.sub(lambda found: f"{found[1]}.{order.index(int(found[2]))}", name)


def _permuted(network: Network, name: str, value: Tensor, order: Sequence[int]) -> Tensor:
    """A weight whose rows or columns belong to modalities or to patterns, in the new order."""
    spec, options = network.spec, network.spec.method_options
    rows = _pattern_rows(order)
    rank = int(options.get("rank", 8))
    if name == "head.weight" and spec.fusion == "late":
        return _blocks(value, 1, order, network.tower.output_dim)
    if re.fullmatch(r"compensator\.parts\.\d+\.0\.weight", name):
        return _blocks(value, 1, [*range(width := network.tower.output_dim), *(width + i for i in order)], 1)
    if spec.method == "mamol" and re.search(r"\.experts\.(down|up)$", name):
        if not options.get("modality_experts", True):
            return value
        dim = 0 if name.endswith("down") else 1
        others = value.shape[dim] // rank - len(order)  # dynamic and shared ones come first
        return _blocks(value, dim, [*range(others), *(others + i for i in order)], rank)
    if name in ("method.pattern_embedding.weight", "method.pattern.weight"):  # ψ
        return _blocks(value, 1, order, 1)
    if name == "method.modality_embedding.weight":
        return _blocks(value, 0, order, 1)
    if name in ("method.prompts", "method.learner.common", "method.queries.visual", "method.pattern.embedding.weight"):
        return _blocks(value, 0, rows, 1)
    if re.search(r"\.updates\.(down|up)$", name):
        return _blocks(value, 0 if name.endswith("down") else 1, rows, rank)
    if re.search(r"\.correlate\.\d+\.projections\.\d+\.(0\.weight|0\.bias|1\.0\.weight)$", name):
        return _blocks(value, value.ndim - 1, order, network.tower.width)
    return value


def _blocks(value: Tensor, dim: int, order: Sequence[int], size: int) -> Tensor:
    """Blocks of ``size`` along a dimension in another order."""
    index = [i * size + r for i in order for r in range(size)]
    if len(index) != value.shape[dim]:
        raise ValueError(f"{len(index)} rows for {tuple(value.shape)} along {dim}")
    return value.index_select(dim, torch.tensor(index))


def _pattern_rows(order: Sequence[int]) -> list[int]:
    """For each pattern of the reordered modalities, its row before."""
    new = pattern_table(len(order))
    old = torch.empty_like(new)
    old[:, list(order)] = new
    rows: list[int] = pattern_index(old.float()).tolist()
    return rows
