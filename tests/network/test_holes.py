"""Pixels that a sensor did not see: whatever stands there, nothing that leaves a network changes by a bit."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mamol.core.head import ALL, HEADS, Head, HeadSizes
from mamol.core.method import METHODS
from mamol.core.streams import Trace
from mamol.network.network import Network
from tests.invariants import gradients
from tests.toys import GRID, shake, toy_batch, toy_network

OPTIONS: dict[str, dict[str, Any]] = {
    "mamol": {"balance_weight": 0.1},
    "moe_rep": {"experts_dynamic": 3, "balance_weight": 0.1},
    "moe_ada": {"experts_dynamic": 3, "balance_weight": 0.1},
    "mmp": {"prompt_length": 4},
    "dcp": {"prompt_length": 6},
    "dcp_released": {"prompt_length": 6},
}
every_method = pytest.mark.parametrize("method", METHODS)
both_fusions = pytest.mark.parametrize("fusion", ["late", "single_stream"])


def made(
    method: str, fusion: str = "late", head: str = "class", m: int = 3, blocks: list[int] | None = None
) -> Network:
    network = toy_network(m, method, fusion=fusion, head=head, head_blocks=blocks, **OPTIONS.get(method, {}))
    shake(network)
    return network.eval()


def holes(batch: dict[str, Tensor], seed: int = 0, share: float = 0.4) -> dict[str, Tensor]:
    """Which pixels of which windows were not seen, (B, P, P) for each modality; the middle of one always was."""
    generator = torch.Generator().manual_seed(seed)
    names = [name for name in batch if name not in ("available", "label")]
    found = {name: torch.rand(len(batch["label"]), GRID, GRID, generator=generator) < share for name in names}
    for each in found.values():
        each[:, GRID // 2, GRID // 2] = False
    return found


def with_holes(batch: dict[str, Tensor], where: dict[str, Tensor], content: float = torch.nan) -> dict[str, Tensor]:
    windows = {name: batch[name].masked_fill(gone[:, None], content) for name, gone in where.items()}
    return {**batch, **windows}


class Rubbish:
    """Puts something else into the tokens of pixels that were not seen, behind the embedding."""

    def __init__(self, network: Network, size: float) -> None:
        self.handles = [each.register_forward_hook(self.spoil) for each in network.embedding]
        self.size, self.spoilt = size, 0

    def spoil(self, embedding: Any, inputs: tuple[Any, ...], tokens: Tensor) -> Tensor:
        seen = embedding.valid(inputs[0])
        if seen is None:
            return tokens
        self.spoilt += int((~seen).sum())
        return tokens.where(seen[..., None], self.size)

    def __enter__(self) -> "Rubbish":
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()


@every_method
@both_fusions
def test_tokens_that_were_not_seen_reach_nothing(method: str, fusion: str) -> None:
    network, batch = made(method, fusion), toy_batch(m=3)
    batch = with_holes(batch, holes(batch))
    (logits, auxiliary), grads = network(batch), gradients(network, batch)
    assert torch.isfinite(logits).all()
    with Rubbish(network, 100.0) as rubbish:
        spoilt, other = network(batch)
        for name, grad in gradients(network, batch).items():
            # moe_rep gathers the tokens of an expert, which rubbish changes, so that its sums are in another order.
            atol, rtol = (1e-6, 1e-5) if method == "moe_rep" else (0, 0)
            torch.testing.assert_close(grad, grads[name], atol=atol, rtol=rtol, msg=name)
    assert rubbish.spoilt > 0
    assert torch.equal(spoilt, logits)
    assert (auxiliary is None) == (other is None)
    assert auxiliary is None or torch.equal(auxiliary, other)
    assert all(torch.isfinite(grad).all() for grad in grads.values())


@pytest.mark.parametrize("method", ["mamol", "released", "moe_rep", "moe_ada", "moe_task"])
@both_fusions
def test_routing_does_not_count_them(method: str, fusion: str) -> None:
    network, batch = made(method, fusion), toy_batch(m=3)
    where = holes(batch)
    batch, trace = with_holes(batch, where), Trace()
    network.features(batch, trace, shortcut=False)
    for gates in trace.routing["visual"].values():
        seen = sum(int((~where[name])[batch["available"][:, i]].sum()) for i, name in enumerate(where))
        front = len(gates)  # the class token of each sequence
        assert int((gates > 0).any(-1).sum()) == seen + front


@every_method
def test_one_band_is_enough(method: str) -> None:
    network, batch = made(method), toy_batch(m=3)
    where = holes(batch)
    some = {name: batch[name].clone() for name in where}
    for name, gone in where.items():
        some[name][:, -1][gone] = torch.nan
    assert torch.equal(network({**batch, **some})[0], network(with_holes(batch, where))[0])


@both_fusions
def test_a_hole_is_not_a_zero(fusion: str) -> None:
    network, batch = made("mamol", fusion), toy_batch(m=3)
    where = holes(batch)
    assert not torch.equal(network(with_holes(batch, where))[0], network(with_holes(batch, where, 0.0))[0])


@both_fusions
def test_without_holes_there_is_no_mask(fusion: str) -> None:
    network, batch = made("mamol", fusion, m=2), toy_batch(m=2)
    batch["available"][:] = True
    assert network.streams(batch)["visual"].token_mask is None


def test_the_mask_is_that_of_the_streams() -> None:
    network, batch = made("mamol"), toy_batch(m=3)
    where = holes(batch)
    streams = network.streams(with_holes(batch, where))["visual"]
    assert streams.token_mask is not None
    assert streams.modality is not None
    for row, sample, modality in zip(streams.token_mask, streams.sample, streams.modality, strict=True):
        assert torch.equal(row, ~list(where.values())[modality][sample].flatten())


def test_neighbours_with_holes_do_not_matter() -> None:
    network, batch = made("mamol"), toy_batch(m=3)
    batch["available"][:] = True
    where = holes(batch)
    for gone in where.values():
        gone[1:] = False
    torch.testing.assert_close(network(with_holes(batch, where))[0][1:], network(batch)[0][1:], atol=1e-5, rtol=1e-5)


class Sums(Head):
    """Reads all tokens: mean over those that were seen."""

    reads = ALL

    def __init__(self, sizes: HeadSizes) -> None:
        super().__init__(sizes)
        self.linear = torch.nn.Linear(sum(sizes.widths.values()), sizes.classes)

    def forward(self, features: Any, available: Tensor, seen: Any = None) -> Tensor:
        self.seen = seen
        sums = [tokens.sum(1) for tokens in features.values()]
        counts = [
            torch.full((len(s), 1), GRID**2) if seen is None else seen[n].sum(1, keepdim=True)
            for n, s in zip(features, sums, strict=True)
        ]
        return self.linear(torch.cat([s / c.clamp(min=1) for s, c in zip(sums, counts, strict=True)], 1))


@both_fusions
def test_a_head_that_reads_all_tokens_knows_which_were_seen(fusion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS._entries, "sums", Sums)
    network, batch = made("mamol", fusion, head="sums"), toy_batch(m=3)
    where = holes(batch)
    torn = with_holes(batch, where)
    logits = network(torn)[0]
    for i, (name, gone) in enumerate(where.items()):
        assert torch.equal(network.head.seen[name], ~gone.flatten(1) & batch["available"][:, i : i + 1])
    with Rubbish(network, 100.0):
        assert torch.equal(network(torn)[0], logits)
    network(batch)
    assert fusion == "single_stream" or network.head.seen is None


def test_training_on_holes_learns() -> None:
    network, batch = made("mamol").train(), toy_batch(m=3)
    batch = with_holes(batch, holes(batch))
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = functional.cross_entropy(network(batch)[0], batch["label"])
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2
