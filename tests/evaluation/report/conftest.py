"""One small trained run on a scene with holes and a place, one page of it, and what predict and evaluate say of it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

import make_arrow
import mamol
from mamol.api.made import Made
from mamol.data.scenes import load_scene
from mamol.data.synthetic import write_synthetic_scene
from mamol.evaluation.grid import evaluate
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.predict import predict
from tests.evaluation.report.large import Large
from tests.geotiffs import write_raster
from tests.lines import trained
from tests.placed import ORIGIN, settings_of, write_placed

HEIGHT, WIDTH = 32, 36
SENSORS = ("hsi", "lidar", "sar")
PATTERNS = ("hsi+lidar+sar", "hsi+lidar", "hsi+sar", "lidar+sar", "hsi", "lidar", "sar")
SIZES = ("--patch-size", "4", "--train-per-class", "6", "--val-per-class", "4", "--test-per-class", "5")


@dataclass(frozen=True)
class Reported:
    """A run, its page, and the same numbers from other commands.

    Attributes:
        run: Folder of the run.
        other: Folder of a second one on the same tables.
        scene: The scene.json.
        table: The tables.
        page: The file.
        text: What the command said.
    """

    run: Path
    other: Path
    scene: Path
    table: Path
    page: Path
    text: str


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """The run with maps, evaluation and report."""
    root = tmp_path_factory.mktemp("reported")
    raw = write_synthetic_scene(root / "raw", height=HEIGHT, width=WIDTH, holes=True)
    scene, table = write_placed(raw, root / "scene", "Valley"), root / "table"
    known = load_scene("synthetic", raw)
    if known.labels is None:
        raise RuntimeError("the synthetic scene has labels")
    place = (10, 0, ORIGIN[0], 0, -10, ORIGIN[1])
    write_raster(root / "scene" / "labels.tif", known.labels.astype("u1"), place, "EPSG:32632")
    described = json.loads(scene.read_text()) | {"labels": {"file": "labels.tif"}, "classes": list(known.classes)}
    scene.write_text(json.dumps(described))
    where = ("--dataset", "scene", "--root", str(scene.parent), "--out", str(table), "--layout", "scene")
    if make_arrow.main([*where, *SIZES]):
        raise RuntimeError("make_arrow.py failed")
    runs = [
        trained(root / "runs", f"data_root={table}", f"exp_name={name}", f"max_epoch={epochs}", "head=pixels")
        for name, epochs in (("first", 2), ("second", 1))
    ]
    given = {"data_root": str(table), "evaluate_ratios": [0.0, 0.5]}
    mamol.calibrate(runs[0], data_root=table, num_gpus=0, progress_bar=False)
    for each in runs:
        evaluate(settings_of(each, scene, **given))
    with pytest.MonkeyPatch.context() as patch:  # no pictures, which take long
        patch.setattr(MapFiles, "_save_png", lambda files, path: [])
        predict(settings_of(runs[0], scene, present="each", probabilities=True))
    options = {**given, "compare": [str(runs[1])], "num_gpus": 0, "progress_bar": False}
    made = mamol.report(runs[0], scene, **options)
    return Reported(*runs, scene, table, made.folder / "report.html", str(made))


@pytest.fixture(scope="session")
def bare(reported: Reported) -> Made:
    """A second page of the run, of one pattern and without a scene."""
    return mamol.load(reported.run, num_gpus=0, progress_bar=False).report(data_root=reported.table, patterns="sar")


@pytest.fixture(scope="session")
def large() -> Large:
    """A million pixels under all patterns of the same sensors."""
    return Large.of(PATTERNS, SENSORS)
