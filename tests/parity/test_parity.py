"""The parity command: agrees with the released code's numbers, notices others, refuses what is no golden file."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mamol.core.errors import MamolError
from mamol.parity.__main__ import main
from mamol.parity.compare import differences, report, within
from tests.released import Sizes, golden_tensors, write_golden
from tests.shared import golden_file

SIZES = Sizes()


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return golden_tensors(SIZES)


def test_the_release_computed_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(golden_file("released_remote"))]) == 0
    out = capsys.readouterr().out
    assert "hsi.block3.adapter_out" in out
    assert "all 16 stages agree within 1e-05" in out


@pytest.mark.parametrize(
    "sizes",
    [
        SIZES,
        replace(SIZES, num_dyn=4, topk=2, rank=3, num_stat=4, router_dim=5),
        replace(SIZES, width=24, heads=3, layers=2, blocks=(0,), grid=3, hidden=2, bands=(2, 5), classes=2),
    ],
)
def test_any_sizes_agree(sizes: Sizes, tmp_path: Path) -> None:
    found = differences(write_golden(tmp_path / "golden.safetensors", golden_tensors(sizes, seed=3), sizes.metadata()))
    assert len(found) == 6 * len(sizes.blocks) + 4
    assert all(map(within, found.values())), report(found)


@pytest.mark.parametrize("stage", ["logits", "fused_features", "lidar_features", "hsi.block1.adapter_out"])
@pytest.mark.parametrize("change", [2e-5, float("nan")])
def test_other_numbers_are_noticed(
    stage: str, change: float, tensors: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tampered = tensors[f"expected.{stage}"].clone()
    tampered.view(-1)[-1] += change
    path = write_golden(tmp_path / "g.safetensors", tensors | {f"expected.{stage}": tampered}, SIZES.metadata())
    assert main([str(path)]) == 1
    out = capsys.readouterr().out
    assert "1 of 16 stages differ by more than 1e-05" in out
    assert next(line for line in out.splitlines() if line.startswith(stage)).endswith("<--")


def test_other_weights_are_noticed(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    name = "weights.visual.transformer.resblocks.2.mamol.B_stat.0"
    path = write_golden(tmp_path / "g.safetensors", tensors | {name: tensors[name] * 1.01}, SIZES.metadata())
    found = differences(path)
    assert within(found["hsi.block1.adapter_out"])
    assert not within(found["hsi.block2.adapter_out"])


@pytest.mark.parametrize(
    ("drop", "sizes", "message"),
    [
        ("expected.logits", {}, r"expected\.logits is missing"),
        ("weights.visual.proj", {}, "holds another tower"),
        ("weights.visual.missing_proj.bias", {}, r"do not make the released network: pattern_embedding\.bias"),
        ("input.HS", {}, "its tensors and sizes make no network"),
        ("", {"width": "many"}, "its tensors and sizes make no network"),
        ("", {"heads": "3"}, "its tensors and sizes make no network"),
        ("", {"topk": "9"}, "its tensors and sizes make no network"),
        ("", {"num_stat": "2"}, "its tensors and sizes make no network"),
        ("", {"adapter_blocks": "7"}, "the tower has the blocks 0 to 2"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    drop: str, sizes: dict[str, str], message: str, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    kept = {name: value for name, value in tensors.items() if name != drop}
    path = write_golden(tmp_path / "g.safetensors", kept, SIZES.metadata() | sizes)
    with pytest.raises(MamolError, match=message) as caught:
        differences(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_unknown_stages_and_shapes_are_refused(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = write_golden(tmp_path / "a.safetensors", tensors | {"expected.extra": torch.ones(1)}, SIZES.metadata())
    with pytest.raises(MamolError, match=r"expected\.extra is unknown"):
        differences(path)
    short = tensors | {"expected.logits": tensors["expected.logits"][:, :1]}
    with pytest.raises(MamolError, match=r"expected\.logits has shape \(6, 1\), the network .* gives \(6, 4\)"):
        differences(write_golden(tmp_path / "b.safetensors", short, SIZES.metadata()))


def test_other_files_are_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"no")
    foreign = write_golden(tmp_path / "foreign.safetensors", {"a": torch.ones(1)}, {"colour": "blue"})
    for path, message in (
        (junk, "cannot be read as safetensors"),
        (tmp_path / "none.safetensors", "cannot be read as safetensors"),
        (foreign, "is of no known kind: its metadata has colour; released_remote needs adapter_blocks, heads"),
    ):
        assert main([str(path)]) == 1
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert message in err
        assert err.count("\n") == 1
