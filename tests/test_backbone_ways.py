"""The comparison of frozen weights: what a word means, one real comparison in a few steps, the page of results."""

import json
from pathlib import Path

import pytest

from benchmarks import backbones
from benchmarks.backbones import backbone_of, main, page
from mamol.core.errors import MamolError


def test_a_word_is_random_or_a_name_and_a_folder() -> None:
    """``{seed}`` in it is the seed; anything else is refused in one line."""
    assert backbone_of("random", 2) == ("random", "tiny")
    assert backbone_of("own=build/own_seed{seed}/backbone", 2) == ("own", "build/own_seed2/backbone")
    for wrong in ("own", "=folder", "own="):
        with pytest.raises(MamolError, match=f"backbones: '{wrong}' is none; expected random, or name=folder"):
            backbone_of(wrong, 0)


def test_results_are_made_once(
    scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And say what they are of; the page has a row for each."""
    for name, value in (("STEPS", 1), ("TEST", 4), ("METHODS", ("linear_probe",)), ("SIDE", 4)):
        monkeypatch.setattr(backbones, name, value)
    given = ["--root", str(scene_folder), "--dataset", "synthetic", "--out", str(tmp_path), "--seeds", "1"]
    assert main([*given, "--labels", "3"]) == 0
    made = tmp_path / "synthetic" / "3_linear_probe_random_seed0.json"
    result = json.loads(made.read_text())
    assert (result["labels"], result["method"], result["backbone"]) == (3, "linear_probe", "random")
    assert set(result["OA"]) == {"complete", "0.7 both"}
    assert not result["transductive"]
    made.write_text(json.dumps({**result, "OA": {"complete": 12.5, "0.7 both": 50.0}}))
    capsys.readouterr()
    assert main([*given, "--labels", "3"]) == 0
    assert "| 3 | linear_probe | random | 1 | 12.5 | 50.0 |" in " ".join(capsys.readouterr().out.split())


def test_the_page_has_means_over_seeds_and_the_mark(tmp_path: Path) -> None:
    """``transductive`` stands where the weights saw the windows of the test."""
    for seed, score in enumerate((60.0, 64.0)):
        one = {"labels": 10, "method": "mamol", "backbone": "own", "transductive": True, "OA": {"complete": score}}
        (tmp_path / f"{seed}.json").write_text(json.dumps(one))
    assert "| 10 | mamol | own (transductive) | 2 | 62.0 ± 2.8 |" in " ".join(page(tmp_path).split())
