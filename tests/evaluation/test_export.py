"""``export`` of a run: the file says what the run says, and draws the run's map without this program."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import rasterio

import mamol
from mamol.api.made import Made
from mamol.backbones import architectures
from mamol.core.errors import MamolError
from mamol.core.seal import read_sealed_json
from mamol.evaluation import export_run, onnxfile
from mamol.evaluation.onnxfile import OnnxFile
from tests.lines import trained
from tests.pages import ROOT
from tests.placed import FILES, write_placed

QUIET = {"num_gpus": 0, "progress_bar": False, "threads": 1, "precision": 32}
PATTERNS = ["hsi+lidar+sar", "hsi+lidar", "hsi+sar", "lidar+sar", "hsi", "lidar", "sar"]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Constants are left to onnxruntime: it saves half of the time; and towers have two blocks."""
    sizes = replace(architectures.TINY, visual=replace(architectures.TINY.visual, layers=2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxfile, "OPTIMISE", False)
        patch.setattr(architectures, "TINY", sizes)
        yield


@pytest.fixture(scope="module")
def source(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated run of a tower of two blocks, one with experts: capturing a graph takes time for each block."""
    folder = trained(
        tmp_path_factory.mktemp("source"), f"data_root={table_folder}", "expert_blocks=last1", "max_epoch=2"
    )
    mamol.calibrate(folder, coverage=None, **QUIET)
    return folder


@pytest.fixture(scope="module")
def made(source: Path) -> Made:
    """A file for all patterns."""
    return mamol.export(source, **QUIET)


@pytest.fixture(scope="module")
def dense(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A file for HSI and SAR of a run that classifies all pixels; a tower takes a minute, and is in ``test_dense``."""
    given = (f"data_root={table_folder}", "network=unet", "max_epoch=5", "learning_rate=1e-2")
    return mamol.export(trained(tmp_path_factory.mktemp("dense"), *given), "sar+hsi", **QUIET)


@pytest.fixture(scope="module")
def rasters(scene_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Modality to a GeoTIFF of 7 × 9 pixels; SAR has a hole."""
    folder = tmp_path_factory.mktemp("placed") / "corner"
    write_placed(scene_folder, folder, "corner", slice(0, 7), slice(0, 9))
    found = {}
    for name in FILES:
        with rasterio.open(folder / f"{name}.tif") as file:
            values, profile = file.read().astype("float32"), file.profile
        if name == "sar":
            values[:, 2:5, 3:] = np.nan
        found[name] = folder / f"{name}_float.tif"
        with rasterio.open(found[name], "w", **(profile | {"dtype": "float32"})) as file:
            file.write(values)
    return found


def test_the_file_says_what_the_run_says(made: Made, source: Path) -> None:
    told = read_sealed_json(made.folder / "report.json", "")
    assert made.folder == source / "export"
    assert list(told["differences"]) == [name for each in PATTERNS for name in (each, f"{each} with holes")]
    assert all(difference <= 1e-4 for difference in told["differences"].values())
    assert told["bytes"] == (made.folder / "model.onnx").stat().st_size
    assert {pattern: set(own) for pattern, own in told["milliseconds"].items()} == {
        "hsi+lidar+sar": {"onnxruntime", "PyTorch"},
        "sar": {"onnxruntime", "PyTorch"},
    }
    file, trained_run, rng = OnnxFile(made.folder / "model.onnx"), mamol.load(source, **QUIET), np.random.default_rng(0)
    for samples in (1, 5):
        shapes = {name: (samples, bands, 4, 4) for name, bands in trained_run.modalities.items()}
        windows = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
        windows["hsi"][0, :, 0, 1:] = np.nan
        available = np.array([[True, False, True]] * samples)
        logits = file.logits({**windows, "available": available})
        found = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        wanted = trained_run.predict({"hsi": windows["hsi"], "sar": windows["sar"]})
        assert found == pytest.approx(wanted, abs=1e-5)
        assert trained_run.network.calibration.temperatures(available).max() != 1, "as it is calibrated"


def test_the_file_says_what_it_is(made: Made, source: Path) -> None:
    file, trained_run = OnnxFile(made.folder / "model.onnx"), mamol.load(source, **QUIET)
    told = {name.removeprefix("mamol."): text for name, text in file.metadata.items()}
    assert json.loads(told["classes"]) == trained_run.classes
    assert json.loads(told["bands"]) == trained_run.modalities
    assert [json.loads(told[name]) for name in ("window", "dense", "min_valid")] == [4, False, 0.5]
    assert told["backbone_fingerprint"] == trained_run.network.fingerprint
    assert told["checkpoint"] == read_sealed_json(made.folder / "report.json", "")["from"]["sha256"]
    assert told["calibration"] == trained_run.network.calibration.fingerprint
    assert told["remark"] == "random frozen weights: says nothing about the backbone"
    assert "MIT" in told["licence"]
    card = (made.folder / "README.md").read_text("utf-8")
    assert "(synthetic scene, random frozen weights)" in card.splitlines()[5]
    assert "- Input `available` bool (N, 3), in the order hsi, lidar, sar" in card
    assert "of the pixel in row and column 2, counted from 0" in card
    assert (made.folder / "report.md").read_text("utf-8").strip() == str(made)


def test_a_file_for_one_pattern_takes_its_windows_alone(dense: Made) -> None:
    file = OnnxFile(dense.folder / "model.onnx")
    assert file.inputs == ["hsi", "sar"]
    assert json.loads(file.metadata["mamol.bands"]).keys() == {"hsi", "sar"}
    told = read_sealed_json(dense.folder / "report.json", "")
    assert (told["present"], list(told["differences"])) == ("hsi+sar", ["hsi+sar", "hsi+sar with holes"])
    assert "- Output `logits` float32 (N, 4, 4, 6): of every pixel" in (dense.folder / "README.md").read_text("utf-8")


@pytest.mark.parametrize("kind", ["made", "dense"])
def test_the_example_draws_the_map_of_predict(
    kind: str,
    request: pytest.FixtureRequest,
    rasters: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exported: Made = request.getfixturevalue(kind)
    names = ["hsi", "sar"] if kind == "dense" else list(rasters)
    arrays = {name: rasterio.open(rasters[name]).read().transpose(1, 2, 0) for name in names}
    given = [f"{name}={rasters[name]}" for name in names]
    example = ROOT / "examples" / ("dense_map_with_onnx.py" if kind == "dense" else "map_with_onnx.py")
    monkeypatch.setattr(
        sys, "argv", [example.name, str(exported.folder / "model.onnx"), str(tmp_path / "map.tif"), *given]
    )
    run_path(str(example))
    with rasterio.open(tmp_path / "map.tif") as file:
        drawn, place = file.read(1), file.profile
    wanted: Any = mamol.load(exported.folder.parent, **QUIET).map(arrays).classes
    assert np.array_equal(drawn, wanted)
    assert len(np.unique(drawn)) > 1
    assert (place["crs"].to_epsg(), place["transform"][2]) == (32632, 500000.0)


def test_one_that_differs_is_refused_and_nothing_is_written(
    source: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_run, "write_onnx", lambda path, *_: shutil.copy(made.folder / "model.onnx", path))
    before = sorted(source.rglob("*"))
    monkeypatch.setattr(export_run, "TOLERANCE", 1e-12)
    with pytest.raises(
        MamolError, match=r"export: under hsi\+lidar\+sar the file's logits differ by \d\.\de-\d\d from t"
    ):
        mamol.export(source, **QUIET)
    assert sorted(source.rglob("*")) == before
    monkeypatch.undo()


def test_a_network_of_two_branches_is_refused(table_folder: Path, tmp_path: Path) -> None:
    done = trained(tmp_path, f"data_root={table_folder}", "network=dis2", "max_epoch=1", "limit_batches=1")
    with pytest.raises(MamolError) as refused:
        mamol.export(done, **QUIET)
    assert str(refused.value) == (
        "network=dis2 sends complete and incomplete samples of a batch through different branches, which is no "
        "graph for all patterns; export takes network=clip, unet and perceiver"
    )


def test_without_its_packages_it_says_which(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        MamolError, match=r"export: onnxruntime is not installed; .* come with: pip install mamol\[expo"
    ):
        mamol.export(source, **QUIET)
