"""The comparison of both heads: what a way is, the score of a map, the page of what is there."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.dense import main, oa_of_map, page, way_of
from mamol.core.errors import MamolError


def test_a_way_is_a_head_and_a_side() -> None:
    """Anything else is refused in one line."""
    assert way_of("pixels16") == ("pixels", 16, ())
    assert way_of("pixels8+3+7") == ("pixels", 8, (3, 7))
    for wrong in ("pixels", "16", "token8"):
        with pytest.raises(MamolError, match=f"ways: '{wrong}' is none; expected a head and the side"):
            way_of(wrong)


def test_a_map_is_scored_at_the_test_pixels_alone() -> None:
    """Codes count from 1, labels from 0."""
    drawn: Any = SimpleNamespace(classes=np.array([[1, 2], [3, 3]]))
    test: Any = SimpleNamespace(row=np.array([0, 0, 1, 1]), col=np.array([0, 1, 0, 1]), label=np.array([0, 1, 2, 1]))
    assert oa_of_map(drawn, test) == 75


def test_the_page_has_the_windows_and_means_over_seeds(tmp_path: Path) -> None:
    """418 windows at a stride of 16 on 166 x 600 pixels, against one for each pixel."""
    oa = {"hsi+lidar": 90.0}
    token = {"way": "class8", "OA": oa, "training_seconds": 10.0, "seconds_per_pixel": 0.01}
    for seed, score in enumerate((94.0, 96.0)):
        dense = {"way": "pixels16", "OA": {"hsi+lidar": score}, "training_seconds": 40.0}
        dense["maps"] = {"16 hsi+lidar": {"seconds": 24.0, "OA": score}}
        for way in (token, dense):
            (tmp_path / f"{way['way']}_seed{seed}.json").write_text(json.dumps(way))
    rows = [[cell.strip() for cell in line.split("|")] for line in page(tmp_path, 166, 600).splitlines()]
    assert ["", "pixels16", "2", "95.0 ± 1.4", "40 ± 0", ""] in rows
    assert ["", "class8", "all", "99600", "996 ± 0", "as above", ""] in rows
    assert ["", "pixels16, stride 16", "hsi+lidar", "418", "24 ± 0", "95.0 ± 1.4", ""] in rows


def test_one_modality_is_told(scene_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, before anything is written."""
    given = [
        "--root",
        str(scene_folder),
        "--dataset",
        "synthetic",
        "--modalities",
        "hsi",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(given) == 1
    assert capsys.readouterr().err == "modalities=hsi: expected two of them\n"
    assert not (tmp_path / "out").exists()
