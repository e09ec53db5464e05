"""Task-driven experts, both forms, against loops over tokens."""

import pytest
import torch
from torch import Tensor, nn

from mamol.core.errors import MamolError
from mamol.core.streams import Trace
from mamol.methods.moe_task import MoELoRA, MoETaskOptions, TaskRouted, moe_task
from tests.streams import alone, assert_same, number, randomise, small_tower, streams, tokens, vit_b_16

BLOCK = 1


def equation_9(method: TaskRouted, mlp: nn.Module, token: Tensor, available: Tensor) -> Tensor:
    layer = method.layers[str(BLOCK)]
    psi = method.pattern.weight @ available + method.pattern.bias
    gates = torch.softmax(layer.router.weight @ torch.cat([token, psi]), 0)
    rank, out = layer.experts.rank, mlp(token)
    for k, gate in enumerate(gates):
        own = slice(k * rank, (k + 1) * rank)
        out = out + gate * (layer.experts.up[:, own] @ (layer.experts.down[own] @ token))
    return out


def moelora(method: MoELoRA, mlp: nn.Module, token: Tensor, available: Tensor) -> Tensor:
    layer = method.layers[str(BLOCK)]
    gates = torch.softmax(method.pattern.gate.weight @ method.pattern.embedding.weight[number(available)], 0)

    def updated(linear: nn.Linear, update: nn.Module, x: Tensor) -> Tensor:
        y = linear(x)
        for k, gate in enumerate(gates):
            own = slice(k * update.rank, (k + 1) * update.rank)
            y = y + 2.0 * gate * (update.up[:, own] @ (update.down[own] @ x))
        return y

    return updated(mlp.c_proj, layer.c_proj, mlp.gelu(updated(mlp.c_fc, layer.c_fc, token)))


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize(("form", "plain"), [("eq9", equation_9), ("moelora", moelora)])
@pytest.mark.parametrize(("experts", "rank"), [(2, 4), (3, 3)])
def test_moe_task_is_its_equation(form: str, plain: object, m: int, experts: int, rank: int) -> None:
    tower, known, z = small_tower(), streams(m), tokens()
    method = moe_task(alone(tower, m), MoETaskOptions(experts, rank, [BLOCK], form)).eval()
    randomise(method)
    mlp = tower.blocks[BLOCK].feed_forward

    def fast() -> Tensor:
        return method.feed_forward(BLOCK, z, mlp, method.begin(known))

    def loop() -> Tensor:
        return torch.stack(
            [torch.stack([plain(method, mlp, z[n, t], known.available[n]) for t in range(4)]) for n in range(5)]
        )

    assert_same(method, z, fast, loop)


@pytest.mark.parametrize("form", ["eq9", "moelora"])
def test_gates_are_dense_and_recorded(form: str) -> None:
    tower, trace, z = small_tower(), Trace(), tokens()
    method = moe_task(alone(tower, 2), MoETaskOptions(moe_task_form=form, expert_blocks=[BLOCK]))
    state = method.begin(streams(2), trace)
    method.feed_forward(BLOCK, z, tower.blocks[BLOCK].feed_forward, state)
    gates = trace.routing["visual"][BLOCK]
    assert gates.shape == (5, 4, 2)
    torch.testing.assert_close(gates.sum(-1), torch.ones(5, 4))
    assert (gates > 0).all()
    assert method.auxiliary_loss(state) is None


def test_moelora_drops_in_training_only() -> None:
    tower, z = small_tower(), tokens()
    method = moe_task(alone(tower, 2), MoETaskOptions(moe_task_form="moelora", expert_blocks=[BLOCK]))
    randomise(method)
    state, mlp = method.begin(streams(2)), tower.blocks[BLOCK].feed_forward
    first, second = (method.feed_forward(BLOCK, z, mlp, state) for _ in range(2))
    assert not torch.equal(first, second)
    method.eval()
    first, second = (method.feed_forward(BLOCK, z, mlp, state) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("form", "count"),
    [("eq9", 6 * (2 * 776 + 2 * 2 * 768 * 8) + 3 * 8), ("moelora", 6 * 2 * 8 * (768 + 3072) + 3 * 64 + 2 * 64)],
)
def test_parameters_at_vit_b_16(form: str, count: int) -> None:
    with torch.device("meta"):
        method = moe_task(alone(vit_b_16(), 2), MoETaskOptions(moe_task_form=form))
    assert sum(p.numel() for p in method.parameters()) == count


def test_a_rank_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(MamolError, match="rank=8 must be a multiple of experts_dynamic=3 for moe_task_form=moelora"):
        MoETaskOptions(experts_dynamic=3, moe_task_form="moelora")
    assert MoETaskOptions(experts_dynamic=3).rank == 8
