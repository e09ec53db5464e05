"""The comparison of calibrations: one real one in a few steps, kept once, and the page of results."""

import json
from pathlib import Path

import pytest

from benchmarks import trust
from benchmarks.trust import main


def test_results_are_made_once(
    scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every pattern under each way, on a split into blocks; the page has a line for each pattern."""
    for name, value in (("SIDE", 2), ("TRAIN", 4), ("VAL", 8), ("TEST", 4)):
        monkeypatch.setattr(trust, name, value)
    given = ["--root", str(scene_folder), "--dataset", "synthetic", "--out", str(tmp_path), "--seeds", "1"]
    given += ["--modalities", "lidar,sar", "--epochs", "1", "--protocols", "blocks", "--coverage", "0.8"]
    assert main(given) == 0
    made = tmp_path / "synthetic" / "blocks_seed0.json"
    result = json.loads(made.read_text())
    assert result["unit"] == "region"
    assert set(result["OA"]) == {"lidar+sar", "lidar", "sar"}
    assert len(result["rows"]) == 3 * 3
    assert result["units"]["lidar"] < next(row["n"] for row in result["rows"])
    other = {**result, "seed": 1, "rows": [{**row, "ECE": row["ECE"] + 2} for row in result["rows"]]}
    made.with_name("blocks_seed1.json").write_text(json.dumps(other))
    capsys.readouterr()
    assert main(given) == 0
    printed = " ".join(capsys.readouterr().out.split())
    first = result["rows"][0]
    assert f"| lidar+sar | {first['OA']:.1f} ± 0.0 | {first['ECE'] + 1:.1f} ± 1.4 |" in printed
    assert "blocks, 2 seeds, coverage 0.8; units of one region: " in printed
    assert main([*given, "--coverage", "1"]) == 1
    assert "coverage=1: expected a number above 0 and below 1" in capsys.readouterr().err
