"""Hugging Face folders give the embeddings that transformers computes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mamol.backbones.architectures import ClipSpec, TextSpec, TowerSpec
from mamol.backbones.openclip import build_clip
from mamol.backbones.weights import load_clip_weights
from mamol.core.errors import MamolError

TEXT_END = 59


def spec(quick_gelu: bool = True) -> ClipSpec:
    return ClipSpec(
        TowerSpec(128, layers=2, heads=2, patch_size=8, grid=4, output_dim=32, mlp_ratio=4.0, quick_gelu=quick_gelu),
        TextSpec(64, layers=2, heads=1, context_length=10, vocab_size=TEXT_END + 1, quick_gelu=quick_gelu),
    )


def images() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def texts() -> torch.Tensor:
    text = torch.randint(1, TEXT_END, (3, 10), generator=torch.Generator().manual_seed(4))
    text[:, -2] = TEXT_END
    return text


def hugging_face_model(kind: str = "CLIPModel", activation: str = "quick_gelu") -> Any:
    towers = {"hidden_act": activation, "num_hidden_layers": 2, "projection_dim": 32}
    vision = towers | {"hidden_size": 128, "num_attention_heads": 2, "intermediate_size": 512}
    vision |= {"image_size": 32, "patch_size": 8}
    text = towers | {"hidden_size": 64, "num_attention_heads": 1, "intermediate_size": 256, "vocab_size": TEXT_END + 1}
    text |= {"max_position_embeddings": 10, "eos_token_id": TEXT_END, "bos_token_id": 0}
    configs = {
        "CLIPModel": transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=32),
        "CLIPVisionModelWithProjection": transformers.CLIPVisionConfig(**vision),
    }
    model = getattr(transformers, kind)(configs[kind]).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + 0.1)
    return model


@pytest.mark.parametrize(
    ("activation", "file"),
    [("quick_gelu", "model.safetensors"), ("gelu", "model.safetensors"), ("quick_gelu", "pytorch_model.bin")],
)
@torch.no_grad()
def test_hugging_face_folder(tmp_path: Path, activation: str, file: str) -> None:
    reference = hugging_face_model(activation=activation)
    reference.save_pretrained(tmp_path, safe_serialization=file.endswith("safetensors"))
    weights = load_clip_weights(str(tmp_path), spec())
    assert weights.quick_gelu is (activation == "quick_gelu")
    assert weights.sha256 == hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
    image, text = images(), texts()
    model = build_clip(spec(weights.quick_gelu)).eval()
    assert model.load_state_dict(weights.state, strict=False) == (["logit_scale"], [])
    expected = reference(pixel_values=image, input_ids=text)
    torch.testing.assert_close(model.encode_image(image, normalize=True), expected.image_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.encode_text(text, normalize=True), expected.text_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(model.encode_image(image), reference.get_image_features(image), atol=1e-5, rtol=0)


@torch.no_grad()
def test_hugging_face_visual_tower_alone(tmp_path: Path) -> None:
    reference = hugging_face_model("CLIPVisionModelWithProjection")
    reference.save_pretrained(tmp_path)
    weights = load_clip_weights(str(tmp_path), spec())
    visual = build_clip(spec()).visual.eval()
    visual.load_state_dict({name.removeprefix("visual."): value for name, value in weights.state.items()})
    torch.testing.assert_close(visual(images()), reference(images()).image_embeds, atol=1e-5, rtol=0)


def refuse(source: Path, match: str) -> None:
    with pytest.raises(MamolError, match=match) as caught:
        load_clip_weights(str(source), spec())
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def hugging_face_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf")
    hugging_face_model().save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.update(model_type="siglip"), "model_type 'siglip'; allowed: 'clip', 'clip_vision_model'"),
        (lambda c: c["vision_config"].update(num_attention_heads=4), "visual num_attention_heads is 4, .* has 2"),
        (lambda c: c["text_config"].pop("num_attention_heads"), "text num_attention_heads is 8, .* has 1"),
        (lambda c: c["text_config"].update(layer_norm_eps=1e-6), "text layer_norm_eps is 1e-06"),
        (lambda c: c["vision_config"].update(hidden_act="relu"), "visual hidden_act 'relu'; allowed: quick_gelu, gelu"),
        (lambda c: c["vision_config"].update(hidden_act="gelu"), "two towers have different hidden_act"),
    ],
)
def test_hugging_face_configs_of_other_models(
    tmp_path: Path, hugging_face_folder: Path, change: Callable[[dict[str, Any]], object], match: str
) -> None:
    config = json.loads((hugging_face_folder / "config.json").read_text())
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    refuse(tmp_path, match)


def test_hugging_face_folder_that_is_not_whole(tmp_path: Path, hugging_face_folder: Path) -> None:
    refuse(tmp_path, r"config.json cannot be read \(FileNotFoundError\); expected the folder of a Hugging Face")
    (tmp_path / "config.json").write_text("{")
    refuse(tmp_path, "config.json cannot be read")
    (tmp_path / "config.json").write_text((hugging_face_folder / "config.json").read_text())
    refuse(tmp_path, "no weight file; expected model.safetensors or pytorch_model.bin")
    (tmp_path / "model.safetensors").write_bytes((hugging_face_folder / "model.safetensors").read_bytes()[:5000])
    refuse(tmp_path, "model.safetensors: not a readable weight file of 5000 bytes")


def test_hugging_face_file_without_its_folder(hugging_face_folder: Path) -> None:
    refuse(hugging_face_folder / "model.safetensors", "or the folder of a Hugging Face CLIPModel")
