"""Adapt-based experts against a loop over tokens and whole MLPs."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from mamol.core.errors import MamolError
from mamol.core.method import Pass
from mamol.methods.moe_ada import MoEAda, MoEAdaOptions
from tests.streams import alone, assert_same, randomise, small_tower, streams, tokens, vit_b_16

BLOCK = 2


def made(options: MoEAdaOptions) -> MoEAda:
    """Random weights, no dropout, so that only the router's noise is random."""
    method = MoEAda(alone(small_tower(), 2), options)
    randomise(method)
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return method


def one_token(method: MoEAda, mlp: nn.Module, token: Tensor, noise: Tensor) -> Tensor:
    layer = method.layers[str(BLOCK)]
    logits = layer.router.weight @ token + noise * softplus(layer.noise.weight @ token)
    p = torch.softmax(logits, 0)
    kept = torch.argsort(p, descending=True)[: layer.options.top_k].tolist()
    total = sum(p[k] for k in kept)
    out = torch.zeros_like(token)
    for k in kept:
        (_, a1, b1), (_, a2, b2) = layer.c_fc[k], layer.c_proj[k]
        hidden = mlp.gelu(mlp.c_fc(token) + b1.weight @ (a1.weight @ token))
        out = out + p[k] / total * (mlp.c_proj(hidden) + b2.weight @ (a2.weight @ hidden))
    return out


@pytest.mark.parametrize(("experts", "top_k"), [(2, 2), (4, 2), (3, 3), (2, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_moe_ada_is_its_description(experts: int, top_k: int, training: bool) -> None:
    tower, state, z = small_tower(), Pass(streams(2)), tokens()
    method = made(MoEAdaOptions(experts, top_k, rank=3, expert_blocks=[BLOCK])).train(training)
    mlp = tower.blocks[BLOCK].feed_forward

    def fast() -> Tensor:
        torch.manual_seed(7)
        return method.feed_forward(BLOCK, z, mlp, state)

    def plain() -> Tensor:
        torch.manual_seed(7)
        noise = torch.randn(*z.shape[:2], experts) * float(training)
        return torch.stack(
            [torch.stack([one_token(method, mlp, z[n, t], noise[n, t]) for t in range(4)]) for n in range(5)]
        )

    assert_same(method, z, fast, plain)


def test_noise_and_dropout_are_for_training_only() -> None:
    tower, state, z = small_tower(), Pass(streams(2)), tokens()
    method = MoEAda(alone(tower, 2), MoEAdaOptions(expert_blocks=[BLOCK]))
    randomise(method)
    mlp = tower.blocks[BLOCK].feed_forward
    first, second = (method.feed_forward(BLOCK, z, mlp, state) for _ in range(2))
    assert not torch.equal(first, second)
    method.eval()
    first, second = (method.feed_forward(BLOCK, z, mlp, state) for _ in range(2))
    assert torch.equal(first, second)


def test_auxiliary_loss_is_mixtrals() -> None:
    state, z = Pass(streams(2)), tokens()
    method = made(MoEAdaOptions(4, 2, expert_blocks=[BLOCK], balance_weight=0.5)).eval()
    method.feed_forward(BLOCK, z, small_tower().blocks[BLOCK].feed_forward, state)
    p = torch.softmax(z.flatten(0, 1) @ method.layers[str(BLOCK)].router.weight.T, -1)
    chosen = torch.zeros_like(p)
    for token, row in zip(chosen, p, strict=True):
        token[torch.argsort(row, descending=True)[:2]] = 1
    expected = 4 * sum(chosen[:, k].mean() * p[:, k].mean() for k in range(4))  # each of both slots counts
    torch.testing.assert_close(method.auxiliary_loss(state), 0.5 * expected)


def test_with_both_of_two_experts_the_loss_is_constant_and_can_be_off() -> None:
    state, z, mlp = Pass(streams(2)), tokens(), small_tower().blocks[BLOCK].feed_forward
    made(MoEAdaOptions(expert_blocks=[BLOCK])).feed_forward(BLOCK, z, mlp, state)
    assert state.losses[0].item() == pytest.approx(0.001 * 2)
    silent = Pass(state.streams)
    made(MoEAdaOptions(expert_blocks=[BLOCK], balance_weight=0.0)).feed_forward(BLOCK, z, mlp, silent)
    assert silent.losses == []


def test_parameters_at_vit_b_16_are_the_sources() -> None:
    with torch.device("meta"):
        method = MoEAda(alone(vit_b_16(), 2), MoEAdaOptions())
    layer = method.layers["6"]
    assert sum(p.numel() for p in layer.parameters()) == 125_952
    assert sum(p.numel() for p in (*layer.c_fc.parameters(), *layer.c_proj.parameters())) == 122_880


def test_more_gates_than_experts_are_refused() -> None:
    with pytest.raises(MamolError, match=r"top_k=2 \(method=moe_ada keeps 2 gates unless told\) must be at most"):
        MoEAdaOptions(experts_dynamic=1)
