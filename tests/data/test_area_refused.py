"""What is refused of many scenes: one line each, and nothing is written."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mamol.core.errors import MamolError
from mamol.data.areajson import find_area
from mamol.data.areareading import read_area
from mamol.data.prepare import Options, prepare
from mamol.data.scenetable import SceneTable
from tests.areas import CLASSES, listed, with_file, write_area
from tests.arrows import content_of, write_again

SIZES: dict[str, Any] = {"patch_size": 5, "train_per_class": 20, "val_per_class": 5, "test_per_class": 30}


def other_bands(root: Path) -> None:
    np.save(root / "south" / "hsi.npy", np.zeros((9, 33, 2)))


def other_modalities(root: Path) -> None:
    with_file(root, "west", modalities={"hsi": {"file": "hsi.npy"}})


def second_name(root: Path) -> None:
    with_file(root, "west", name="north")


def no_names(root: Path) -> None:
    with_file(root, "west", classes=None)


def too_few_names(root: Path) -> None:
    with_file(root, "west", classes=["water", "crop"])


def unknown_class(root: Path) -> None:
    listed(root, ["north", "south"], classes=["water", "crop"])


def empty_class(root: Path) -> None:
    listed(root, ["north", "south"], classes=[*CLASSES, "snow"])


def no_scene_json(root: Path) -> None:
    (root / "empty").mkdir()
    listed(root, ["north", "empty"])


def only_one_trains_trees(root: Path) -> None:
    for name in ("north", "south"):
        labels = np.load(root / name / "gt.npy")
        np.save(root / name / "gt.npy", np.minimum(labels, 2))
    with_file(root, "west", split="test")


def all_named_to_train(root: Path) -> None:
    listed(root, [{"scene": name, "split": "train"} for name in ("north", "south")])


def every_scene_has_its_own_class(root: Path) -> None:
    for name, number in (("north", 1), ("south", 2)):
        labels = np.load(root / name / "gt.npy")
        np.save(root / name / "gt.npy", np.full_like(labels, number))
    listed(root, ["north", "south"], classes=["water", "crop"])
    for name in ("north", "south"):
        with_file(root, name, classes=["water", "crop"])


def only_some_official(root: Path) -> None:
    with_file(root, "west", train_labels={"file": "gt.npy"}, test_labels={"file": "gt.npy"})


@pytest.mark.parametrize(
    ("change", "protocol", "message"),
    [
        (other_bands, "disjoint", r"\S+/east has hsi with 3 bands, sar with 1 band, \S+/south hsi with 2 bands, sar"),
        (other_modalities, "disjoint", r"\S+/east has hsi with 3 bands, sar with 1 band, \S+/west hsi with 3 bands;"),
        (second_name, "disjoint", r"north/scene.json and \S+west/scene.json are both called 'north'"),
        (no_names, "disjoint", r"west has class numbers without names, and other scenes name theirs"),
        (too_few_names, "disjoint", r"west: labels go up to 3, and classes has 2 names"),
        (unknown_class, "disjoint", r"valley: tree not among its classes water, crop; add it there"),
        (empty_class, "disjoint", r"valley: no scene has a pixel of snow; take it out of classes"),
        (no_scene_json, "disjoint", r"scenes\[1\]: \S+/empty has no scene.json"),
        (lambda root: listed(root, ["north", "nowhere"]), "disjoint", r"scenes\[1\]: \S+/nowhere is not there"),
        (lambda root: listed(root, ["north", "north"]), "disjoint", r"are both called 'north'; list a scene once"),
        (lambda root: listed(root, []), "disjoint", r"scenes is \[\]; expected a list of folders"),
        (lambda root: listed(root, [3]), "disjoint", r'scenes\[0\] is 3; expected "north" or \{"scene"'),
        (
            lambda root: listed(root, ["north"], modalities={}),
            "disjoint",
            r"unknown key modalities; known are name",
        ),
        (
            lambda root: listed(root, [{"scene": "north", "split": "all"}]),
            "disjoint",
            r"scenes\[0\]\.split is 'all'; expected one of train, val, test",
        ),
        (lambda root: listed(root, ["north"]), "scenes", r"protocol scenes: there is one scene, and one to train and"),
        (only_one_trains_trees, "scenes", r"protocol scenes: class tree lies only in west, whose split is not train"),
        (all_named_to_train, "scenes", r'protocol scenes: every scene has a split, and none is "test"; name one'),
        (
            every_scene_has_its_own_class,
            "scenes",
            r"no scene is left to test: north alone has water; south alone has crop; add scenes",
        ),
        (only_some_official, "official", r"protocol official: east, north, south: no training and test label maps"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    change: Callable[[Path], Any], protocol: str, message: str, tmp_path: Path
) -> None:
    root = write_area(tmp_path / "valley")
    change(root)
    with pytest.raises(MamolError, match=message) as caught:
        prepare(Options("scene", root, tmp_path / "out", protocol=protocol, **SIZES))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_split_column_in_some_scenes_only(tmp_path: Path) -> None:
    facts = find_area(write_area(tmp_path / "valley"))
    assert facts is not None
    area = read_area(facts)
    fields = [replace(scene.maps, polygons=scene.maps.every) for scene in area.scenes if scene.maps]
    fields[2] = replace(fields[2], assigned=np.ones_like(fields[2].every))
    torn = tuple(replace(scene, maps=maps) for scene, maps in zip(area.scenes, fields, strict=True))
    with pytest.raises(
        MamolError, match=r'protocol polygons: east, north, west: no "split" column in labels, and other'
    ):
        replace(area, scenes=torn).maps("polygons")


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        (["north"], "its scenes or its margin are damaged"),
        ([{"name": "north", "shape": [18], "note": ""}], "its scenes or its margin are damaged"),
        ([{"name": "north", "shape": [18, 15], "note": ""}], r"scenes go from 0 to 3, expected 0 to 0; build it again"),
    ],
)
def test_tables_whose_scenes_are_damaged(scenes: list[object], message: str, tmp_path: Path) -> None:
    prepare(Options("scene", write_area(tmp_path / "valley"), tmp_path / "out", **SIZES))
    path = tmp_path / "out" / "test.arrow"
    write_again(path, content_of(path), {"scenes": scenes})
    with pytest.raises(MamolError, match=message):
        SceneTable.open(path)
