"""``calibrate`` and what uses it: classes stay, probabilities are tempered, nothing is silently wrong."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat

import make_arrow
import mamol
from mamol.core.calibration import AS_IS, ByPattern, tempered
from mamol.core.errors import MamolError
from mamol.core.seal import read_sealed_json, write_sealed_json
from mamol.core.settings import Settings
from mamol.evaluation.predict import predict
from mamol.evaluation.predictions import read_predictions
from mamol.evaluation.results import read_metrics
from mamol.evaluation.trained import Trained, open_trained
from mamol.evaluation.trust import page
from mamol.evaluation.trust.calibrate import Fitted, calibrate
from mamol.evaluation.trust.said import Said, said_of
from mamol.tasks.multi_label import MultiLabel
from mamol.training.calibrations import calibration_path, read_calibration
from tests.faults.test_types import check, write_json
from tests.lines import run, trained
from tests.placed import settings_of

MODALITIES = ("hsi", "lidar", "sar")
QUIET: dict[str, Any] = {"num_gpus": 0, "progress_bar": False}


def copied(run_folder: Path, folder: Path) -> Path:
    shutil.copytree(run_folder, folder)
    return folder


def file_of(run_folder: Path) -> Path:
    (found,) = (run_folder / "checkpoints").glob("*.calibration.json")
    return found


@pytest.fixture(scope="module")
def plain(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as it is."""
    return copied(finished_run, tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def calibrated(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same run with a calibration, made by the command on its own table, and what was printed."""
    folder = copied(finished_run, tmp_path_factory.mktemp("calibrated") / "run")
    result = run("calibrate", "with", f"load_path={folder}", "num_gpus=0", "progress_bar=False", "coverage=0.8")
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture(scope="module")
def tested(
    plain: Path, calibrated: tuple[Path, str], table_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """The folder of a test of either run."""
    out, done = tmp_path_factory.mktemp("tested"), {}

    def test(which: str, *more: str) -> Path:
        if (which, more) not in done:
            source = plain if which == "plain" else calibrated[0]
            given = (f"data_root={table_folder}", f"load_path={source}", "test_only=True", f"exp_name=t{len(done)}")
            done[which, more] = trained(out, *given, *more)
        return done[which, more]

    return test


def test_the_page_the_files_and_what_they_say(calibrated: tuple[Path, str]) -> None:
    folder, printed = calibrated
    written = folder / "calibration"
    assert printed.splitlines()[-1] == str(written)
    assert (written / "calibration.md").read_text().strip() in printed
    assert "Calibration of mamol on synthetic (synthetic scene, random frozen weights)" in printed
    for name in ("reliability.png", "risk_coverage.png"):
        assert (written / name).stat().st_size > 10_000
    content = read_calibration(file_of(folder))
    assert content["unit"] == "sample"
    assert list(content["patterns"])[:2] == ["hsi+lidar+sar", "hsi+lidar"]
    assert len(content["patterns"]) == 7
    assert {one["samples"] for one in content["patterns"].values()} == {24}
    assert content["common"]["samples"] == 7 * 24
    scores = pd.read_csv(written / "scores.csv")
    assert len(scores) == 2 * 7 * 3
    ways = {name: rows.reset_index(drop=True) for name, rows in scores.groupby("calibration")}
    for name in ("common", "pattern"):
        assert ways[name]["OA"].equals(ways["none"]["OA"])
    fitted = scores[scores["split"] == "val"].groupby("calibration")["NLL"].mean()
    assert fitted["pattern"] <= fitted["common"] + 1e-6 <= fitted["none"] + 2e-6
    held = scores[(scores["split"] == "val") & (scores["calibration"] == "pattern")]["covered"]
    assert (held >= 80).all()


def test_a_test_keeps_its_classes_and_tempers_its_probabilities(
    tested: Callable[..., Path], calibrated: tuple[Path, str]
) -> None:
    """Row by row with the temperature of the row's pattern; sets are those of the thresholds."""
    before, after = read_predictions(tested("plain")), read_predictions(tested("calibrated"))
    content = read_calibration(file_of(calibrated[0]))
    columns = [f"p_{name}" for name in content["classes"]]
    assert before["prediction"].equals(after["prediction"])
    assert read_metrics(tested("plain"))["test"] == read_metrics(tested("calibrated"))["test"]
    assert "set" not in before
    assert after.attrs["coverage"] == 0.8
    for (_, then), (_, now) in zip(before.iterrows(), after.iterrows(), strict=True):
        one = content["patterns"][then["pattern"]]
        expected = tempered(then[columns].to_numpy(np.float32)[None], one["temperature"])[0]
        assert now[columns].to_numpy(np.float32) == pytest.approx(expected, abs=1e-7)
        chosen = set(np.flatnonzero(now[columns].to_numpy(float) >= one["least"]).tolist()) | {now["prediction"]}
        assert set(now["set"]) == chosen
    used = read_metrics(tested("calibrated"))["calibration_sha256"]
    assert used == json.loads(file_of(calibrated[0]).read_text())["seal"].partition(":")[2]


def test_without_it_everything_is_as_before(tested: Callable[..., Path]) -> None:
    """With ``calibrated=False`` the predictions have the bits of those of a run without a calibration."""
    files = [(tested(*which) / "predictions.parquet").read_bytes() for which in (("plain",), OFF)]
    assert files[0] == files[1]
    assert "calibration_sha256" not in read_metrics(tested(*OFF))


OFF = ("calibrated", "calibrated=False")


def test_evaluate_uses_it_and_scores_the_same(plain: Path, calibrated: tuple[Path, str], table_folder: Path) -> None:
    grids = [
        mamol.load(folder, **QUIET).evaluate(table_folder, ratios=[0.5], types=["both"])
        for folder in (plain, calibrated[0])
    ]
    assert grids[0].equals(grids[1])
    given = {"load_path": str(calibrated[0]), "data_root": str(table_folder), **QUIET}
    assert isinstance(open_trained(Settings.of(given), "evaluate").network.calibration, ByPattern)
    off = open_trained(Settings.of({**given, "calibrated": False}), "evaluate")
    assert off.network.calibration is AS_IS


def test_the_library_says_of_windows_what_the_table_says(
    calibrated: tuple[Path, str], plain: Path, table_folder: Path
) -> None:
    """Under a pattern that is not complete, whatever the order in which modalities are given."""
    given = {"load_path": str(plain), "data_root": str(table_folder), **QUIET}
    table: Any = open_trained(Settings.of(given), "evaluate").table
    windows = {name: table.windows(name, np.arange(5)) for name in ("sar", "hsi")}
    before, after = (mamol.load(folder, **QUIET).predict(windows) for folder in (plain, calibrated[0]))
    temperature = read_calibration(file_of(calibrated[0]))["patterns"]["hsi+sar"]["temperature"]
    assert after == pytest.approx(tempered(before, temperature), abs=1e-6)
    assert not np.allclose(after, before, atol=1e-3)


def test_maps_keep_their_classes_and_say_the_sizes_of_sets(
    calibrated: tuple[Path, str], plain: Path, corner_folder: Path, no_pictures: None
) -> None:
    for folder in (plain, calibrated[0]):
        predict(settings_of(folder, corner_folder))
    before, after = (folder / "maps" / "synthetic_hsi+lidar+sar" for folder in (plain, calibrated[0]))
    assert np.array_equal(np.load(f"{before}.npy"), np.load(f"{after}.npy"))
    assert not np.allclose(np.load(f"{before}_confidence.npy"), np.load(f"{after}_confidence.npy"), atol=1e-3)
    assert not Path(f"{before}_set_size.npy").exists()
    sizes = np.load(f"{after}_set_size.npy")
    assert sizes.dtype == np.uint8
    assert 1 <= sizes.min() <= sizes.max() <= 6
    assert loadmat(f"{after}.mat")["set_size"].tolist() == sizes.tolist()


def test_unsure_pixels_stay_undecided(
    calibrated: tuple[Path, str], corner_folder: Path, no_pictures: None, caplog: pytest.LogCaptureFixture
) -> None:
    """All that are sure enough have their class; the share of the others is told by what saw them."""
    folder = calibrated[0]
    path = file_of(folder)
    whole = read_sealed_json(path, "")
    curve = {"confidence": [0.99, 0.4, 0.0], "share": [0.1, 0.6, 1.0], "risk": [0.0, 0.2, 0.5]}
    changed = {**whole, "patterns": {**whole["patterns"]}}
    changed["patterns"]["hsi+sar"] = {**whole["patterns"]["hsi+sar"], "curve": curve}
    own = copied(folder, folder.parent / "abstaining")
    write_sealed_json(file_of(own), changed)
    predict(settings_of(own, corner_folder, present="hsi+sar"))
    name = own / "maps" / "synthetic_hsi+sar"
    decided, confidence = np.load(f"{name}.npy"), np.load(f"{name}_confidence.npy")
    with caplog.at_level("INFO"):
        predict(settings_of(own, corner_folder, present="hsi+sar", abstain=0.3))
    found = np.load(f"{name}.npy")
    sure = confidence >= 0.4
    assert 0 < sure.sum() < sure.size
    assert np.array_equal(found, np.where(sure, decided, 255))
    shares = pd.read_csv(f"{name}_undecided.csv")
    assert shares.values.tolist() == [["hsi+sar", 80, (~sure).sum(), round(100 * (~sure).mean(), 2)]]
    assert f"left undecided: hsi+sar {100 * (~sure).mean():.1f} %" in caplog.text
    areas = pd.read_csv(f"{name}.csv").set_index("code")
    assert areas.loc[255, "pixels"] == (~sure).sum()
    assert areas["pixels"].sum() == 80


def test_rasters_of_sets_and_of_undecided_pixels(calibrated: tuple[Path, str], scene_folder: Path) -> None:
    """As arrays in memory have them; the picture has a colour for what is undecided."""
    rasters = {name: loadmat(scene_folder / f"{file}.mat") for name, file in zip(MODALITIES, FILES, strict=True)}
    arrays = {name: next(v for k, v in each.items() if k[0] != "_")[:8, :10] for name, each in rasters.items()}
    place = {"crs": "EPSG:32632", "transform": (10, 0, 5e5, 0, -10, 5.2e6)}
    drawn = mamol.load(calibrated[0], **QUIET).map(arrays, abstain=0.01, **place)
    assert drawn.undecided == 255
    written = drawn.save_all(calibrated[0] / "rasters", "map")
    import rasterio

    names = {path.name for path in written}
    assert {"map_set_size.tif", "map_undecided.csv", "map.png"} <= names
    with rasterio.open(calibrated[0] / "rasters" / "map_set_size.tif") as file:
        assert np.array_equal(file.read(1), drawn.set_size)
        assert file.tags()["COVERAGE"] == "0.8"
    with rasterio.open(calibrated[0] / "rasters" / "map.tif") as file:
        assert np.array_equal(file.read(1), drawn.classes)
        assert file.tags()["CLASS_255"] == "undecided"
        assert file.colormap(1)[255] == (224, 224, 224, 255)


FILES = ("HSI", "LiDAR", "SAR")


def test_a_calibration_of_other_weights_or_damaged_is_refused(calibrated: tuple[Path, str], tmp_path: Path) -> None:
    folder = copied(calibrated[0], tmp_path / "other")
    path = file_of(folder)
    content = read_sealed_json(path, "")
    write_sealed_json(path, {**content, "fingerprint": "0" * 64})
    with pytest.raises(MamolError, match=r"calibration\.json: belongs to a checkpoint with other weights; run calibr"):
        _ = mamol.load(folder, **QUIET).network
    assert mamol.load(folder, calibrated=False, **QUIET).network.calibration is AS_IS
    for changed, told in (
        ({"format": 9}, "format is 9, expected 1"),
        ({"coverage": 2.0}, r"calibration.coverage is 2.0, expected a number above 0 and below 1"),
        ({"coverage": None}, "common.least and common.guaranteed have 6 and 6 values, expected 0"),
        ({"common": {**content["common"], "temperature": 0}}, "common.temperature is 0, expected a number above 0"),
        ({"common": {**content["common"], "curve": {"confidence": [1], "share": [], "risk": []}}}, "different lengths"),
    ):
        write_sealed_json(path, {**content, **changed})
        with pytest.raises(MamolError, match=told):
            read_calibration(path)
    path.write_text(path.read_text().replace("0.", "1.", 1))
    with pytest.raises(MamolError, match="does not fit its checksum, it was damaged or edited; run calibrate again"):
        read_calibration(path)


def test_it_is_fitted_on_what_the_network_itself_says(
    calibrated: tuple[Path, str], table_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second calibration does not go through the first one, and equals it."""
    monkeypatch.setattr(page, "save_figure", lambda figure, path: None)
    before = read_sealed_json(file_of(calibrated[0]), "")
    mamol.calibrate(calibrated[0], data_root=table_folder, coverage=0.8, **QUIET)
    assert read_sealed_json(file_of(calibrated[0]), "") == before


def test_every_class_has_a_threshold_of_its_own_where_that_is_asked_for(loaded: Trained) -> None:
    """And without coverage there is none."""
    rng = np.random.default_rng(0)
    given = rng.dirichlet(np.ones(6), 300).astype(np.float32), rng.integers(0, 6, 300), np.arange(300)
    said = [Said("hsi", np.array([True, False, False]), *given)]
    least = []
    for asked in ({}, {"class_conditional": True}, {"coverage": None}):
        fitted = Fitted(replace(loaded, settings=loaded.settings.changed(**asked)), said)
        least.append(fitted.patterns["hsi"]["least"])
    assert [len(set(each)) for each in least] == [1, 6, 0]


def test_values_of_other_types_are_refused(calibrated: tuple[Path, str], tmp_path: Path) -> None:
    """Every key, every kind of value, in a file that is whole and sealed."""
    content = read_sealed_json(file_of(calibrated[0]), "")
    common = {**content["common"], "curve": {"confidence": [0.5], "share": [1.0], "risk": [0.25]}}
    small = {**content, "common": common, "patterns": {}, "test_curves": {}}
    small |= {name: content[name][:1] for name in ("scores", "reliability", "abstention")}
    optional = re.compile(r"coverage is null|abstention\.0\.wrong is null")
    path = tmp_path / "one.calibration.json"

    def use(path: Path) -> object:
        kept = read_calibration(path)
        return dict(kept)

    assert check(small, partial(write_json, path), use, path, optional) > 200


def test_an_adapter_takes_it_along(calibrated: tuple[Path, str], table_folder: Path, tmp_path: Path) -> None:
    """The same weights are recognised in another file."""
    mamol.load(calibrated[0], **QUIET).save(tmp_path / "adapter")
    network = mamol.load(tmp_path / "adapter", **QUIET).network
    assert isinstance(network.calibration, ByPattern)
    assert network.calibration.coverage == 0.8


def test_what_cannot_be_calibrated(
    loaded: Trained, plain: Path, scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what to do."""
    with pytest.raises(
        MamolError, match="calibrate needs load_path=<checkpoint or run folder>, and data_root=<tables>"
    ):
        calibrate(Settings.of({}))
    alone = tmp_path / "alone.safetensors"
    shutil.copy(next((plain / "checkpoints").glob("best*.safetensors")), alone)
    with pytest.raises(
        MamolError, match=r"calibrate: .*alone\.safetensors does not say which tables it was trained on"
    ):
        calibrate(Settings.of({"load_path": str(alone), **QUIET}))
    sizes = ["--patch-size", "4", "--train-per-class", "8", "--val-per-class", "0", "--test-per-class", "6"]
    assert not make_arrow.main(
        ["--dataset", "synthetic", "--root", str(scene_folder), "--out", str(tmp_path / "table"), *sizes]
    )
    with pytest.raises(MamolError, match=r"val\.arrow has 0 labelled validation samples, and 20 are needed; build the"):
        mamol.calibrate(plain, data_root=tmp_path / "table", **QUIET)
    with pytest.raises(
        MamolError, match=r"abstain=0\.05: nothing says which pixels are sure enough; run calibrate with"
    ):
        predict(settings_of(plain, scene_folder, abstain=0.05))
    monkeypatch.setattr(Trained, "task", MultiLabel())
    with pytest.raises(MamolError, match="temperatures, sets and abstention are for tables with one class per sample"):
        said_of(loaded, "val")
    assert not calibration_path(next((plain / "checkpoints").glob("best*.safetensors"))).exists()
