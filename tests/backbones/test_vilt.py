"""A Hugging Face ``ViltModel`` folder gives the blocks' outputs that transformers computes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mamol.backbones.weights import load_clip_weights
from mamol.core.backbone import Backbone, BackboneRequest, family_of
from mamol.core.errors import MamolError
from mamol.core.method import Method, Pass
from mamol.core.streams import Streams
from mamol.network.encoder import encode
from mamol.network.network import Network
from tests.invariants import features_of
from tests.lines import QUICK, run
from tests.toys import GRID, shake, toy_batch, toy_network

SIDE = 3  # of the position embeddings in the folder, so that they are interpolated
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 96,
    "image_size": SIDE * 8,
    "patch_size": 8,
    "vocab_size": 20,
    "max_position_embeddings": 4,
}


def hugging_face_model(kind: str = "ViltModel") -> Any:
    model = getattr(transformers, kind)(transformers.ViltConfig(**SIZES)).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + 0.1)
    return model


@pytest.fixture(scope="module")
def reference() -> Any:
    return hugging_face_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, reference: Any) -> Path:
    path = tmp_path_factory.mktemp("vilt")
    reference.save_pretrained(path)
    return path


def load(folder: Path, grid: int = GRID, activation: str = "auto", name: str = "ViT-B-16-quickgelu") -> Backbone:
    return family_of(name, str(folder)).visual(BackboneRequest(name, str(folder), activation), grid)


def whole(samples: int, m: int = 1, token_mask: Tensor | None = None) -> Streams:
    """Sequences of samples that miss nothing."""
    return Streams(torch.ones(samples, m), torch.arange(samples), token_mask=token_mask)


class Recorder(Method[Pass]):
    """Keeps the tokens in front of every block."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Tensor] = []

    def before_block(self, layer: int, x: Tensor, state: Pass) -> Tensor:
        self.seen.append(x)
        return x


@torch.no_grad()
@pytest.mark.parametrize("grid", [SIDE, GRID])
def test_blocks_and_feature_are_those_of_transformers(folder: Path, reference: Any, grid: int) -> None:
    tower, recorder = load(folder, grid), Recorder()
    assert tower.modality_type is not None
    pixels = torch.randn(2, 3, grid * 8, grid * 8, generator=torch.Generator().manual_seed(3))
    patches = reference.embeddings.patch_embeddings(pixels).flatten(2).transpose(1, 2)
    feature = encode(tower, patches + tower.modality_type, recorder, whole(2), shortcut=False).features
    # The library draws the order of the patches, so it gets embeddings in the order of the grid.
    embedded, mask, (order, _) = reference.embeddings.visual_embed(pixels, torch.ones(2, grid * 8, grid * 8).long(), -1)
    place = 1 + order[..., 0] * grid + order[..., 1]
    expected = embedded.clone()
    expected.scatter_(1, place[..., None].expand(-1, -1, embedded.shape[-1]), embedded[:, 1:])
    expected = expected + reference.embeddings.token_type_embeddings.weight[1]
    assert mask.all()
    hidden = reference.encoder(expected, output_hidden_states=True).hidden_states
    for layer, x in enumerate(recorder.seen):
        torch.testing.assert_close(x, hidden[layer], atol=1e-5, rtol=1e-5)
    assert len(recorder.seen) == len(hidden) - 1 == SIZES["num_hidden_layers"]
    torch.testing.assert_close(feature, reference.layernorm(hidden[-1])[:, 0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_masked_sequences_are_those_of_transformers(folder: Path, reference: Any) -> None:
    tower, recorder = load(folder), Recorder()
    tokens = torch.randn(3, 2 * GRID**2, tower.width, generator=torch.Generator().manual_seed(3))
    there = torch.ones(3, 2 * GRID**2, dtype=torch.bool)
    there[1, GRID**2 :] = False
    feature = encode(tower, tokens, recorder, whole(3, 2, there), shortcut=False).features
    keys = nn.functional.pad(there, (1, 0), value=True)
    additive = torch.zeros(3, 1, 1, keys.shape[1]).masked_fill(~keys[:, None, None], float("-inf"))
    hidden = reference.encoder(recorder.seen[0], additive, output_hidden_states=True).hidden_states
    for x, expected in zip(recorder.seen, hidden, strict=False):
        torch.testing.assert_close(x[keys], expected[keys], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(feature, reference.layernorm(hidden[-1])[:, 0], atol=1e-5, rtol=1e-5)


def single_stream(tower: Backbone, method: str = "mamol", **options: Any) -> Network:
    spec = replace(toy_network(3, method, **options).spec, fusion="single_stream")
    return Network(spec, {"visual": tower})


@pytest.mark.parametrize(("method", "options"), [("mamol", {"expert_blocks": "last2"}), ("dcp", {"prompt_depth": 3})])
def test_a_network_around_it(folder: Path, method: str, options: dict[str, Any]) -> None:
    tower = load(folder)
    network = single_stream(tower, method, **options)
    assert tower.modality_type is not None
    for embedding in network.embedding:
        assert embedding.modality_type is not None
        assert torch.equal(embedding.modality_type, tower.modality_type)
    shake(network)
    batch = toy_batch(m=3)
    assert features_of(network, batch).shape == (6, 1, SIZES["hidden_size"])
    alone = network({name: value[1:2] for name, value in batch.items()})[0]
    torch.testing.assert_close(network(batch)[0][1:2], alone, atol=1e-5, rtol=1e-5)


def test_same_folder_same_fingerprint_and_the_activation_can_be_chosen(folder: Path) -> None:
    assert load(folder).fingerprint == load(folder).fingerprint
    assert load(folder).origin.source == f"ViLT: {folder / 'model.safetensors'}"
    assert not load(folder).origin.random
    assert load(folder, name="vilt").fingerprint == load(folder).fingerprint
    plain: Method[Pass] = Method()
    tokens = torch.randn(2, GRID**2, 32)
    made = [load(folder, activation=activation) for activation in ("auto", "gelu", "quickgelu")]
    features = [encode(tower, tokens, plain, whole(2)).features for tower in made]
    assert torch.equal(features[0], features[1])
    assert not torch.equal(features[0], features[2])


def test_a_model_with_a_head_has_the_same_tower(tmp_path: Path) -> None:
    model = hugging_face_model("ViltForQuestionAnswering")
    model.save_pretrained(tmp_path / "whole")
    model.vilt.save_pretrained(tmp_path / "inner", safe_serialization=False)
    assert load(tmp_path / "whole").fingerprint == load(tmp_path / "inner").fingerprint


def test_late_fusion_is_refused(folder: Path, table_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MamolError, match=r"fusion=late does not go with ViLT: .*; add fusion=single_stream"):
        toy_network(tower=load(folder))
    arguments = ["with", *QUICK, f"data_root={table_folder}", f"log_dir={tmp_path}", f"clip_weights={folder}"]
    result = run(*arguments, "limit_batches=2")
    assert result.returncode == 1
    assert "add fusion=single_stream" in result.stderr
    assert not list(tmp_path.iterdir())
    done = run(*arguments, "limit_batches=2", "max_epoch=1", "expert_blocks=last2", "fusion=single_stream")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("encoder.layer.1.attention.attention.key.bias"), r"not the complete .*layer\.1\..*key\.bias"),
        (lambda t: t.pop("embeddings.token_type_embeddings.weight"), "not the complete .*token_type"),
        (lambda t: t.update({"embeddings.token_type_embeddings.weight": torch.ones(1, 32)}), "not the complete"),
        (lambda t: t.update({"embeddings.position_embeddings": torch.ones(1, 7, 32)}), "not the complete"),
        (lambda t: t.update({"layernorm.bias": torch.ones(7)}), r"contradict each other .*ln_post\.bias"),
        (lambda t: t["layernorm.bias"].fill_(float("nan")), r"'layernorm\.bias' .* holds NaN"),
    ],
)
def test_files_that_are_not_whole(
    tmp_path: Path, folder: Path, change: Callable[[dict[str, Tensor]], object], match: str
) -> None:
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    refuse(tmp_path, match)


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu' .*allowed: 'gelu'"),
        ({"num_attention_heads": 5}, "num_attention_heads 5; .*a divisor of the width 32"),
        ({"num_attention_heads": 0}, "num_attention_heads 0"),
    ],
)
def test_settings_that_are_not_vilts(tmp_path: Path, folder: Path, setting: dict[str, Any], match: str) -> None:
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | setting))
    refuse(tmp_path, match)


def test_as_a_clip_it_is_refused(folder: Path) -> None:
    with pytest.raises(MamolError, match="model_type 'vilt'; allowed: 'clip', 'clip_vision_model'"):
        load_clip_weights(str(folder), "tiny")


def refuse(folder: Path, match: str) -> None:
    with pytest.raises(MamolError, match=match) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
