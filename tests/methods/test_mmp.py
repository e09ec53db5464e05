"""Missing-aware prompts against a loop over streams through open_clip's own blocks."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mamol.backbones.clip import VisualTower
from mamol.core.errors import MamolError
from mamol.methods.mmp import MMP, MMPOptions
from mamol.network.encoder import encode
from tests.streams import LAYERS, WIDTH, alone, assert_same, number, randomise, small_tower, streams, tokens, vit_b_16

DEPTH, LENGTH = 3, 4
Plain = Callable[[VisualTower, Tensor, Tensor], Tensor]


def input_level(tower: VisualTower, prompts: Tensor, x: Tensor) -> Tensor:
    """One stream; ``prompts`` (depth, L, width) of its pattern."""
    for layer, block in enumerate(tower.visual.transformer.resblocks):
        if layer < DEPTH:
            x = torch.cat([prompts[layer], x])
        x = block(x[None])[0]
    return tower.finish(x[DEPTH * LENGTH])


def attention_level(tower: VisualTower, prompts: Tensor, x: Tensor) -> Tensor:
    """One stream, head by head."""
    for layer, block in enumerate(tower.visual.transformer.resblocks):
        module, h = block.attn, block.ln_1(x)
        q, k, v = (h @ module.in_proj_weight.T + module.in_proj_bias).split(WIDTH, -1)
        if layer < DEPTH:
            k = torch.cat([prompts[layer, : LENGTH // 2], k])
            v = torch.cat([prompts[layer, LENGTH // 2 :], v])
        heads, size = [], WIDTH // module.num_heads
        for i in range(module.num_heads):
            part = slice(i * size, (i + 1) * size)
            heads.append((q[:, part] @ k[:, part].T / size**0.5).softmax(-1) @ v[:, part])
        x = x + module.out_proj(torch.cat(heads, -1))
        x = x + block.mlp(block.ln_2(x))
    return tower.finish(x[0])


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("shortcut", [True, False])
@pytest.mark.parametrize(("kind", "plain"), [("input", input_level), ("attention", attention_level)])
def test_prompts_of_the_pattern_go_in_where_the_source_puts_them(
    kind: str, plain: Plain, m: int, shortcut: bool
) -> None:
    tower, known, x = small_tower(), streams(m), tokens()
    method = MMP(alone(small_tower(), m), MMPOptions(LENGTH, DEPTH, kind))
    randomise(method)

    def loop() -> Tensor:
        begun = tower.begin(x)
        return torch.stack([plain(tower, method.prompts[number(known.available[n])], begun[n]) for n in range(len(x))])

    assert_same(method, x, lambda: encode(tower, x, method, known, shortcut=shortcut).features, loop)


@pytest.mark.parametrize("kind", ["input", "attention"])
def test_prompts_in_the_last_block_count(kind: str) -> None:
    tower, known, x = small_tower(), streams(2), tokens()
    method = MMP(alone(small_tower(), 2), MMPOptions(LENGTH, LAYERS, kind))
    before = encode(tower, x, method, known).features
    with torch.no_grad():
        method.prompts[:, -1] += tokens(1, LENGTH)[0]
    assert (encode(tower, x, method, known).features - before).abs().max() > 1e-4


def test_parameters_at_vit_b_16_are_the_sources() -> None:
    with torch.device("meta"):
        prompts = MMP(alone(vit_b_16(), 2), MMPOptions()).prompts
    assert prompts.numel() == 221_184
    assert prompts[0].numel() == 6 * 16 * 768


def test_no_two_prompts_begin_alike() -> None:
    prompts = MMP(alone(small_tower(), 2), MMPOptions(prompt_depth=2)).prompts.flatten(0, 2)
    assert len(torch.unique(prompts, dim=0)) == len(prompts)
    assert prompts.std().item() == pytest.approx(0.02, rel=0.2)


def test_odd_length_and_too_deep_prompts_are_refused() -> None:
    with pytest.raises(MamolError, match="prompt_length=5 must be even for method=mmp with prompt_type=attention"):
        MMPOptions(prompt_length=5, prompt_type="attention")
    with pytest.raises(MamolError, match="prompt_depth=6: the tower has 4 blocks; give at most as many"):
        MMP(alone(small_tower(), 2), MMPOptions())


def test_equal_prompts_would_stay_equal() -> None:
    """Why the source's initial values, one row of ones and zeros, are not taken."""
    method = MMP(alone(small_tower(), 1), MMPOptions(LENGTH, DEPTH))
    with torch.no_grad():
        method.prompts.zero_()
        method.prompts[:, :, 0] = 1
    encode(small_tower(), tokens(), method, streams(1)).features.square().sum().backward()
    zeros = method.prompts.grad[0, :, 1:]
    assert zeros.abs().max() > 1e-3
    torch.testing.assert_close(zeros, zeros[:, :1].expand_as(zeros))
