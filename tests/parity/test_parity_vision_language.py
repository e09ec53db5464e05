"""The released image-text network: golden numbers, the same written out plainly, and its number of parameters."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mamol.backbones.architectures import ClipSpec, clip_spec
from mamol.backbones.clip import VisualTower
from mamol.backbones.openclip import build_clip, text_transformer, vision_transformer
from mamol.backbones.text import TextTower
from mamol.core.backbone import Origin
from mamol.core.method import METHODS
from mamol.core.modality import IMAGE, TEXT, Modality
from mamol.core.spec import NetworkSpec
from mamol.network.network import Network
from mamol.network.parameters import count
from mamol.parity.__main__ import main
from mamol.parity.compare import differences, report, within
from tests.image_text import CLASSES, CONTEXT, OUT, SIDE, SPEC, VOCABULARY, batch_of
from tests.released import adapter, under, write_golden
from tests.shared import golden_file
from tests.streams import randomise

BLOCKS, SCALE, TOPK = (1, 3), 0.3, 2
EXACT = ClipSpec(replace(SPEC.visual, quick_gelu=False), replace(SPEC.text, width=24, quick_gelu=False))
SIZES = {
    "image_size": SIDE,
    "patch_size": SPEC.visual.patch_size,
    "context_length": CONTEXT,
    "vocab_size": VOCABULARY,
    "width": 24,
    "layers": 6,
    "heads": 2,
    "embed_dim": OUT,
    "rank": 2,
    "num_dyn": 3,
    "num_stat": 3,
    "topk": TOPK,
    "adapter_scale": SCALE,
    "adapter_blocks": ",".join(map(str, BLOCKS)),
}


def adapters(width: int, generator: torch.Generator) -> dict[str, Tensor]:
    shapes = {"missing_proj.weight": (8, 3), "missing_proj.bias": (8,)}
    for block in BLOCKS:
        own = {f"A_{kind}.{k}": (width, 2) for kind in ("dyn", "stat") for k in range(3)}
        own |= {f"B_{kind}.{k}": (2, width) for kind in ("dyn", "stat") for k in range(3)}
        own |= {"router.0.weight": (width // 2, width + 8), "router.0.bias": (width // 2,)}
        own |= {"router.2.weight": (3, width // 2), "router.2.bias": (3,)}
        own |= {"out_proj.weight": (width, width), "out_proj.bias": (width,)}
        shapes |= {f"resblocks.{block}.mamol.{name}": shape for name, shape in own.items()}
    return {f"transformer.{n}": torch.randn(shape, generator=generator) * 0.4 for n, shape in shapes.items()}


def golden_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = build_clip(EXACT)
    randomise(model, scale=0.2)
    model.eval()
    added = {"visual.": adapters(24, generator), "": adapters(24, generator)}
    weights = {name: value for name, value in model.state_dict().items() if name != "logit_scale"}
    weights |= {prefix + name: value for prefix, state in added.items() for name, value in state.items()}
    weights |= {"head.weight": torch.randn(CLASSES, 2 * OUT, generator=generator), "head.bias": torch.randn(CLASSES)}
    batch, code = batch_of(), torch.tensor([0, 1, 2] * 2)
    with torch.no_grad():
        images, texts = encoded(model, added, batch, code)
        fused = torch.cat([images * (code != 2)[:, None], texts * (code != 1)[:, None]], 1)
        logits = fused @ weights["head.weight"].T + weights["head.bias"]
    expected = {"image_features": images, "text_features": texts, "fused_features": fused, "logits": logits}
    inputs = {"image": batch["image"], "tokens": batch["text"], "missing_type": code}
    parts = {"weights": weights, "input": inputs, "expected": expected}
    return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}


def encoded(
    model: torch.nn.Module, added: dict[str, dict[str, Tensor]], batch: dict[str, Tensor], code: Tensor
) -> tuple[Tensor, Tensor]:
    """The release's two towers with all tokens, adapters beside the MLPs, as a plain loop."""
    one_hot, visual = torch.nn.functional.one_hot(code, 3).float(), model.visual
    patches = visual.conv1(batch["image"]).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(patches), 1, -1), patches], 1) + visual.positional_embedding
    texts = model.token_embedding(batch["text"]) + model.positional_embedding
    streams = {"visual.": (visual.ln_pre(x), visual.transformer, None), "": (texts, model.transformer, model.attn_mask)}
    results = []
    for prefix, (x, transformer, mask) in streams.items():
        state = under(added[prefix], "transformer.")
        e = one_hot @ state["missing_proj.weight"].T + state["missing_proj.bias"]
        for number, block in enumerate(transformer.resblocks):
            h = block.ln_1(x)
            x = x + block.attn(h, h, h, need_weights=False, attn_mask=mask)[0]
            z = block.ln_2(x)
            x = x + block.mlp(z)
            if number in BLOCKS:
                x = x + SCALE * adapter(under(state, f"resblocks.{number}.mamol."), z, e, TOPK)
        results.append(x)
    ends = batch["text"].argmax(-1)
    texts = model.ln_final(results[1])[torch.arange(len(ends)), ends] @ model.text_projection
    return visual.ln_post(results[0][:, 0]) @ visual.proj, texts


def test_the_release_computed_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(golden_file("released_vision_language"))]) == 0
    assert "all 4 stages agree within 1e-05" in capsys.readouterr().out


def test_the_plain_network_computes_the_same_and_other_numbers_are_noticed(tmp_path: Path) -> None:
    tensors, sizes = golden_tensors(), {name: str(value) for name, value in SIZES.items()}
    found = differences(write_golden(tmp_path / "golden.safetensors", tensors, sizes))
    assert list(found) == ["image_features", "text_features", "fused_features", "logits"]
    assert all(map(within, found.values())), report(found)
    other = write_golden(tmp_path / "other.safetensors", tensors, sizes | {"adapter_scale": "0.31"})
    assert not within(differences(other)["text_features"])


def vit_b_16(method: str, **options: Any) -> Network:
    """On ViT-B/16 with 23 classes; only sizes count."""
    clip = clip_spec("ViT-B-16-quickgelu")
    with torch.device("meta"):
        visual, text = vision_transformer(clip.visual), text_transformer(clip.text, clip.visual.output_dim)
    images = VisualTower(visual.to_empty(device="cpu"), Origin("-"))
    texts = TextTower(text.to_empty(device="cpu"), Origin("-"))
    modalities = (Modality("image", IMAGE, 3), Modality("text", TEXT, 77))
    spec = NetworkSpec("-", method, modalities, tuple(str(k) for k in range(23)), 14, options)
    return Network(spec, {"visual": images, "text": texts})


def test_parameters_on_vit_b_16_are_those_of_the_sources() -> None:
    """The paper's 3.6M, and DCP's 5.82 M without head (its dynamic queries are trained by ``dcp`` alone)."""
    options = {"rank": 16, "experts_dynamic": 4, "top_k": 2, "expert_blocks": "last2", "train_end": True}
    assert count(vit_b_16("released", adapter_scale=0.2, **options))["trainable"] == 3_567_975
    head = 1024 * 23 + 23
    assert count(vit_b_16("dcp_released"))["trainable"] == 5_815_552 + head
    assert count(vit_b_16("dcp"))["trainable"] == 5_815_552 + head + 3 * 12 * (768 + 512)


def test_the_named_config_is_the_releases_image_text_network() -> None:
    from config import ex

    config = ex.named_configs["released_vision_language"]()
    known = {name: config[name] for name in METHODS["released"].options}
    assert count(vit_b_16(config["method"], **known))["trainable"] == 3_567_975
    assert config["activation"] == "gelu"
