"""The controls: one LoRA as large as MaMOL, one LoRA per pattern, and the linear probe."""

import pytest
import torch
from torch import Tensor

from mamol.core.method import Pass
from mamol.methods.lora import LoRA, matching_rank
from mamol.methods.lora_pattern import LoRAPattern, LoRAPatternOptions
from mamol.methods.mamol import MaMOL, MaMOLOptions
from mamol.methods.patterns import pattern_index, pattern_table
from tests.streams import WIDTH, alone, assert_same, number, randomise, small_tower, streams, tokens, vit_b_16
from tests.toys import shake, toy_batch, toy_network


def plain_lora(mlp: torch.nn.Module, down: Tensor, up: Tensor, z: Tensor) -> Tensor:
    return torch.stack([mlp(token) + up @ (down @ token) for token in z])


def test_lora_is_the_mlp_plus_one_update() -> None:
    tower, state, z = small_tower(), Pass(streams(2)), tokens()
    method = LoRA(alone(small_tower(), 2), MaMOLOptions(rank=2, expert_blocks="last2"))
    randomise(method)
    mlp, update = tower.blocks[2].feed_forward, method.layers["2"].update
    assert update.down.shape == (method.rank, WIDTH)
    assert_same(
        method.layers["2"],
        z,
        lambda: method.feed_forward(2, z, mlp, state),
        lambda: torch.stack([plain_lora(mlp, update.down, update.up, stream) for stream in z]),
    )
    assert torch.equal(method.feed_forward(1, z, mlp, state), mlp(z))


@pytest.mark.parametrize("m", [1, 2, 3])
def test_lora_pattern_uses_the_update_of_the_pattern(m: int) -> None:
    tower, state, z, rank = small_tower(), Pass(streams(m)), tokens(), 3
    method = LoRAPattern(alone(small_tower(), m), LoRAPatternOptions(rank=rank, expert_blocks=[1]))
    randomise(method)
    mlp, updates = tower.blocks[1].feed_forward, method.layers["1"].updates

    def plain() -> Tensor:
        rows = []
        for n, stream in enumerate(z):
            pattern = number(state.streams.available[n])
            own = slice(pattern * rank, (pattern + 1) * rank)
            rows.append(plain_lora(mlp, updates.down[own], updates.up[:, own], stream))
        return torch.stack(rows)

    assert_same(method, z, lambda: method.feed_forward(1, z, mlp, state), plain)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize("options", [MaMOLOptions(), MaMOLOptions(experts_dynamic=5, expert_blocks="last2")])
def test_lora_is_as_large_as_mamol(m: int, options: MaMOLOptions) -> None:
    with torch.device("meta"):
        ours, theirs = (
            sum(p.numel() for p in kind(alone(vit_b_16(), m), options).parameters()) for kind in (LoRA, MaMOL)
        )
    adapted = 6 if options.expert_blocks == "last6" else 2
    assert abs(ours - theirs) <= 768 * adapted
    assert abs(ours - theirs) / theirs < 0.003


def test_lora_counts_at_vit_b_16() -> None:
    assert matching_rank(alone(vit_b_16(), 2), MaMOLOptions()) == 235
    with torch.device("meta"):
        assert sum(p.numel() for p in LoRA(alone(vit_b_16(), 2), MaMOLOptions()).parameters()) == 2_165_760
        growth = [
            sum(p.numel() for p in LoRAPattern(alone(vit_b_16(), m), LoRAPatternOptions()).parameters())
            for m in (1, 2, 3, 4)
        ]
    assert growth == [73_728 * n for n in (1, 3, 7, 15)]


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_patterns_are_numbered_by_their_bits(m: int) -> None:
    table = pattern_table(m)
    assert table.shape == (2**m - 1, m)
    assert pattern_index(table.float()).tolist() == list(range(2**m - 1))
    assert [number(row) for row in table] == list(range(2**m - 1))
    assert table[-1].all()


def test_linear_probe_trains_the_head_alone_and_keeps_its_embedding() -> None:
    network, batch = toy_network(2, "linear_probe"), toy_batch()
    assert {n for n, p in network.named_parameters() if p.requires_grad} == {"head.weight", "head.bias"}
    shake(network)
    other = toy_network(2, "linear_probe", tower=network.tower)
    with torch.no_grad():
        for parameter in other.embedding.parameters():
            parameter.zero_()
    assert not torch.equal(other(batch)[0], network(batch)[0])
    other.load_trainable_state(network.trainable_state())
    assert torch.equal(other(batch)[0], network(batch)[0])
