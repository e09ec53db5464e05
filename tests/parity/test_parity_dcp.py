"""The parity command on DCP: the released numbers, and the release's network written out under its own names."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mamol.core.errors import MamolError
from mamol.parity.__main__ import main
from mamol.parity.compare import differences, report, within
from tests.released import Sizes, Weights, attention, norm, released_weights, under, write_golden
from tests.shared import golden_file

DEPTH, LENGTH = 2, 3
SIZES = Sizes(blocks=(), layers=3)
METADATA = {
    "width": str(SIZES.width),
    "layers": str(SIZES.layers),
    "heads": str(SIZES.heads),
    "output_dim": str(SIZES.output_dim),
    "prompt_length": str(3 * LENGTH),
    "prompt_depth": str(DEPTH),
}
BASE = {0: ("complete", "complete"), 1: ("complete", "missing"), 2: ("missing", "complete")}  # per stream
COMMON = ("complete", "image1", "image2")
DYNAMIC = ("complete", "image", "text")


def dcp_weights() -> Weights:
    generator = torch.Generator().manual_seed(4)
    d, tower = SIZES.width, released_weights(SIZES)
    weights = {name: w for name, w in tower.items() if name.startswith("visual.") and "missing_proj" not in name}
    block, learner = "visual.transformer.resblocks.0", "prompt_learner"
    shapes: dict[str, tuple[int, ...]] = {
        f"{block}.attn_prompt.in_proj_weight": (3 * d, d),
        f"{block}.attn_prompt.in_proj_bias": (3 * d,),
        f"{block}.attn_prompt.out_proj.weight": (d, d),
        f"{block}.attn_prompt.out_proj.bias": (d,),
    }
    shapes |= {f"{block}.prompts_dynamic_{name}": (LENGTH, 1, d) for name in DYNAMIC}
    shapes |= {f"{learner}.common_prompt_{name}": (LENGTH, d) for name in COMMON}

    def bottleneck(name: str, inputs: int) -> None:
        hidden = inputs // 16
        shapes.update({f"{name}.0.weight": (hidden, inputs), f"{name}.0.bias": (hidden,)})
        shapes.update({f"{name}.2.weight": (d, hidden), f"{name}.2.bias": (d,)})

    for i in (1, 2):
        shapes |= {f"{learner}.visual{i}_prompt_{has}": (LENGTH, d) for has in ("complete", "missing")}
        bottleneck(f"{learner}.common_prompt_projection_image{i}", d)
        for layer in range(DEPTH):
            bottleneck(f"{learner}.compound_prompt_projections_image{i}.{layer}", 2 * d)
            shapes |= {f"{learner}.layernorm_image{i}.{layer}.{w}": (2 * d,) for w in ("weight", "bias")}
    return weights | {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def bottleneck(w: Weights, name: str, x: Tensor) -> Tensor:
    hidden = functional.gelu(x @ w[f"{name}.0.weight"].T + w[f"{name}.0.bias"])
    return hidden @ w[f"{name}.2.weight"].T + w[f"{name}.2.bias"]


def prompts(w: Weights, code: int) -> list[list[Tensor]]:
    """Of each layer and stream; common ones joined to those of layer 0."""
    pair = [w[f"visual{i}_prompt_{has}"] for i, has in zip((1, 2), BASE[code], strict=True)]
    layers = []
    for layer in range(DEPTH):
        u = torch.cat(pair, -1)
        pair = [
            bottleneck(w, f"compound_prompt_projections_image{i}.{layer}", norm(w, f"layernorm_image{i}.{layer}", u))
            for i in (1, 2)
        ]
        layers.append(pair)
    common = w[f"common_prompt_{COMMON[code]}"]
    both = [bottleneck(w, f"common_prompt_projection_image{i}", common) for i in (1, 2)]
    layers[0] = [torch.cat([own, shared]) for own, shared in zip(layers[0], both, strict=True)]
    return layers


def feature(visual: Weights, layers: list[Tensor], code: int, tokens: Tensor) -> Tensor:
    """One stream of one sample."""
    x = torch.cat([visual["class_embedding"][None], tokens]) + visual["positional_embedding"]
    x = norm(visual, "ln_pre", x)
    for layer in range(SIZES.layers):
        w = under(visual, f"transformer.resblocks.{layer}.")
        if layer == 0:
            look = under(w, "attn_prompt.")
            (wq, wk, wv), (bq, bk, bv) = look["in_proj_weight"].chunk(3), look["in_proj_bias"].chunk(3)
            q = w[f"prompts_dynamic_{DYNAMIC[code]}"][:, 0] @ wq.T + bq
            mixed = (q @ (x @ wk.T + bk).T / SIZES.width**0.5).softmax(-1) @ (x @ wv.T + bv)
            x = torch.cat([layers[0], mixed @ look["out_proj.weight"].T + look["out_proj.bias"], x])
        elif layer < DEPTH:
            x = torch.cat([layers[layer], x[LENGTH:]])
        x = x + attention(w, norm(w, "ln_1", x)[None], SIZES.heads)[0]
        hidden = norm(w, "ln_2", x) @ w["mlp.c_fc.weight"].T + w["mlp.c_fc.bias"]
        x = x + (hidden * torch.sigmoid(1.702 * hidden)) @ w["mlp.c_proj.weight"].T + w["mlp.c_proj.bias"]
    return norm(visual, "ln_post", x[3 * LENGTH]) @ visual["proj"]


def dcp_tensors() -> Weights:
    weights = dcp_weights()
    visual, learner = under(weights, "visual."), under(weights, "prompt_learner.")
    code = torch.tensor([0, 1, 2, 2])
    generator = torch.Generator().manual_seed(5)
    tensors = {f"weights.{name}": value for name, value in weights.items()} | {"input.pattern_code": code}
    per_sample = [prompts(learner, int(c)) for c in code]
    for i in (0, 1):
        tokens = torch.randn(len(code), SIZES.grid**2, SIZES.width, generator=generator)
        tensors[f"input.tokens_{i + 1}"] = tokens
        for layer in range(DEPTH):
            tensors[f"expected.prompts_{i + 1}.layer{layer}"] = torch.stack([p[layer][i] for p in per_sample])
        tensors[f"expected.features_{i + 1}"] = torch.stack(
            [feature(visual, [p[i] for p in per_sample[n]], int(c), tokens[n]) for n, c in enumerate(code)]
        )
    return tensors


@pytest.fixture(scope="module")
def tensors() -> Weights:
    return dcp_tensors()


def test_the_release_computed_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(golden_file("released_dcp_remote"))]) == 0
    assert "all 8 stages agree within 1e-05" in capsys.readouterr().out


def test_other_sizes_agree(tensors: Weights, tmp_path: Path) -> None:
    found = differences(write_golden(tmp_path / "g.safetensors", tensors, METADATA))
    assert len(found) == 2 * (DEPTH + 1)
    assert all(map(within, found.values())), report(found)


def test_swapped_patterns_are_noticed(tensors: Weights, tmp_path: Path) -> None:
    swapped = tensors | {"input.pattern_code": torch.tensor([0, 2, 1, 1])}
    found = differences(write_golden(tmp_path / "g.safetensors", swapped, METADATA))
    assert not any(map(within, found.values())), report(found)


@pytest.mark.parametrize(
    ("drop", "sizes", "message"),
    [
        ("weights.prompt_learner.layernorm_image2.1.bias", {}, "do not make the released network: learner.correlate.1"),
        ("weights.visual.proj", {}, "holds another tower"),
        ("", {"prompt_depth": "9"}, "prompt_depth=9: the tower has 3 blocks"),
        ("", {"prompt_length": "7"}, "prompt_length=7 must be a multiple of 3"),
        ("input.tokens_2", {}, "its tensors and sizes make no network"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    drop: str, sizes: dict[str, str], message: str, tensors: Weights, tmp_path: Path
) -> None:
    kept = {name: value for name, value in tensors.items() if name != drop}
    path = write_golden(tmp_path / "g.safetensors", kept, METADATA | sizes)
    with pytest.raises(MamolError, match=message) as caught:
        differences(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
