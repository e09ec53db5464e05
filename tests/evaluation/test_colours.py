"""Colours of classes: by meaning in the known scenes, the user's own from scene.json, and the palette elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import rasterio
from matplotlib.colors import rgb_to_hsv, to_rgb
from rasterio.crs import CRS

import make_arrow
from mamol.core.errors import MamolError
from mamol.data.facts import DATASETS, SceneFacts
from mamol.data.sceneinfo import SceneInfo
from mamol.data.scenes import GeoReference, load_scene
from mamol.data.splits import Pixels
from mamol.data.tables import open_tables
from mamol.data.writing import output_identity
from mamol.evaluation.fitting import map_title
from mamol.evaluation.maps import Map
from mamol.evaluation.plots import class_colours
from mamol.evaluation.trained import Trained
from mamol.training.checkpoints import read_checkpoint
from tests.lines import QUICK, run
from tests.sight import SIGHT, cielab

NAMED = {name: facts for name, facts in DATASETS.items() if facts.classes}
OWN = ["navy", "#7CFC00", "#ffee00", "darkgreen", "#b22222", "grey"]
HEX = ["#000080", "#7cfc00", "#ffee00", "#006400", "#b22222", "#808080"]
CLASSES = ["water", "grass", "crops", "trees", "buildings", "roads"]


@pytest.mark.parametrize("facts", NAMED.values(), ids=NAMED)
def test_colours_of_known_scenes_mean_what_they_show(facts: SceneFacts) -> None:
    assert len(facts.colours) == len(facts.classes)
    hues = {"water": (180, 260), "trees": (80, 170), "grass": (60, 170), "forest": (80, 170), "woods": (80, 170)}
    for name, colour in zip(facts.classes, facts.colours, strict=True):
        hue, saturation, _ = rgb_to_hsv(to_rgb(colour))
        for word, (least, most) in hues.items():
            if word in name.lower():
                assert least <= 360 * hue <= most, name
        if "road" in name.lower():
            assert saturation < 0.15, "grey"


def test_a_name_has_one_colour_in_all_known_scenes() -> None:
    pairs = {
        (name.lower(), colour)
        for facts in NAMED.values()
        for name, colour in zip(facts.classes, facts.colours, strict=True)
    }
    assert len({name for name, _ in pairs}) == len(pairs)


@pytest.mark.parametrize(("sight", "least"), [("normal", 30), ("protan", 15), ("deutan", 15)])
@pytest.mark.parametrize("facts", NAMED.values(), ids=NAMED)
def test_colours_of_a_scene_stay_apart(facts: SceneFacts, sight: str, least: float) -> None:
    lab = cielab(class_colours(len(facts.classes), facts.colours), SIGHT[sight])
    distance = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1000 * np.eye(len(lab))
    assert distance.min() > least


def described(folder: Path, **more: object) -> Path:
    """The synthetic scene as a user's own."""
    path = folder / "scene.json"
    files = {"hsi": "HSI.mat", "lidar": "LiDAR.mat", "sar": "SAR.mat"}
    content = {
        "name": "Riverside",
        "modalities": {name: {"file": file} for name, file in files.items()},
        "labels": {"file": "All_label.mat"},
        "classes": CLASSES,
    }
    path.write_text(json.dumps(content | more))
    return path


@pytest.fixture
def own_scene(scene_folder: Path, tmp_path: Path) -> Path:
    """A folder with the files of the synthetic scene, and no description."""
    folder = tmp_path / "riverside"
    folder.mkdir()
    for file in scene_folder.glob("*.mat"):
        (folder / file.name).symlink_to(file)
    return folder


@pytest.mark.parametrize("colours", [OWN, dict(zip(CLASSES[::-1], OWN[::-1], strict=True))], ids=["list", "by name"])
def test_a_scene_json_chooses_colours(colours: object, own_scene: Path) -> None:
    scene = load_scene("scene", described(own_scene, colours=colours))
    assert scene.colours == dict(zip(CLASSES, HEX, strict=True))


@pytest.mark.parametrize("more", [{}, {"colours": []}])
def test_colours_may_be_left_out(more: dict[str, object], own_scene: Path) -> None:
    assert load_scene("scene", described(own_scene, **more)).colours == {}


def test_a_description_of_a_known_scene_leaves_it_its_colours(own_scene: Path) -> None:
    known = DATASETS["synthetic"]
    assert load_scene("synthetic", described(own_scene)).colours == dict(zip(CLASSES, known.colours, strict=True))
    own = load_scene("synthetic", described(own_scene, colours=OWN))
    assert list(own.colours.values()) == HEX
    other = load_scene("synthetic", described(own_scene, classes=["a", "b", "c", "d", "e", "f"]))
    assert other.colours == {}, "the colours are not those of these classes"


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ("navy", "colours is 'navy'; expected a list in label order, or class name -> colour"),
        (OWN[:5], "colours has 5 entries, classes 6; give one for each class"),
        ([*OWN[:5], "bluish"], "colours has 'bluish'; expected '#rrggbb' or a name of matplotlib's, such as 'navy'"),
        ([*OWN[:5], "#12345"], "colours has '#12345'; expected"),
        ([*OWN[:5], "none"], "colours has 'none'; expected"),
        ([*OWN[:5], 3], "colours has 3; expected"),
        ([*OWN[:5], [0, 0, 1]], r"colours has \[0, 0, 1\]; expected"),
        (dict(zip(CLASSES[:5], OWN, strict=False)), "colours and classes differ in roads; name every class in both"),
        ({**dict(zip(CLASSES, OWN, strict=True)), "lava": "red"}, "colours and classes differ in lava"),
    ],
)
def test_wrong_colours_are_told_in_one_line(colours: object, message: str, own_scene: Path) -> None:
    path = described(own_scene, colours=colours)
    with pytest.raises(MamolError, match=message) as caught:
        load_scene("scene", path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_map_takes_the_colours_of_its_classes_or_the_palette(tmp_path: Path) -> None:
    codes = np.arange(12).reshape(3, 4) % 2
    place = GeoReference(CRS.from_epsg(32632).to_wkt(), (2.5, 0.0, 664000.0, 0.0, -2.5, 5104000.0))
    for known, expected in (
        ({"trees": "#006400", "water": "#000080", "lava": "#ff0000"}, [(0, 0, 128), (0, 100, 0)]),
        ({"water": "#000080"}, class_colours(2).tolist()),
        ({}, class_colours(2).tolist()),
    ):
        drawn = Map.of(codes, codes.astype(np.float32), ("water", "trees"), "map", place, known)
        with rasterio.open(drawn.save(tmp_path / "map.tif")) as file:
            assert [file.colormap(1)[code] for code in (1, 2)] == [(*colour, 255) for colour in expected]
        image = drawn.plot().axes[0].images[0]
        assert image.to_rgba(image.get_array(), bytes=True)[0, :2, :3].tolist() == [list(c) for c in expected]


@pytest.mark.usefixtures("figures")
def test_from_a_scene_json_to_tables_titles_and_maps(own_scene: Path, tmp_path: Path) -> None:
    """``predict`` of a scene of the user's own: its colours, and its name instead of the word scene."""
    described(own_scene, colours=OWN)
    sizes = ["--patch-size", "4", "--train-per-class", "8", "--val-per-class", "4", "--test-per-class", "6"]
    out = tmp_path / "table"
    assert make_arrow.main(["--dataset", "scene", "--root", str(own_scene), "--out", str(out), *sizes]) == 0
    info = open_tables(out)["test"].info
    assert (info.shown, info.colours) == ("Riverside", tuple(HEX))  # type: ignore[attr-defined]
    given = ("with", "remote", *QUICK, "max_epoch=1", f"data_root={out}", f"log_dir={tmp_path / 'runs'}")
    trained = run(*given)
    assert trained.returncode == 0, trained.stderr[-1500:]
    folder = trained.stdout.splitlines()[-1]
    evaluated = run("evaluate", *given, f"load_path={folder}", "evaluate_ratios=0.5", "evaluate_types=hsi")
    assert "# Test of mamol on Riverside (random frozen weights)" in evaluated.stdout
    predicted = run("predict", "with", *QUICK, f"load_path={folder}", f"scene={own_scene}", "present=sar")
    assert predicted.returncode == 0, predicted.stderr[-1500:]
    drawn = Path(folder) / "maps" / "Riverside_sar"
    picture = np.rint(255 * matplotlib.image.imread(drawn.with_suffix(".png"))[..., :3]).astype(int)
    shown = {tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()}
    found = np.unique(np.load(drawn.with_suffix(".npy")))
    assert {tuple(np.rint(255 * np.array(to_rgb(HEX[code - 1]))).astype(int).tolist()) for code in found} <= shown


def test_titles_of_maps_have_the_scene_s_name(loaded: Trained) -> None:
    info, _ = read_checkpoint(loaded.checkpoint)
    of_trento = replace(info, data={**info.data, "dataset": "trento"})
    assert map_title("trento", ["hsi"], of_trento) == "Trento: mamol with hsi (random frozen weights)"
    assert map_title("campus", ["hsi"], of_trento).startswith("campus: ")


def test_colours_change_nothing_but_maps(table_folder: Path) -> None:
    """Neither the identity of a table nor what a run is compared by; tables without the field are read as before."""
    info = open_tables(table_folder)["test"].info
    assert isinstance(info, SceneInfo)
    assert info.colours == DATASETS["synthetic"].colours
    plain = replace(info, colours=())
    assert info.plain() == plain.plain()
    assert "colours" not in json.loads(plain.to_json())
    pixels = {split: Pixels(*np.zeros((3, 1), int)) for split in ("train", "val", "test")}
    assert output_identity(info, pixels) == output_identity(plain, pixels)
    for each in (info, plain):
        assert SceneInfo.from_json(each.to_json(), table_folder) == each
