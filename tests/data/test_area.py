"""Many scenes in one table: which they are, their classes, splits and windows."""

import json
import pickle
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely

import mamol
from mamol.commands.tables import main
from mamol.core.errors import MamolError
from mamol.core.names import SPLITS
from mamol.data.areajson import find_area
from mamol.data.areareading import read_area
from mamol.data.prepare import Options, prepare
from mamol.data.scenes import load_scene
from mamol.data.scenetable import SceneTable
from mamol.data.tables import open_tables
from tests.areas import CLASSES, listed, with_file, write_area, write_scene
from tests.geotiffs import UTM33, place, write_raster

P = 5
SIZES: dict[str, Any] = {"patch_size": P, "train_per_class": 20, "val_per_class": 5, "test_per_class": 30}


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes."""
    return write_area(tmp_path_factory.mktemp("raw") / "valley")


def built(root: Path, out: Path, **options: Any) -> dict[str, SceneTable]:
    prepare(Options("scene", root, out, **{**SIZES, **options}))
    tables = open_tables(out)
    assert all(isinstance(table, SceneTable) for table in tables.values())
    return tables  # type: ignore[return-value]


@pytest.fixture(scope="module")
def tables(area: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SceneTable]:
    """Their table."""
    return built(area, tmp_path_factory.mktemp("tables"))


def all_of(table: SceneTable, modality: str) -> np.ndarray:
    return table.windows(modality, np.arange(len(table)))


def of_scene(table: SceneTable) -> np.ndarray:
    assert table.scene is not None
    return table.scene


def test_the_table_says_which_scenes_it_is_of(tables: dict[str, SceneTable], area: Path) -> None:
    info = tables["test"].info
    assert [(each.name, each.height, each.width, each.note) for each in info.scenes] == [
        ("east", 12, 20, "a test"),
        ("north", 18, 15, ""),
        ("south", 9, 33, ""),
        ("west", 16, 17, ""),
    ]
    assert (info.scene, info.classes, info.modalities) == ("valley", CLASSES, {"hsi": 3, "sar": 1})
    assert json.loads(info.to_json())["scenes"][2] == {"name": "south", "shape": [9, 33], "note": ""}
    assert type(info).from_json(info.to_json(), area) == info
    assert set(info.sources) == {
        f"{name}/{file}.npy" for name in ("east", "north", "south", "west") for file in ("hsi", "sar", "gt")
    }
    for split, table in tables.items():
        assert table.keys.keys() == {"scene", "row", "col"}
        assert sum(own.sum() for own in table.parts.values()) == len(table)
        for number, each in enumerate(info.scenes):
            labels = np.load(area / each.name / "gt.npy")
            own = of_scene(table) == number
            np.testing.assert_array_equal(labels[table.row[own], table.col[own]], table.label[own] + 1)
        assert list(info.counts[split].values()) == np.bincount(table.label).tolist()


@pytest.mark.parametrize("layout", ["patches", "scene"])
def test_windows_are_those_of_the_scene_alone(
    layout: str, area: Path, tables: dict[str, SceneTable], tmp_path: Path
) -> None:
    alone = {
        name: built(area / name, tmp_path / name, train_per_class=400, test_per_class=400, protocol="paper")
        for name in ("north", "south")
    }
    ours = tables if layout == "patches" else built(area, tmp_path / "out", layout="scene")
    for table in ours.values():
        for number, name in ((1, "north"), (2, "south")):
            every = alone[name]["train"]  # all pixels that are labelled and seen
            index = {(row, col): i for i, (row, col) in enumerate(zip(every.row, every.col, strict=True))}
            own = np.flatnonzero(of_scene(table) == number)
            theirs = np.array([index[table.row[i], table.col[i]] for i in own])
            for modality in ("hsi", "sar"):
                expected = every.windows(modality, theirs)
                assert table.windows(modality, own).tobytes() == expected.tobytes()
            nature, nature_alone = (each.natural_of(("hsi", "sar")) for each in (table, every))
            if nature is not None:
                expected = np.ones((len(theirs), 2), bool) if nature_alone is None else nature_alone[theirs]
                np.testing.assert_array_equal(nature[own], expected)


def test_both_layouts_hold_the_same_bits(area: Path, tables: dict[str, SceneTable], tmp_path: Path) -> None:
    again = built(area, tmp_path, layout="scene")
    for split, table in tables.items():
        other = pickle.loads(pickle.dumps(again[split]))
        assert other.fingerprint == table.fingerprint
        np.testing.assert_array_equal(other.natural, table.natural)
        for modality in ("hsi", "sar"):
            assert all_of(other, modality).tobytes() == all_of(table, modality).tobytes()
        assert (other.info.mean, other.info.std) == (table.info.mean, table.info.std)


def test_nature_and_statistics_are_of_all_scenes(area: Path, tables: dict[str, SceneTable]) -> None:
    train = tables["train"]
    assert train.natural is not None
    incomplete = ~train.natural.all(1)
    assert incomplete.any()
    assert set(of_scene(train)[incomplete]) == {1}  # the cloud is over north
    rasters = [np.load(area / each.name / "hsi.npy") for each in train.info.scenes]
    places = zip(of_scene(train), train.row, train.col, strict=True)
    values = np.array([rasters[scene][row, col] for scene, row, col in places], np.float64)
    np.testing.assert_allclose(train.info.mean["hsi"], np.nanmean(values, axis=0), rtol=1e-12)
    np.testing.assert_allclose(train.info.std["hsi"], np.nanstd(values, axis=0), rtol=1e-12)


def test_overlap_is_counted_within_scenes(tables: dict[str, SceneTable]) -> None:
    train, test = tables["train"], tables["test"]
    scene, row, col = (
        getattr(test, key).astype(int)[:, None] - getattr(train, key).astype(int) for key in ("scene", "row", "col")
    )
    near = (scene == 0) & (abs(row) < P) & (abs(col) < P)
    found = test.info.overlap
    assert found["shared_window_percent"] == round(100 * near.any(1).mean(), 2)
    assert found["identical_pixels"] == 0
    # Without a look at the scenes there would be more.
    assert ((abs(row) < P) & (abs(col) < P)).any(1).sum() > near.any(1).sum()


def test_a_fingerprint_knows_the_scenes(tables: dict[str, SceneTable]) -> None:
    table = SceneTable.open(tables["test"].path)
    assert table.scene is not None
    before = table.fingerprint
    table.scene = table.scene[::-1].copy()
    assert table._fingerprint() != before


def test_blocks_keep_windows_of_a_scene_apart(area: Path, tmp_path: Path) -> None:
    tables = built(area, tmp_path, protocol="blocks", patch_size=2, train_per_class=30)
    assert tables["test"].info.overlap["shared_window_percent"] == 0
    shared = set(of_scene(tables["train"])) & set(of_scene(tables["test"]))
    assert shared  # a scene can be in two splits, a block cannot


def test_whole_scenes_are_kept_apart(area: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--dataset", "scene", "--root", str(area), "--out", str(tmp_path), "--protocol", "scenes"]
    assert main([*command, "--patch-size", "3", "--train-per-class", "50", "--test-per-class", "all"]) == 0
    report = capsys.readouterr().out
    assert "valley: 4 scenes, bands: hsi 3, sar 1, windows of 3" in report
    tables = open_tables(tmp_path)
    owners = {split: set(of_scene(table)) for split, table in tables.items()}  # type: ignore[arg-type]
    assert sorted(scene for own in owners.values() for scene in own) == [0, 1, 2, 3]
    for number, name in enumerate(("east", "north", "south", "west")):
        (split,) = [split for split, own in owners.items() if number in own]
        samples = ", ".join(f"{each} {(of_scene(tables[each]) == number).sum()}" for each in SPLITS)  # type: ignore[arg-type]
        assert f"{name}: " in report
        assert f", {samples}" in report
        # All pixels of a scene that tests, as far as a sensor saw them.
        if split == "test":
            assert (of_scene(tables["test"]) == number).sum() == np.load(area / name / "gt.npy").size  # type: ignore[arg-type]


def test_named_splits_are_kept(tmp_path: Path) -> None:
    root = write_area(tmp_path / "valley")
    wanted = {"north": "test", "south": "val", "west": "train", "east": "train"}
    entries = [{"scene": name, "split": split} for name, split in wanted.items()]
    tables = built(listed(root, entries), tmp_path / "out", protocol="scenes")
    order = list(wanted)
    assert [each.name for each in tables["train"].info.scenes] == order
    for split, table in tables.items():
        assert {order[number] for number in of_scene(table)} == {name for name in order if wanted[name] == split}
    # Also in the scene's own file; what the area says counts first.
    path = root / "west" / "scene.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"split": "test"}))
    for west, expected in (("west", "test"), ({"scene": "west", "split": "train"}, "train")):
        tables = built(listed(root, ["north", west, "south"]), tmp_path / "out", protocol="scenes")
        assert 1 in of_scene(tables[expected])


def test_classes_are_the_union_in_one_order(tmp_path: Path) -> None:
    root = tmp_path / "valley"
    two = np.repeat([[1, 2]], 8, axis=0).repeat(6, axis=1)
    write_scene(root / "a", 0, (8, 12), two, classes=["water", "crop"], colours=["navy", "gold"])
    write_scene(root / "b", 1, (8, 12), two, classes=["tree", "water"], colours=["darkgreen", "blue"])
    table = built(root, tmp_path / "out")["test"]
    assert table.info.classes == ("crop", "tree", "water")
    assert table.info.colours == ("#ffd700", "#006400", "#000080")  # the first scene that names one counts
    for number, names in enumerate((("water", "crop"), ("tree", "water"))):
        own = of_scene(table) == number
        theirs = [names[label - 1] for label in two[table.row[own], table.col[own]]]
        assert [table.info.classes[label] for label in table.label[own]] == theirs
    # The area's own order and colours come first.
    colours = {"tree": "green", "water": "blue", "crop": "gold"}
    listed(root, ["a", "b"], classes=["water", "tree", "crop"], colours=colours, name="Valley", note="remark")
    info = built(root, tmp_path / "out")["test"].info
    assert (info.classes, info.scene, info.note) == (("water", "tree", "crop"), "Valley", "remark")
    assert info.colours == ("#0000ff", "#008000", "#ffd700")


def test_numbered_classes_are_sorted_by_number(tmp_path: Path) -> None:
    root = tmp_path / "valley"
    for name, first in (("a", 1), ("b", 7)):
        labels = np.arange(first, first + 6)[None].repeat(8, axis=0).repeat(4, axis=1)
        write_scene(root / name, 0, (8, 24), labels, classes=None)
    assert built(root, tmp_path / "out")["test"].info.classes == tuple(f"class {n}" for n in range(1, 13))


def test_one_scene_is_as_it_is_by_itself(area: Path, tmp_path: Path) -> None:
    root = tmp_path / "valley"
    root.mkdir()
    (root / "south").symlink_to(area / "south")
    for layout in ("patches", "scene"):
        one, alone = (built(each, tmp_path / each.name, layout=layout) for each in (root, area / "south"))
        for split in SPLITS:
            assert one[split].info.scenes == ()
            assert one[split].keys.keys() == {"row", "col"}
            assert one[split].fingerprint == alone[split].fingerprint
            assert all_of(one[split], "hsi").tobytes() == all_of(alone[split], "hsi").tobytes()


def test_a_folder_with_a_raster_of_its_own_is_a_scene(area: Path, tmp_path: Path) -> None:
    assert find_area(area) is not None
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "scene.json").write_text("{}")
    assert find_area(tmp_path) is not None
    np.save(tmp_path / "HSI.npy", np.zeros((3, 4, 2)))
    assert find_area(tmp_path) is None
    assert find_area(area / "north") is None


def fields(path: Path, boxes: list[tuple[float, float, float, float]], crops: list[str]) -> None:
    """Fields in metres east and south of the common corner."""
    west, north = 500_000.0, 5_100_000.0
    shapes = [shapely.box(west + l, north - b, west + r, north - t) for l, t, r, b in boxes]  # noqa: E741
    geopandas.GeoDataFrame({"crop": crops}, geometry=shapes, crs=UTM33).to_file(path)


def test_polygons_of_several_scenes_have_numbers_of_their_own(tmp_path: Path) -> None:
    root = tmp_path / "valley"
    boxes = [(0, 0, 40, 40), (40, 0, 80, 40), (80, 0, 120, 40), (120, 0, 160, 40)]
    for name in ("a", "b"):
        write_raster(root / name / "ms.tif", np.ones((4, 16, 2), np.float32) + np.arange(16)[None, :, None], place(10))
        fields(root / name / "fields.gpkg", boxes, ["rye", "oat", "rye", "oat"])
        said = {"modalities": {"ms": {"file": "ms.tif"}}, "labels": {"file": "fields.gpkg", "column": "crop"}}
        (root / name / "scene.json").write_text(json.dumps(said))
    area = read_area(found(root))
    assert [sorted(set(scene.maps.polygons.ravel())) for scene in area.scenes if scene.maps] == [  # type: ignore[union-attr]
        [1, 2, 3, 4],
        [5, 6, 7, 8],
    ]
    tables = built(root, tmp_path / "out", protocol="polygons", train_per_class=16)
    assert tables["test"].info.overlap["shared_polygons"] == 0
    assert tables["train"].info.classes == ("oat", "rye")
    # Fields of one file that lie in two scenes stay one field.
    fields(root / "fields.gpkg", boxes, ["rye", "oat", "rye", "oat"])
    for name in ("a", "b"):
        with_file(root, name, labels={"file": "../fields.gpkg", "column": "crop"})
    area = read_area(found(root))
    assert all(set(scene.maps.polygons.ravel()) == {1, 2, 3, 4} for scene in area.scenes if scene.maps)  # type: ignore[union-attr]


def found(root: Path) -> Any:
    result = find_area(root)
    assert result is not None
    return result


def test_the_library_builds_them_too(area: Path, tables: dict[str, SceneTable], tmp_path: Path) -> None:
    sizes = {**SIZES, "seed": 0}
    mamol.build_tables(area, out=tmp_path / "folder", **sizes)
    description = tmp_path / "valley.json"
    description.write_text(json.dumps({"scenes": [str(area / name) for name in ("east", "north", "south", "west")]}))
    prepare(Options("scene", area, tmp_path / "file", scene_file=description, **SIZES))
    for out in ("folder", "file"):
        again = open_tables(tmp_path / out)["test"]
        assert again.fingerprint == tables["test"].fingerprint
        assert again.info.output == tables["test"].info.output


def test_a_folder_without_any_scene(tmp_path: Path) -> None:
    (tmp_path / "raw" / "north").mkdir(parents=True)
    with pytest.raises(MamolError, match=r"raw: no raster under a common name .* describe it in a scene.json"):
        prepare(Options("scene", tmp_path / "raw", tmp_path / "out"))


def test_one_scene_is_wanted_where_a_list_is_given(area: Path, tmp_path: Path) -> None:
    path = tmp_path / "scene.json"
    path.write_text(json.dumps({"scenes": [str(area / "north")]}))
    with pytest.raises(MamolError, match="lists several scenes, and one is wanted here; give the folder of one of"):
        load_scene("scene", path)
