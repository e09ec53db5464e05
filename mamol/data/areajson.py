"""Which scenes a folder holds, if it holds several."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamol.core.errors import MamolError
from mamol.data.facts import ANY_SCENE
from mamol.data.opening import is_file
from mamol.data.reading import RawFolder
from mamol.data.scenejson import (
    SCENES,
    check_keys,
    classes_of,
    colours_of,
    json_of,
    name_of,
    split_of,
    text_of,
)

FILE = "scene.json"
KEYS = ("name", SCENES, "classes", "colours", "note")


@dataclass(frozen=True)
class AreaFacts:
    """What is known of an area before its scenes are read.

    Attributes:
        name: What titles and reports call it.
        files: The scene.json of each scene.
        splits: The split that the area's own file names for each scene; empty: none.
        classes: Names of the classes, in label order; empty: the scenes' own.
        colours: ``#rrggbb`` of them; empty: the scenes' own.
        note: What tables say about themselves.
        root: The folder of all scenes, which relative names of files must not leave.
    """

    name: str
    files: tuple[Path, ...]
    splits: tuple[str, ...]
    classes: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    note: str = ""
    root: Path | None = None


def find_area(root: Path, scene_file: Path | None = None) -> AreaFacts | None:
    """The scenes of a folder: those that its scene.json lists, else one for each folder in it with a scene.json.

    Args:
        root: The folder, or the scene.json in it.
        scene_file: A description that lies elsewhere; None: the one in ``root``.

    Returns:
        The area; None if the folder is a scene by itself, or holds none.

    Raises:
        MamolError: If a list of scenes is wrong.
    """
    root, scene_file = (root.parent, root) if is_file(root) else (root, scene_file)
    file = root / FILE if scene_file is None else scene_file
    if scene_file is not None or is_file(file):
        content = json_of(file)
        return _listed(file, root, content) if SCENES in content else None
    found = tuple(sorted(root.glob(f"*/{FILE}")))
    if not found or any(map(RawFolder(root).has, ANY_SCENE.modalities.values())):
        return None
    return AreaFacts(root.resolve().name, found, ("",) * len(found), root=root)


def inside(area: AreaFacts, file: Path) -> Path | None:
    """The folder that relative names of a scene's files must not leave: that of all scenes, where it lies in it.

    Args:
        area: The scenes.
        file: The scene.json of one.

    Returns:
        The folder; None: its own.
    """
    root = Path(os.path.abspath(area.root or file.parent))
    return root if Path(os.path.abspath(file)).is_relative_to(root) else None


def _listed(file: Path, root: Path, content: dict[str, Any]) -> AreaFacts:
    check_keys(file, content, KEYS)
    entries = content[SCENES]
    if not isinstance(entries, list) or not entries:
        raise MamolError(f'{file}: {SCENES} is {entries!r}; expected a list of folders, ["north", "south"]')
    classes = classes_of(file, content)
    scenes = [_scene(file, root, f"{SCENES}[{number}]", entry) for number, entry in enumerate(entries)]
    return AreaFacts(
        name=name_of(file, content, root.resolve().name),
        root=root,
        files=tuple(path for path, _ in scenes),
        splits=tuple(split for _, split in scenes),
        classes=classes,
        colours=colours_of(file, content, classes),
        note=text_of(file, content, "note", ""),
    )


def _scene(file: Path, root: Path, key: str, entry: Any) -> tuple[Path, str]:  # noqa: ANN401 - JSON from the user
    """The scene.json that an entry means, and the split that it names."""
    given = {"scene": entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict) or not isinstance(given.get("scene"), str) or set(given) - {"scene", "split"}:
        raise MamolError(f'{file}: {key} is {entry!r}; expected "north" or {{"scene": "north", "split": "test"}}')
    path = root / given["scene"]
    described = path / FILE if not is_file(path) and path.is_dir() else path
    if not is_file(described):
        what = f"has no {FILE}" if path.is_dir() else "is not there"
        raise MamolError(f"{file}: {key}: {path} {what}; name folders with a {FILE}, or such files")
    return described, split_of(file, f"{key}.split", given.get("split", ""))
