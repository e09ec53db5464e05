"""Replace-based experts against a loop over tokens."""

import pytest
import torch
from torch import Tensor

from mamol.core.method import Pass
from mamol.core.streams import Trace
from mamol.methods.moe_rep import MoERep, MoERepOptions
from tests.streams import WIDTH, alone, assert_same, randomise, small_tower, streams, tokens, vit_b_16

BLOCK = 3


def one_token(method: MoERep, token: Tensor, top_k: int) -> Tensor:
    layer = method.layers[str(BLOCK)]
    p = torch.softmax(layer.router.weight @ token, 0)
    kept = torch.argsort(p, descending=True)[:top_k].tolist()
    total = sum(p[k] for k in kept) if top_k > 1 else 1.0
    out = torch.zeros(WIDTH)
    for k in kept:
        expert = layer.experts[k]
        out = out + p[k] / total * expert.c_proj(expert.gelu(expert.c_fc(token)))
    return out


@pytest.mark.parametrize(("experts", "top_k"), [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_moe_rep_is_equation_7(experts: int, top_k: int) -> None:
    tower, state, z = small_tower(), Pass(streams(2)), tokens()
    method = MoERep(alone(tower, 2), MoERepOptions(experts, top_k, expert_blocks=[BLOCK]))
    randomise(method)
    mlp = tower.blocks[BLOCK].feed_forward
    assert_same(
        method,
        z,
        lambda: method.feed_forward(BLOCK, z, mlp, state),
        lambda: torch.stack([torch.stack([one_token(method, token, top_k) for token in stream]) for stream in z]),
    )


def test_it_begins_as_the_frozen_mlp_times_the_kept_gate() -> None:
    tower, trace, z = small_tower(), Trace(), tokens()
    method = MoERep(alone(tower, 2), MoERepOptions(expert_blocks=[BLOCK]))
    mlp = tower.blocks[BLOCK].feed_forward
    out = method.feed_forward(BLOCK, z, mlp, Pass(streams(2), trace))
    gates = trace.routing["visual"][BLOCK]
    assert gates.shape == (5, 4, 2)
    kept = gates.sum(-1, keepdim=True)
    assert ((kept >= 0.5) & (kept < 1)).all()
    torch.testing.assert_close(out, kept * mlp(z))


def test_an_expert_without_tokens_gets_a_zero_gradient() -> None:
    tower, z = small_tower(), tokens()
    method = MoERep(alone(tower, 2), MoERepOptions(expert_blocks=[BLOCK]))
    layer = method.layers[str(BLOCK)]
    with torch.no_grad():
        layer.router.weight.zero_()  # the first of equal gates is kept
    method.feed_forward(BLOCK, z, tower.blocks[BLOCK].feed_forward, Pass(streams(2))).sum().backward()
    used = [expert.c_fc.weight.grad.abs().max() > 0 for expert in layer.experts]
    assert sorted(used) == [False, True]


def test_auxiliary_loss_is_small_when_even_and_grows_to_the_number_of_experts() -> None:
    tower, state, z = small_tower(), Pass(streams(2)), torch.ones(5, 4, WIDTH)
    method = MoERep(alone(tower, 2), MoERepOptions(expert_blocks=[2, 3]))
    with torch.no_grad():
        for layer in method.layers.values():
            layer.router.weight[0] = 10.0
            layer.router.weight[1] = -10.0
    for block in range(4):
        method.feed_forward(block, z, tower.blocks[block].feed_forward, state)
    loss = method.auxiliary_loss(state)
    assert loss is not None
    assert loss.item() == pytest.approx(2 * 0.01 * 2)  # two layers, all tokens to one of two experts
    quiet = MoERep(alone(tower, 2), MoERepOptions(balance_weight=0.0, expert_blocks=[3]))
    silent = Pass(state.streams)
    quiet.feed_forward(3, z, tower.blocks[3].feed_forward, silent)
    assert quiet.auxiliary_loss(silent) is None


def test_parameters_at_vit_b_16() -> None:
    with torch.device("meta"):
        method = MoERep(alone(vit_b_16(), 2), MoERepOptions())
    assert sum(p.numel() for p in method.layers["11"].experts[0].parameters()) == 4_722_432
    assert sum(p.numel() for p in method.parameters()) == 6 * (2 * 4_722_432 + 2 * 768)
