"""The comparison of one model with the ways round the holes: same pixels for all, and nothing counted as it was not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mamol
import mamol.api.experiment
from benchmarks import field, field_page, field_scene
from benchmarks.field_page import ALL, ANSWERED
from benchmarks.field_scene import Field, Model, beyond_swath, clouds, filled, with_holes
from mamol.core.errors import MamolError
from mamol.data.arrays import scene_of
from mamol.data.scenes import Scene
from mamol.data.scenetable import SceneTable

SIDE = 40
TEST = pd.DataFrame(
    {"row": range(6), "col": 0, "label": [0, 1, 0, 1, 0, 1], "pattern": ["hsi+lidar"] * 3 + ["hsi"] * 2 + ["lidar"]}
)


def toy_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"hsi": rng.normal(size=(SIDE, SIDE, 3)), "lidar": rng.normal(size=(SIDE, SIDE, 1))}


def toy_labels() -> np.ndarray:
    return np.indices((SIDE, SIDE)).sum(0) % 2 + 1


@pytest.fixture(scope="module")
def holed(tmp_path_factory: pytest.TempPathFactory) -> Field:
    return Field(tmp_path_factory.mktemp("field"), scene_of(toy_arrays(), toy_labels()), seed=1)


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {model.name: model for model in field.models("hsi", "lidar")}


@pytest.mark.parametrize("make", [clouds, beyond_swath])
def test_holes_cover_the_share_that_was_asked_for_and_come_from_the_seed(make: Callable[..., np.ndarray]) -> None:
    holes = make((90, 120), 0.25, 3)
    assert holes.mean() == pytest.approx(0.25, abs=0.001)
    assert (holes == make((90, 120), 0.25, 3)).all()
    assert (holes != make((90, 120), 0.25, 4)).any()


def test_clouds_are_blobs_and_no_dust() -> None:
    holes = clouds((90, 120), 0.25, 3)
    assert (holes[:, 1:] != holes[:, :-1]).mean() < 0.03  # of independent pixels it would be 0.375


def test_a_swath_has_one_straight_edge() -> None:
    holes = beyond_swath((90, 120), 0.2, 3)
    changes = holes[:, 1:] ^ holes[:, :-1]
    assert changes.sum(1).max() == 1
    place = np.array([np.flatnonzero(row)[0] for row in changes if row.any()])
    assert np.ptp(np.diff(place)) <= 1  # the edge moves on by as much from row to row


def test_each_sensor_misses_pixels_of_its_own() -> None:
    scene = scene_of(toy_arrays(), toy_labels())
    missed = {name: np.isnan(raster) for name, raster in with_holes(scene, 1).items()}
    assert [round(each.mean(), 2) for each in missed.values()] == [0.25, 0.2]
    assert all((each.all(2) == each.any(2)).all() for each in missed.values())
    assert not np.isnan(scene.rasters["hsi"]).any()


def test_filling_puts_the_mean_of_each_band_into_the_holes_alone() -> None:
    raster = np.array([[[1, 2], [np.nan, np.nan]]], np.float32)
    np.testing.assert_array_equal(filled(raster, [7, 8]), [[[1, 2], [7, 8]]])


def test_pixels_that_are_not_classified_count_as_wrong() -> None:
    everything_right = TEST.rename(columns={"label": "prediction"})
    dropped = {"tested": {"hsi+lidar": 3, "hsi": 2, "lidar": 1}}
    dropped["right"] = field.right_by_pattern(TEST, everything_right[:3])
    assert field_page.scores([dropped]) == {ALL: 50.0, ANSWERED: 100.0, "hsi+lidar": 100.0}
    clouded = dropped | {"right": field.right_by_pattern(TEST, everything_right[3:5])}
    assert field_page.scores([dropped, clouded])[ALL] == pytest.approx(500 / 6)  # another model answers for two more


def test_right_answers_are_counted_by_the_pattern_of_the_holes() -> None:
    answers = TEST.assign(prediction=[0, 1, 1, 1, 1, 0], pattern="hsi+lidar")[::-1]  # filled: all called present
    assert field.right_by_pattern(TEST, answers) == {"hsi+lidar": 2, "hsi": 1, "lidar": 0}


def test_all_models_have_the_pixels_that_are_theirs(holed: Field, models: dict[str, Model]) -> None:
    seen = {}
    for name, model in models.items():
        folder = holed.tables(model).folder
        tables = {split: SceneTable.open(folder / f"{split}.arrow") for split in ("train", "val", "test")}
        assert not len(tables["val"])
        assert tuple(tables["train"].info.modalities) == model.modalities
        if name != "ours":
            assert tables["train"].natural is None  # no sample lacks anything
        seen[name] = [set(zip(tables[s].row.tolist(), tables[s].col.tolist(), strict=True)) for s in ("train", "test")]
    train, test = ({name: sets[k] for name, sets in seen.items()} for k in (0, 1))
    assert train["ours"] == train["filled"] == train["first"] | train["second"]
    assert train["complete"] == train["first"] & train["second"] < train["ours"]
    assert test["ours"] == test["filled"] == test["complete"] | test["first"] | test["second"]
    assert sum(len(test[name]) for name in ("complete", "first", "second")) == len(test["ours"])
    assert not train["ours"] & test["ours"]


def test_tables_of_filled_holes_have_the_training_mean_there(holed: Field, models: dict[str, Model]) -> None:
    ours, repaired = (SceneTable.open(holed.tables(models[name]).folder / "train.arrow") for name in ("ours", "filled"))
    assert ours.natural is not None
    gone = np.flatnonzero(~ours.natural[:, 0])
    centres = [table.windows("hsi", gone)[:, :, 4, 4] for table in (ours, repaired)]
    hidden = np.isnan(centres[0]).all(1)
    assert hidden.any()
    expected = np.broadcast_to(ours.info.mean["hsi"], centres[1][hidden].shape)
    np.testing.assert_allclose(centres[1][hidden], expected, rtol=1e-6)


def test_a_model_makes_the_steps_of_all_and_answers_for_its_pixels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, models: dict[str, Model]
) -> None:
    monkeypatch.setattr(field_scene, "TRAIN", 20)
    monkeypatch.setattr(field_scene, "TEST", 30)
    made = []

    def train(*tables: Any, **options: Any) -> mamol.Run:
        run = mamol.api.experiment.train(*tables, **options)
        made.extend(pd.read_csv(run.folder / "history.csv")["step"])
        return run

    monkeypatch.setattr(mamol, "train", train)
    small = Field(tmp_path, scene_of(toy_arrays(), toy_labels()), seed=1)
    result = field.run(small, models["second"], epochs=1, title="toy")
    assert result["steps"] == made[-1] == 2  # a pass over 40 training pixels, although this model has fewer
    assert result["trained_on"] < 40
    assert sum(result["tested"].values()) == 60
    assert list(result["right"]) == ["lidar"]
    assert 0 < result["right"]["lidar"] <= result["tested"]["lidar"]
    assert result["parameters"] > 0
    assert json.loads(json.dumps(result)) == result


def made_up(model: Model, seed: int, epochs: int) -> dict[str, Any]:
    patterns = ["+".join(model.modalities)] if model.own else ["hsi+lidar", "hsi", "lidar"]
    return {
        "model": model.name,
        "title": "hybrid Toy",
        "seed": seed,
        "epochs": epochs,
        "steps": 20 * epochs,
        "classes": 4,
        "modalities": ["hsi", "lidar"],
        "trained_on": 60 if model.own else 100,
        "tested": {"hsi+lidar": 60, "hsi": 20, "lidar": 20},
        "right": dict.fromkeys(patterns, 10 + 2 * seed),
        "parameters": 1000,
        "seconds": 5.0,
        "processor_seconds": 7.0,
    }


@pytest.fixture
def without_training(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Which models would have been trained, with which seed."""
    trained: list[tuple[str, int]] = []

    class NoTables:
        def __init__(self, folder: Path, scene: Scene, seed: int) -> None:
            self.seed = seed

    def run(holed: NoTables, model: Model, epochs: int, title: str) -> dict[str, Any]:
        trained.append((model.name, holed.seed))
        return made_up(model, holed.seed, epochs)

    monkeypatch.setattr(field, "Field", NoTables)
    monkeypatch.setattr(field, "run", run)
    return trained


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, array in {**toy_arrays(), "labels": toy_labels()}.items():
        np.save(folder / f"{name}.npy", array)
    modalities = {name: {"file": f"{name}.npy"} for name in toy_arrays()}
    (folder / "scene.json").write_text(
        json.dumps({"name": "toy", "modalities": modalities, "labels": {"file": "labels.npy"}})
    )
    return folder


@pytest.mark.usefixtures("figures")
def test_started_again_it_goes_on_with_what_is_missing(
    raw: Path, tmp_path: Path, without_training: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["--root", str(raw), "--out", str(out), "--seeds", "2"]
    assert field.main(command) == 0
    assert len(without_training) == 10
    (out / "results" / "toy_filled_seed1.json").unlink()
    without_training.clear()
    assert field.main(command) == 0
    assert without_training == [("filled", 1)]
    without_training.clear()
    assert field.main([*command, "--epochs", "1"]) == 0
    assert len(without_training) == 10
    assert "hybrid Toy, 20 steps" in capsys.readouterr().out
    assert (out / "field_ways.png").stat().st_size > 10_000


def test_the_page_has_each_way_with_its_cost(models: dict[str, Model], tmp_path: Path) -> None:
    for seed in (0, 1):
        for model in models.values():
            path = tmp_path / "results" / f"toy_{model.name}_seed{seed}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(made_up(model, seed, 6)))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in field_page.write_page(tmp_path).splitlines()]
    rows = {line[0]: line[1:] for line in lines if line}
    deviation, none = "± 4.24", "not classified"  # of 30 and 36 right answers
    ours = rows["one model, holes as they are"]
    assert ours[:4] == ["2", f"33.00 {deviation}", "", f"33.00 {deviation}"]
    assert ours[4:] == ["18.33 ± 2.36", "55.00 ± 7.07", "55.00 ± 7.07", "100", "1,000", "5 ± 0", "7 ± 0"]
    dropped = rows["(a) incomplete pixels left out"][1:7]
    assert dropped == ["11.00 ± 1.41", "-22.00 ± 2.83", "18.33 ± 2.36", "18.33 ± 2.36", none, none]
    assert rows["(c) one model per pattern"][7:] == ["60, 60, 60", "3,000", "15 ± 0", "21 ± 0"]


def test_results_that_are_not_there_and_other_numbers_of_modalities_are_refused(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MamolError, match="no results; run"):
        field_page.write_page(tmp_path)
    assert field.main(["--root", str(raw), "--out", str(tmp_path / "out"), "--modalities", "hsi"]) == 1
    assert "modalities=hsi: expected two" in capsys.readouterr().err
