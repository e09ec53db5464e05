"""What was taken silently, or said in words that did not help, beside raw arrays."""

import json
from pathlib import Path

import numpy as np
import pytest

from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.data.areajson import find_area, inside
from mamol.data.areareading import read_area
from mamol.data.imagetext.raw import Problems, check_image
from mamol.data.missing import draw
from mamol.data.sceneinfo import SceneInfo
from mamol.data.tables import open_tables
from mamol.evaluation.predictions import read_predictions
from tests.geotiffs import write_raster
from tests.lines import run, tables

PIXELS = np.arange(256, dtype=np.float32).reshape(16, 16)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of two modalities."""
    root = tmp_path_factory.mktemp("scene")
    for name in ("hsi", "sar"):
        np.save(root / f"{name}.npy", PIXELS)
    np.save(root / "gt.npy", np.repeat([1, 2], 8)[None].repeat(16, 0))
    said = {"modalities": {name: {"file": f"{name}.npy"} for name in ("hsi", "sar")}, "labels": {"file": "gt.npy"}}
    (root / "scene.json").write_text(json.dumps(said))
    made = tables("--dataset", "scene", "--root", root, "--out", root / "out", "--patch-size", 4)
    assert not made.returncode, made.stderr
    return root / "out"


@pytest.mark.parametrize("kind", ["hsi+hsi", "hs+hsi"])
def test_a_modality_that_is_named_twice_in_a_missing_type(kind: str) -> None:
    with pytest.raises(MamolError, match=r"test_type: .*twice"):
        Settings.of({"test_type": kind})


def test_the_same_from_python() -> None:
    with pytest.raises(MamolError, match=r"missing type hsi\+hsi: a modality is named twice; .* hsi$"):
        draw(4, ("hsi", "sar"), ratio=0.5, kind="hsi+hsi", seed=0, fingerprint="")


def test_an_unknown_missing_type_names_the_options() -> None:
    with pytest.raises(MamolError, match=r"no modality infrared; allowed are .*; correct missing_type, test_type or"):
        draw(4, ("hsi", "sar"), ratio=0.5, kind="infrared", seed=0, fingerprint="")


@pytest.mark.parametrize(("key", "value"), [("std", 0.0), ("std", -1.0), ("mean", float("inf")), ("std", "x")])
def test_statistics_of_a_table_that_normalise_nothing(table: Path, key: str, value: object) -> None:
    content = json.loads(open_tables(table)["train"].info.to_json())
    content[key]["hsi"] = [value]
    with pytest.raises(MamolError, match=rf"train.arrow: its metadata is damaged \({key}\.hsi\[0\] is"):
        SceneInfo.from_json(json.dumps(content), Path("train.arrow"))


def test_options_of_a_file_that_names_one_twice(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"seed": 1, "seed": 2}')
    done = run("print_config", "with", tmp_path / "x.json")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "cannot be read (the key 'seed' is there twice)" in done.stderr


def test_predictions_that_are_damaged_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1" + bytes(40))
    with pytest.raises(MamolError, match=r"predictions.parquet: truncated or not a Parquet file") as said:
        read_predictions(tmp_path)
    assert len(str(said.value)) < 400
    assert "\\n" not in str(said.value)


def test_an_image_name_that_no_file_can_have(tmp_path: Path) -> None:
    problems = Problems(tmp_path)
    assert check_image(tmp_path, "x" * 5000, problems) is None
    with pytest.raises(MamolError, match=r"image names that cannot be looked up \(File name too long\): x{100};"):
        problems.refuse("mend them")


def test_names_of_files_are_printed_as_they_can_be() -> None:
    assert str(MamolError("a\ud800b\x07: two\n  lines\n")) == "a\\ud800b\\x07: two lines"


def test_scenes_of_an_area_may_share_a_file_of_the_area(tmp_path: Path) -> None:
    root = tmp_path / "valley"
    write_raster(root / "dem.tif", PIXELS)
    write_raster(root / "gt.tif", np.repeat([1, 2], 8)[None].repeat(16, 0).astype(np.uint8))
    said = {"modalities": {"dem": {"file": "../dem.tif"}}, "labels": {"file": "../gt.tif"}, "classes": ["a", "b"]}
    for name in ("north", "south"):
        (root / name).mkdir()
        (root / name / "scene.json").write_text(json.dumps(said))
    area = find_area(root)
    assert area is not None
    assert len(read_area(area).scenes) == 2
    assert inside(area, area.files[0]) == root
    said["modalities"] = {"dem": {"file": "../../dem.tif"}}
    (root / "south" / "scene.json").write_text(json.dumps(said))
    with pytest.raises(MamolError, match=rf"\.\./\.\./dem.tif leads out of {root}"):
        read_area(area)
