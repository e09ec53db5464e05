"""scene.json: the user's own entry of facts."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from matplotlib.colors import get_named_colors_mapping, to_hex

from mamol.core import plainjson
from mamol.core.errors import MamolError
from mamol.core.names import SPLITS, canonical_all
from mamol.data.facts import SceneFacts
from mamol.data.labelfacts import vector_labels
from mamol.data.opening import unreadable, why
from mamol.data.placejson import read_file, read_grid, read_raster

KEYS = ("name", "modalities", "labels", "train_labels", "test_labels", "classes", "colours", "note", "grid", "split")
SCENES = "scenes"
"""The key by which a scene.json lists several scenes instead of describing one."""
LONGEST = 100
"""Letters of a name: it becomes part of files' names."""


def read_scene_json(path: Path) -> SceneFacts:
    """The facts that a scene.json states.

    Args:
        path: The file: ``{"name": …, "modalities": {name: {"file": …, "variable": …}, …}, "grid": …, "labels": {…},
            "train_labels": {…}, "test_labels": {…}, "classes": […], "colours": […], "note": …}``. Only ``modalities``
            must be there, and ``labels`` or the official maps to build tables; files are relative to the scene's root.
            docs/DATASETS.md has what else a modality may say.

    Raises:
        MamolError: If it is not such a file.
    """
    content = json_of(path)
    if SCENES in content:
        raise MamolError(f"{path}: lists several scenes, and one is wanted here; give the folder of one of them")
    check_keys(path, content, KEYS)
    modalities = content.get("modalities")
    if not isinstance(modalities, dict) or not modalities:
        raise MamolError(f'{path}: modalities is {modalities!r}; expected {{"hsi": {{"file": "HSI.mat"}}, …}}')
    classes = classes_of(path, content)
    for name in modalities:
        _check_name(path, "modalities", name)
    names = canonical_all(modalities)
    polygons = vector_labels(path, content)
    read = [read_raster(path, f"modalities.{key}", value) for key, value in modalities.items()]
    return SceneFacts(
        name=name_of(path, content, path.parent.resolve().name),
        modalities={name: place for name, (place, _) in zip(names, read, strict=True)},
        rasters={name: raster for name, (_, raster) in zip(names, read, strict=True)},
        grid=read_grid(path, content.get("grid"), names),
        default_modalities=names,
        labels=() if polygons else read_file(path, "labels", content.get("labels")),
        polygons=polygons,
        train_labels=read_file(path, "train_labels", content.get("train_labels")),
        test_labels=read_file(path, "test_labels", content.get("test_labels")),
        classes=classes,
        colours=colours_of(path, content, classes),
        note=text_of(path, content, "note", ""),
        split=split_of(path, "split", content.get("split", "")),
    )


def json_of(path: Path) -> dict[str, Any]:
    """What a scene.json holds.

    Args:
        path: The file.

    Raises:
        MamolError: If it cannot be read, or is no JSON object that means one thing.
    """
    try:
        content = plainjson.loads(path.read_text("utf-8"))
    except PermissionError as error:
        raise unreadable(path, "scene.json", error) from error
    except OSError as error:
        raise MamolError(f"scene {path}: cannot be read ({why(error)}); give the path of a scene.json") from error
    except ValueError as error:
        if path.suffix.lower() != ".json":
            raise MamolError(
                f"{path}: a file, and no scene.json; give the folder of the raw files, or the scene.json in it"
            ) from error
        raise MamolError(f"{path}: not valid JSON ({why(error)}); see docs/DATASETS.md for the format") from error
    if not isinstance(content, dict):
        raise MamolError(f"{path}: expected one JSON object; see docs/DATASETS.md for the format")
    return content


def check_keys(path: Path, content: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuses keys that mean nothing.

    Args:
        path: The file, for messages.
        content: What it holds.
        known: The keys that it may have.

    Raises:
        MamolError: If it has another.
    """
    if unknown := sorted(set(content) - set(known)):
        raise MamolError(f"{path}: unknown key {', '.join(unknown)}; known are {', '.join(known)}")


def classes_of(path: Path, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes, in label order; none where none are given.

    Args:
        path: The file, for messages.
        content: What it holds.

    Raises:
        MamolError: If they are no names, or one is there twice.
    """
    classes = content.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) and name for name in classes):
        raise MamolError(f"{path}: classes is {classes!r}; expected a list of names in label order")
    if len(set(classes)) < len(classes):
        raise MamolError(f"{path}: classes has a name twice; give every class its own name")
    if long := next((name for name in classes if len(name) > LONGEST), None):
        raise MamolError(f"{path}: classes has a name of {len(long)} letters; at most {LONGEST} are expected")
    return tuple(classes)


def split_of(path: Path, key: str, value: object) -> str:
    """A split that a scene belongs to.

    Args:
        path: The file, for messages.
        key: Of the entry, for messages.
        value: What it says; empty: nothing.

    Raises:
        MamolError: If there is no such split.
    """
    if value not in ("", *SPLITS):
        raise MamolError(f"{path}: {key} is {value!r}; expected one of {', '.join(SPLITS)}")
    return str(value)


def colours_of(path: Path, content: Mapping[str, Any], classes: Sequence[str]) -> tuple[str, ...]:
    """``#rrggbb`` of each class, in label order; none where none are given.

    Args:
        path: The file, for messages.
        content: What it holds.
        classes: Names of the classes.

    Raises:
        MamolError: If they are no colours, or not those of the classes.
    """
    given = content.get("colours", [])
    if not isinstance(given, list | dict):
        raise MamolError(f"{path}: colours is {given!r}; expected a list in label order, or class name -> colour")
    if not given:
        return ()
    if isinstance(given, dict):
        if differing := sorted(set(given) ^ set(classes)):
            raise MamolError(f"{path}: colours and classes differ in {', '.join(differing)}; name every class in both")
        given = [given[name] for name in classes]
    if len(given) != len(classes):
        raise MamolError(f"{path}: colours has {len(given)} entries, classes {len(classes)}; give one for each class")
    wrong = [each for each in given if not _is_colour(each)]
    if wrong:
        raise MamolError(
            f"{path}: colours has {wrong[0]!r}; expected '#rrggbb' or a name of matplotlib's, such as 'navy'"
        )
    return tuple(to_hex(each) for each in given)


def _is_colour(value: object) -> bool:
    """Whether it is ``#rrggbb`` or a name; matplotlib's greys, cycles and transparency make no sense on a map."""
    named = isinstance(value, str) and value in get_named_colors_mapping()
    return named or (isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value) is not None)


def name_of(path: Path, content: Mapping[str, Any], default: str) -> str:
    """The name of a scene or an area, which files are called after.

    Args:
        path: The file, for messages.
        content: What it holds.
        default: What it is called otherwise.

    Raises:
        MamolError: If it is no text, too long, or would lead files out of their folder.
    """
    return _check_name(path, "name", text_of(path, content, "name", default))


def _check_name(path: Path, key: str, name: str) -> str:
    if len(name) > LONGEST:
        raise MamolError(f"{path}: {key} has {len(name)} letters; at most {LONGEST} are expected, as files carry it")
    pure = PurePath(name)
    if pure.is_absolute() or ".." in pure.parts or not name.isprintable():
        raise MamolError(f"{path}: {key} is {name!r}; files are called after it, so give one without a path in it")
    return name


def text_of(path: Path, content: Mapping[str, Any], key: str, default: str) -> str:
    """A text.

    Args:
        path: The file, for messages.
        content: What it holds.
        key: Of the text.
        default: What stands for a key that is not there.

    Raises:
        MamolError: If it is none.
    """
    value = content.get(key, default)
    if not isinstance(value, str):
        raise MamolError(f"{path}: {key} is {value!r}; expected text")
    return value
