"""Each source of CLIP weights, in a small file of that very format, gives the outputs of the library it comes from."""

import hashlib
import logging
import warnings
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import open_clip
import pytest
import torch
from open_clip.model import CLIP, convert_weights_to_fp16
from safetensors.torch import save_file
from torch import nn

from mamol.backbones.architectures import ClipSpec, TextSpec, TowerSpec
from mamol.backbones.openclip import build_clip
from mamol.backbones.weights import ClipWeights, load_clip_weights
from mamol.core.errors import MamolError
from mamol.core.fingerprint import fingerprint

# Heads of 64, as OpenAI's files take for granted.
SMALL = ClipSpec(
    TowerSpec(width=128, layers=2, heads=2, patch_size=8, grid=4, output_dim=32, mlp_ratio=4.0, quick_gelu=False),
    TextSpec(width=64, layers=2, heads=1, context_length=10, vocab_size=60, quick_gelu=False),
)
TEXT_END = SMALL.text.vocab_size - 1


def with_activation(spec: ClipSpec, quick_gelu: bool) -> ClipSpec:
    return ClipSpec(replace(spec.visual, quick_gelu=quick_gelu), replace(spec.text, quick_gelu=quick_gelu))


def random_clip(quick_gelu: bool = False) -> CLIP:
    """Every parameter drawn, norms and biases too, so that none can be swapped or left out unseen."""
    model = build_clip(with_activation(SMALL, quick_gelu)).eval()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator) + 0.1)
    return model


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    image = torch.randn(3, 3, 32, 32, generator=generator)
    text = torch.randint(1, TEXT_END, (3, SMALL.text.context_length), generator=generator)
    text[:, -2] = TEXT_END
    return image, text


def rebuilt(weights: ClipWeights) -> CLIP:
    model = build_clip(with_activation(SMALL, weights.quick_gelu)).eval()
    missing, unexpected = model.load_state_dict(weights.state, strict=False)
    assert missing == ["logit_scale"]
    assert not unexpected
    return model


@torch.no_grad()
def assert_same_outputs(weights: ClipWeights, reference: CLIP) -> None:
    image, text = inputs()
    model = rebuilt(weights)
    torch.testing.assert_close(model.encode_image(image), reference.encode_image(image), atol=1e-5, rtol=0)
    torch.testing.assert_close(model.encode_text(text), reference.encode_text(text), atol=1e-5, rtol=0)
    assert {value.dtype for value in weights.state.values()} == {torch.float32}


class OpenAIModule(nn.Module):
    """The module tree of OpenAI's archives: the towers and three sizes as tensors."""

    def __init__(self, clip: CLIP) -> None:
        super().__init__()
        self.visual, self.transformer = clip.visual, clip.transformer
        self.token_embedding, self.ln_final = clip.token_embedding, clip.ln_final
        self.positional_embedding, self.text_projection = clip.positional_embedding, clip.text_projection
        self.logit_scale = clip.logit_scale
        self.register_buffer("input_resolution", torch.tensor(32))
        self.register_buffer("context_length", torch.tensor(clip.context_length))
        self.register_buffer("vocab_size", torch.tensor(clip.vocab_size))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.visual(image)


def trace_archive(model: CLIP, image: torch.Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # shape checks become constants: as meant
        torch.jit.trace(OpenAIModule(model), image, check_trace=False).save(path)


def save_openai_archive(path: Path) -> Path:
    model = random_clip(quick_gelu=True)
    convert_weights_to_fp16(model)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.half()
    path.parent.mkdir(parents=True, exist_ok=True)
    trace_archive(model, inputs()[0].half(), path)
    return path


@pytest.fixture(scope="module")
def openai_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_openai_archive(tmp_path_factory.mktemp("openai") / "archive.pt")


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's archive that open_clip's register lists as OpenAI's for the backbone ``ViT-T-8``; an empty home."""
    draft = save_openai_archive(tmp_path / "ViT-T-8.pt")
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    path = tmp_path / "openaipublic" / digest / "ViT-T-8.pt"
    path.parent.mkdir(parents=True)
    draft.rename(path)
    config = {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "patch_size": 8},
        "text_cfg": {"context_length": 10, "vocab_size": 60, "width": 64, "heads": 1, "layers": 2},
    }
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-T-8", config)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-T-8", {"openai": {"url": path.as_uri()}})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return path


# --- one test per source ---


def test_openai_torchscript_archive(openai_archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = load_clip_weights(str(openai_archive), SMALL)
    assert_same_outputs(weights, open_clip.load_openai_model(str(openai_archive), precision="fp32", device="cpu"))
    assert weights.quick_gelu
    assert weights.sha256 == hashlib.sha256(openai_archive.read_bytes()).hexdigest()
    assert "none of OpenAI's published archives" in caplog.text
    script = torch.jit.load(openai_archive).state_dict()
    assert script["visual.proj"].dtype == torch.float16
    for name, value in weights.state.items():
        assert torch.equal(value, script[name].float())


def test_openai_download_is_verified_and_kept(published: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        weights = load_clip_weights("openai", "ViT-T-8")
    reference = open_clip.load_openai_model(str(published), precision="fp32", device="cpu")
    assert_same_outputs(weights, reference)
    assert weights.source.startswith("OpenAI: ")
    assert "published archives" not in caplog.text
    assert "trained with QuickGELU" in caplog.text  # the backbone's name says GELU
    published.unlink()
    assert fingerprint(load_clip_weights("openai", "ViT-T-8").state) == fingerprint(weights.state)


@pytest.mark.parametrize("suffix", ["bin", "pt", "safetensors", "legacy"])
@pytest.mark.parametrize("quick_gelu", [True, False])
def test_open_clip_state_dict(tmp_path: Path, suffix: str, quick_gelu: bool) -> None:
    model = random_clip(quick_gelu)
    path = tmp_path / f"RemoteCLIP.{suffix}"
    if suffix == "safetensors":
        save_file(model.state_dict(), path)
    else:
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=suffix != "legacy")
    weights = load_clip_weights(str(path), with_activation(SMALL, quick_gelu))
    assert weights.quick_gelu is quick_gelu
    assert_same_outputs(weights, model)


def test_training_checkpoint_of_open_clip(tmp_path: Path) -> None:
    model = random_clip()
    state = {f"module.{name}": value.bfloat16() for name, value in model.state_dict().items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {}}, tmp_path / "epoch_3.pt")
    assert_same_outputs(load_clip_weights(str(tmp_path / "epoch_3.pt"), SMALL), model.bfloat16().float())


def test_state_dict_taken_from_openai_keeps_quick_gelu(tmp_path: Path, openai_archive: Path) -> None:
    torch.save(torch.jit.load(openai_archive).state_dict(), tmp_path / "plain.pt")
    assert load_clip_weights(str(tmp_path / "plain.pt"), SMALL).quick_gelu


def test_visual_tower_alone(tmp_path: Path) -> None:
    model = random_clip()
    save_file({f"visual.{n}": v for n, v in model.visual.state_dict().items()}, tmp_path / "visual.safetensors")
    weights = load_clip_weights(str(tmp_path / "visual.safetensors"), SMALL)
    assert {name.partition(".")[0] for name in weights.state} == {"visual"}
    assert fingerprint(weights.state) == fingerprint({k: v for k, v in model.state_dict().items() if "visual" in k})


# --- refusals ---


def refuse(source: Path | str, match: str, backbone: str | ClipSpec = SMALL) -> None:
    with pytest.raises(MamolError, match=match) as caught:
        load_clip_weights(str(source), backbone)
    assert "\n" not in str(caught.value)


def test_openai_without_network_says_which_file_goes_where(published: Path) -> None:
    published.unlink()
    refuse("openai", r"file:.* cannot be had .*sha256 \w{64}.*~/.cache/clip/ViT-T-8.pt.*clip_weights=/path", "ViT-T-8")


def test_openai_download_with_another_checksum(published: Path) -> None:
    published.write_bytes(published.read_bytes()[:-100])
    refuse("openai", r"cannot be had \(.*checksum", "ViT-T-8")


def test_openai_without_route(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: str) -> None:
        raise URLError("no route")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    refuse("openai", "no route", "ViT-T-8")


@pytest.mark.parametrize("backbone", ["tiny", "ViT-H-14", SMALL])
def test_openai_published_nothing_for_this_backbone(backbone: str) -> None:
    refuse("openai", "OpenAI published nothing for backbone .*ViT-B-16", backbone)


def test_changed_copy_of_the_openai_file(published: Path) -> None:
    changed = published.with_name("changed")
    changed.mkdir()
    changed = changed / published.name
    trace_archive(random_clip(), inputs()[0], changed)
    refuse(changed, "sha256 .* is not the one of OpenAI's ViT-T-8.pt", "ViT-T-8")
    assert load_clip_weights(str(changed.rename(changed.with_name("mine.pt"))), "ViT-T-8")


def test_no_such_file(tmp_path: Path) -> None:
    refuse(tmp_path / "ViT-B-16.pt", "no such file or folder; give the path")


def test_other_architecture_names_both(tmp_path: Path) -> None:
    torch.save(random_clip().state_dict(), tmp_path / "small.pt")
    found, wanted = "found width 128, 2 layers, patch 8, grid 4, output 32", "width 768, 12 layers, patch 16, grid 14"
    refuse(tmp_path / "small.pt", f"another architecture: {found}; text width 64, .*has {wanted}", "ViT-B-16")
    wider = replace(SMALL, visual=replace(SMALL.visual, mlp_ratio=2.0))
    refuse(tmp_path / "small.pt", r"'visual.*c_fc.* has shape \(512.*, the backbone's \(256", wider)


def test_missing_and_unexpected_parameters(tmp_path: Path) -> None:
    state = random_clip().state_dict()
    state["visual.extra.weight"] = state.pop("visual.ln_post.bias")
    state.pop("text_projection")
    torch.save(state, tmp_path / "w.pt")
    refuse(
        tmp_path / "w.pt", r"2 parameters missing \(text_projection, visual.ln_post.bias\); 1 .* unexpected \(visual.e"
    )


def test_no_visual_tower(tmp_path: Path) -> None:
    torch.save({"visual.layer1.0.conv1.weight": torch.ones(2)}, tmp_path / "resnet.pt")
    refuse(tmp_path / "resnet.pt", "no CLIP ViT visual tower .* but visual.layer1.0.conv1.weight")


@pytest.mark.parametrize("bad", [torch.tensor(float("nan")), torch.tensor(float("inf")), torch.tensor(1)])
def test_values_that_are_no_weights(tmp_path: Path, bad: torch.Tensor) -> None:
    state = random_clip().state_dict()
    state["visual.proj"] = bad.expand(128, 32).clone()
    save_file(state, tmp_path / "w.safetensors")
    refuse(tmp_path / "w.safetensors", "'visual.proj' .* holds NaN or infinities or is not")
