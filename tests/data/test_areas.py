"""Areas: which scenes they have, and in what order."""

import json
from pathlib import Path

import pytest

from mamol.core.errors import MamolError
from mamol.data.areas import scenes_of


def described(folder: Path, content: object = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scene.json").write_text(json.dumps(content or {"modalities": {}}))
    return folder / "scene.json"


def test_folders_with_a_description_are_the_scenes(tmp_path: Path) -> None:
    files = [described(tmp_path / name) for name in ("south", "east", "north")]
    (tmp_path / "notes").mkdir()
    assert scenes_of(tmp_path) == tuple(sorted(files))
    assert scenes_of(files[0]) == scenes_of(files[0].parent) == ()


def test_a_list_names_folders_and_files_in_its_order(tmp_path: Path) -> None:
    files = [described(tmp_path / name) for name in ("south", "east", "north")]
    area = described(tmp_path, {"scenes": ["south", "north/scene.json"]})
    assert scenes_of(tmp_path) == scenes_of(area) == (files[0], files[2])


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        ([], "scenes is .*; expected a list of folders"),
        ("north", "scenes is 'north'; expected a list of folders"),
        (["north", "west"], r"scenes names west, and there is no .*west; name folders with a scene\.json"),
        (["north", "empty"], r"scenes names empty, and there is no .*empty/scene\.json"),
        (["north", "north/scene.json"], "scenes names a scene twice"),
    ],
)
def test_lists_that_are_none_are_told_in_one_line(scenes: object, message: str, tmp_path: Path) -> None:
    described(tmp_path / "north")
    (tmp_path / "empty").mkdir()
    area = described(tmp_path, {"scenes": scenes})
    with pytest.raises(MamolError, match=message) as told:
        scenes_of(area)
    assert str(told.value).startswith(str(area))
    assert "\n" not in str(told.value)


def test_what_is_no_area_has_no_scenes(tmp_path: Path) -> None:
    assert scenes_of(tmp_path) == scenes_of(tmp_path / "nowhere") == ()
    (tmp_path / "scene.json").write_text("{")
    described(tmp_path / "below")
    assert scenes_of(tmp_path) == (), "whoever reads it says that it is broken"
