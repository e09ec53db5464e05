"""A tower of timm's gives what timm's own model gives; names, weights and grids that do not fit are refused."""

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mamol.backbones.timm import weights
from mamol.backbones.timm.models import assembled, oddities
from mamol.backbones.timm.tower import TimmTower
from mamol.core.backbone import Backbone, BackboneRequest, Origin, family_of
from mamol.core.errors import MamolError
from mamol.core.method import Method, Pass
from mamol.core.streams import Streams
from mamol.network.encoder import encode
from tests.timms import IMAGES, NAMES, PATCH, model_of, seen_by, tower

SMALL, NO_CLASS = "test_vit", "test_vit3"  # timm's own for tests, of 6 blocks and of 9


def of_one(samples: int) -> Streams:
    """Streams of samples of one modality."""
    return Streams(torch.ones(samples, 1), torch.arange(samples), torch.zeros(samples).long())


def encoded(backbone: Backbone, tokens: Tensor, reads: str = "class", shortcut: bool = True) -> Tensor:
    """The features of the bare tower."""
    plain: Method[Pass] = Method()
    return encode(backbone, tokens, plain, of_one(len(tokens)), reads=reads, shortcut=shortcut).features


def load(name: str, source: Path | str = "random", grid: int = 3, seed: int = 0, activation: str = "auto") -> Backbone:
    given = str(source)
    return family_of(f"timm:{name}", given).visual(BackboneRequest(f"timm:{name}", given, activation, seed), grid)


def refused(match: str, *given: object) -> None:
    with pytest.raises(MamolError, match=match) as caught:
        load(*given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# --- what is computed ---


@pytest.mark.parametrize("grid", [4, 7])
@pytest.mark.parametrize("kind", NAMES)
@torch.no_grad()
def test_features_are_those_of_timm(kind: str, grid: int) -> None:
    """Of images, with the model's own number of patches and with another; windows go the same way from ``begin`` on."""
    reference, model = model_of(kind), model_of(kind)
    model.reset_classifier(0, "")
    for each in (reference, model):
        each.set_input_size((grid * PATCH, grid * PATCH))
    made = assembled(model, Origin("test"), IMAGES)
    images = torch.randn(3, 3, grid * PATCH, grid * PATCH, generator=torch.Generator().manual_seed(3))
    expected = reference.forward_features(seen_by(images))
    tokens = made.embed(images)
    assert tokens.shape == (3, grid**2, made.width)
    assert made.begin(tokens).shape == expected.shape == (3, made.front + grid**2, made.width)
    torch.testing.assert_close(encoded(made, tokens, "all"), expected[:, made.front :], atol=1e-5, rtol=1e-5)
    class_feature = expected[:, 0] if made.class_token else expected[:, made.front :].mean(1)
    for shortcut in (True, False):
        torch.testing.assert_close(encoded(made, tokens, shortcut=shortcut), class_feature, atol=1e-5, rtol=1e-5)


def test_what_stands_in_front() -> None:
    fronts = {kind: (made.front, made.class_token) for kind in NAMES for made in [tower(kind)]}
    assert fronts == {
        "supervised": (1, True),
        "clip": (1, True),
        "dinov2": (5, True),
        "swiglu": (1, True),
        "siglip": (0, False),
        "gap": (4, False),
        "dinov3": (5, True),
        "dinov3_swiglu": (5, True),
        "eva02": (1, True),
    }


@torch.no_grad()
def test_without_a_class_token_the_feature_is_that_of_timms_mean() -> None:
    """``forward_head`` of SigLIP's models with global average pooling, ``vit_*_siglip_gap_*``."""
    reference, made = model_of("siglip"), tower("siglip")
    reference.reset_classifier(0, "avg")
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    expected = reference.forward_head(reference.forward_features(seen_by(images)), pre_logits=True)
    torch.testing.assert_close(encoded(made, made.embed(images)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["dinov2", "dinov3", "eva02"])
@torch.no_grad()
def test_windows_of_a_sequence_have_the_same_positions(kind: str) -> None:
    """Two equal windows leave every block as equal tokens, and each token's place in its window matters."""
    made = tower(kind)
    window = torch.randn(2, 16, made.width, generator=torch.Generator().manual_seed(4))
    both = Streams(torch.ones(2, 2), torch.arange(2), count=16)
    plain: Method[Pass] = Method()
    first, second = encode(made, torch.cat([window, window], 1), plain, both, reads="all").features.chunk(2, 1)
    torch.testing.assert_close(first, second)
    turned = encoded(made, window.flip(1), "all").flip(1)
    assert not torch.allclose(turned, encoded(made, window, "all"), atol=1e-2)


@torch.no_grad()
def test_prompts_turn_with_no_position() -> None:
    """Tokens in front of all others leave the positions of the rest where they were."""
    block = tower("dinov3").blocks[0]
    x = torch.randn(2, 5 + 16, 32, generator=torch.Generator().manual_seed(5))
    longer = torch.cat([torch.zeros(2, 16, 32), x], 1)
    mask = torch.ones(2, 16 + 21, dtype=torch.bool)
    mask[:, :16] = False
    told = block.attend(longer, longer, mask=mask, prompts=16)[:, 16:]
    torch.testing.assert_close(told, block.attend(x, x), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(block.attend(longer, longer, mask=mask)[:, 16:], told, atol=1e-2)


# --- weights ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as timm's ``save_for_hf`` leaves it, classifier included."""
    path = tmp_path_factory.mktemp("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = timm.create_model(SMALL)
    save_file(model.state_dict(), path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"architecture": SMALL, "num_classes": 1000}))
    return path


def test_folder_and_file_give_the_same_tower(folder: Path) -> None:
    whole, file = load(SMALL, folder), load(SMALL, folder / "model.safetensors")
    assert whole.fingerprint == file.fingerprint == load(f"{SMALL}.r160_in1k", folder).fingerprint
    assert str(whole.origin) == f"timm's test_vit: {folder / 'model.safetensors'}"
    assert not whole.origin.random
    assert whole.fingerprint != load(SMALL, folder, grid=4).fingerprint, "its positions are of another grid"
    assert not any(weight.requires_grad for weight in whole.parameters())


@torch.no_grad()
def test_positions_of_a_file_are_resized_as_timm_does(folder: Path) -> None:
    reference = timm.create_model(SMALL, checkpoint_path=str(folder / "model.safetensors"))
    made = load(SMALL, folder, grid=3)
    assert isinstance(made, TimmTower)
    reference.set_input_size((48, 48))
    assert torch.equal(made.model.pos_embed, reference.pos_embed)


def test_random_weights_are_drawn_from_the_seed() -> None:
    """LayerScale is one in them: with timm's 1e-5, every block would be nearly nothing."""
    first, again, other = load(NO_CLASS), load(NO_CLASS), load(NO_CLASS, seed=1)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.origin.random
    assert isinstance(first, TimmTower)
    assert all((block.scale == 1).all() for block in first.blocks)  # type: ignore[attr-defined]


@pytest.fixture
def cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """huggingface_hub's cache with what timm publishes as ``test_vit.r160_in1k``: the file, under its sha256."""
    model = folder / "model.safetensors"
    repository = tmp_path / "models--timm--test_vit.r160_in1k"
    for part in ("blobs", "refs", "snapshots/abc"):
        (repository / part).mkdir(parents=True)
    blob = repository / "blobs" / sha256(model.read_bytes()).hexdigest()
    shutil.copy(model, blob)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc" / "model.safetensors").symlink_to(blob)
    monkeypatch.setattr(weights, "HF_HUB_CACHE", str(tmp_path))
    return blob


def test_published_weights_come_out_of_the_cache(cache: Path, folder: Path) -> None:
    assert load(SMALL, "openai").fingerprint == load(SMALL, folder).fingerprint
    refused(
        r"model.safetensors of https://huggingface.co/timm/test_vit3\.\w+ is not in .*`hf download",
        NO_CLASS,
        "openai",
    )
    cache.write_bytes(cache.read_bytes()[:-4] + b"\0\0\1\0")
    refused("its sha256 is not the one that the cache names it by", SMALL, "openai")


def test_weights_that_nobody_published_are_refused() -> None:
    name = "vit_base_patch16_plus_240"
    refused(f"clip_weights=openai: timm names no published model.safetensors of {name}; give a file", name, "openai")


# --- what is refused ---


def test_unknown_names_are_refused_with_those_near_them() -> None:
    refused(
        "backbone=timm:vit_base_patch14_dinov4: timm has no such model; near it are vit_base_patch14_dinov2, ",
        "vit_base_patch14_dinov4",
    )
    refused(r"timm:test_vit.mae: timm knows no such weights; allowed: test_vit\.r160_in1k", "test_vit.mae")
    with pytest.raises(MamolError, match=r"unknown; allowed: .*timm:<name>"):
        family_of("vit_base_patch14_dinov2")


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("test_resnet", "not a plain ViT .a ResNet.; plain are vit_base_patch14_dinov2"),
        ("test_vit4", "not a plain ViT .no LayerNorm behind the blocks."),
        ("eva02_tiny_patch14_224", "not a plain ViT .no LayerNorm behind the blocks."),
        ("vit_small_patch16_rope_mixed_224", "not a plain ViT .a RotaryEmbeddingMixed."),
        ("vit_small_patch16_18x2_224", "not a plain ViT .blocks of ParallelThingsBlock."),
        ("vit_tiny_r_s16_p8_224", "not a plain ViT .HybridEmbed."),
        ("swin_tiny_patch4_window7_224", "not a plain ViT .a SwinTransformer."),
    ],
)
def test_other_models_are_refused(name: str, match: str) -> None:
    refused(match, name)


def test_a_gate_behind_the_attention_is_refused() -> None:
    model = model_of("supervised")
    assert not oddities(model)
    model.blocks[0].attn.gate = torch.nn.Linear(4, 4)  # type: ignore[union-attr]
    assert oddities(model) == ["gated attention"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.pop("blocks.1.attn.qkv.bias"), r"1 parameters missing: blocks\.1\.attn\.qkv\.bias"),
        (lambda t: t.update({"blocks.9.norm1.bias": torch.ones(64)}), r"1 parameters unknown: blocks\.9\.norm1\.bias"),
        (lambda t: t.update({"norm.bias": torch.ones(7)}), r"'norm\.bias' has shape \(7,\), the model's \(64,\)"),
        (
            lambda t: t.update({"pos_embed": torch.ones(1, 12, 64)}),
            r"pos_embed of shape \(1, 12, 64\) cannot be resized to a grid of 3 x 3; expected \(1, 1 \+ g\*g, width\)",
        ),
        (lambda t: t["norm.bias"].fill_(float("nan")), r"'norm\.bias' .* holds NaN"),
    ],
)
def test_files_that_do_not_fit(
    tmp_path: Path, folder: Path, change: Callable[[dict[str, Tensor]], object], match: str
) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    refused(match, SMALL, tmp_path)


def test_folders_of_other_models(tmp_path: Path, folder: Path) -> None:
    refused("no such file or folder", SMALL, tmp_path / "none")
    refused("no model.safetensors in this folder; put timm's file there", SMALL, tmp_path)
    refused("config.json says architecture 'test_vit'; use backbone=timm:test_vit", "vit_tiny_patch16_224", folder)
    refused(
        r"not the weights of timm's vit_tiny_patch16_224 .*; choose the backbone",
        "vit_tiny_patch16_224",
        folder / "model.safetensors",
    )


def test_other_activations_texts_and_sides_are_refused() -> None:
    family = family_of("timm:test_vit")
    with pytest.raises(MamolError, match="activation=quickgelu: backbone=timm:test_vit has the one that timm gives"):
        load(SMALL, activation="quickgelu")
    with pytest.raises(MamolError, match="backbone=timm:test_vit has no text tower"):
        family.text(BackboneRequest("timm:test_vit", "random"))
    assert (family.image_grid("timm:test_vit", None), family.image_grid("timm:test_vit", 64)) == (10, 4)
    with pytest.raises(MamolError, match="image_size=65 must be a multiple of 16, the patch of timm:test_vit"):
        family.image_grid("timm:test_vit", 65)
