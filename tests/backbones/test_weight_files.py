"""Damaged, changed and malicious weight files are refused; no code of a file is run."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import nn

from mamol.backbones.architectures import ClipSpec, TextSpec, TowerSpec
from mamol.backbones.openclip import build_clip
from mamol.backbones.weights import load_clip_weights
from mamol.core.errors import MamolError
from mamol.core.fingerprint import fingerprint

TOY = ClipSpec(
    TowerSpec(width=4, layers=1, heads=1, patch_size=2, grid=2, output_dim=4, mlp_ratio=1.0, quick_gelu=True),
    TextSpec(width=4, layers=1, heads=1, context_length=4, vocab_size=5, quick_gelu=True),
)


def toy_clip() -> CLIP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return build_clip(TOY).eval()


def refuse(source: Path, match: str) -> None:
    with pytest.raises(MamolError, match=match) as caught:
        load_clip_weights(str(source), TOY)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [[1, 2], {"weights": 3}, {"state_dict": None}])
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pt")
    refuse(tmp_path / "w.pt", "holds no state dict")


def test_one_changed_byte_among_the_numbers(tmp_path: Path) -> None:
    torch.save(toy_clip().state_dict(), tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[content.index(toy_clip().visual.proj.detach().numpy().tobytes())] ^= 1
    (tmp_path / "w.pt").write_bytes(content)
    torch.load(tmp_path / "w.pt", weights_only=True)  # torch itself does not notice
    refuse(tmp_path / "w.pt", "checksum of 'w/data/.*' is wrong.*get the file again")


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_that_run_code_are_refused_unread(tmp_path: Path, zipped: bool) -> None:
    target = tmp_path / "executed"
    content = {"visual.proj": Malicious(target)}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    refuse(tmp_path / "w.pt", "arbitrary unpickling .*mkdir.*safetensors" if zipped else "weights-only loading failed")
    assert not target.exists()


class WritesOnLoad(nn.Module):
    """TorchScript whose mere ``torch.jit.load`` writes a file into the current folder."""

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        torch.save(state[0], "written-by-archive")
        self.training = state[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_archives_are_read_but_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.jit.script(WritesOnLoad()).save("evil.pt")
    refuse(tmp_path / "evil.pt", "no TorchScript archive of a module")
    assert not Path("written-by-archive").exists()
    torch.jit.load("evil.pt")
    assert Path("written-by-archive").exists()  # the danger is real


@pytest.fixture(scope="module", params=["pt", "legacy", "safetensors", "torchscript"])
def toy_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = toy_clip()
    path = tmp_path_factory.mktemp("toy") / f"toy.{request.param}"
    if request.param == "safetensors":
        save_file(model.state_dict(), path)
    elif request.param == "torchscript":
        torch.jit.script(model).save(path)
    else:
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=request.param == "pt")
    return path


FUZZ = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@FUZZ
@given(share=st.floats(0, 0.999))
def test_truncated_files_are_refused(toy_file: Path, share: float) -> None:
    whole = toy_file.read_bytes()
    path = toy_file.with_name(f"short{toy_file.suffix}")
    path.write_bytes(whole[: int(share * len(whole))])
    refuse(path, r"not a readable weight file of \d+ bytes .*get the file again")


@FUZZ
@given(share=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_tampered_files_never_give_other_weights(toy_file: Path, share: float, mask: int) -> None:
    content = bytearray(toy_file.read_bytes())
    covered = len(content)
    if toy_file.suffix in (".safetensors", ".legacy"):  # formats without checksum: their headers only
        covered = 8 + int.from_bytes(content[:8], "little") if toy_file.suffix == ".safetensors" else 20
    content[int(share * covered)] ^= mask
    path = toy_file.with_name(f"changed{toy_file.suffix}")
    path.write_bytes(content)
    try:
        weights = load_clip_weights(str(path), TOY)
    except MamolError:
        return
    assert fingerprint(weights.state) == fingerprint(load_clip_weights(str(toy_file), TOY).state)
