"""Labels of a scene.json that are polygons or points in a vector file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from mamol.core.errors import MamolError

VECTOR_SUFFIXES = (".gpkg", ".geojson", ".json", ".shp")
_KEYS = ("file", "layer", "column", "split", "merge")
_ONLY_VECTOR = frozenset(_KEYS) - {"file"}
_EXAMPLE = '{"file": "fields.gpkg", "layer": "fields", "column": "crop"}'


@dataclass(frozen=True)
class VectorLabels:
    """Polygons or points with a class each.

    Attributes:
        file: File name relative to the scene's root.
        layer: Layer of the file; empty: its only one.
        column: Column that holds the class; empty: a message lists the columns.
        split: Column that says train, val or test for each polygon; empty: none.
        merge: Class in the file -> the class that it counts as; None leaves its polygons out.
    """

    file: str
    layer: str = ""
    column: str = ""
    split: str = ""
    merge: Mapping[str, str | None] = field(default_factory=dict)


def vector_labels(path: Path, content: Mapping[str, Any]) -> VectorLabels | None:
    """The labels of a scene.json, where they are a vector file.

    Args:
        path: The scene.json, for messages.
        content: What it holds.

    Returns:
        None if it is anything else, such as a label map.

    Raises:
        MamolError: If keys of a vector file stand beside another file, or a key has a wrong value.
    """
    value = content.get("labels")
    if not isinstance(value, dict) or not isinstance(value.get("file"), str):
        return None
    file = value["file"]
    given = sorted(_ONLY_VECTOR & set(value))
    if PurePath(file).suffix.lower() not in VECTOR_SUFFIXES:
        if given:
            raise MamolError(
                f"{path}: labels.{given[0]} goes with a vector file ({', '.join(VECTOR_SUFFIXES)}), and labels.file is "
                f"{file!r}; leave it out or name another file"
            )
        return None
    if unknown := sorted(set(value) - set(_KEYS)):
        raise MamolError(
            f"{path}: labels has the key {unknown[0]}, which a vector file does not take; known are {', '.join(_KEYS)}"
        )
    for key in ("train_labels", "test_labels"):
        if content.get(key) is not None:
            raise MamolError(
                f'{path}: {key} goes with a label map, and labels is the vector file {file!r}; "split" in labels names '
                "a column that says train, val or test"
            )
    texts = {key: value[key] for key in ("layer", "column", "split") if value.get(key) is not None}
    for key, text in texts.items():
        if not isinstance(text, str) or not text:
            raise MamolError(f"{path}: labels.{key} is {text!r}; expected a name, as in {_EXAMPLE}")
    return VectorLabels(file, **texts, merge=_merge(path, value.get("merge", {})))


def _merge(path: Path, given: Any) -> dict[str, str | None]:  # noqa: ANN401 - JSON from the user
    fits = isinstance(given, dict) and all(each is None or (isinstance(each, str) and each) for each in given.values())
    if not fits:
        raise MamolError(
            f'{path}: labels.merge is {given!r}; expected class -> class, as in {{"maize": "crop"}}; null leaves it out'
        )
    return dict(given)
