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
from mamol.evaluation.trust.calibrate import Fitted, calibrate
from mamol.evaluation.trust.said import Said, said_of
from mamol.tasks.multi_label import MultiLabel
from mamol.training.calibrations import calibration_path, read_calibration
from tests.calibrated import QUIET, copied, file_of
from tests.faults.test_types import check, write_json
from tests.lines import trained
from tests.placed import settings_of


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


@pytest.mark.usefixtures("figures")
def test_it_is_fitted_on_what_the_network_itself_says(calibrated: tuple[Path, str], table_folder: Path) -> None:
    """A second calibration does not go through the first one, and equals it; it is drawn, too."""
    before = read_sealed_json(file_of(calibrated[0]), "")
    mamol.calibrate(calibrated[0], data_root=table_folder, coverage=0.8, **QUIET)
    assert read_sealed_json(file_of(calibrated[0]), "") == before
    for name in ("reliability.png", "risk_coverage.png"):
        assert (calibrated[0] / "calibration" / name).stat().st_size > 10_000


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
