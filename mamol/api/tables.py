"""Building tables: one function for every kind of dataset, and for arrays."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from mamol.api.made import Made
from mamol.core.errors import MamolError
from mamol.core.options import listed
from mamol.core.plugins import load_plugins
from mamol.data import prepare as scenes
from mamol.data.arrays import scene_of
from mamol.data.facts import DATASETS
from mamol.data.imagetext import prepare as image_text
from mamol.data.imagetext import registry
from mamol.data.imagetext.facts import ImageTextOptions
from mamol.data.opening import check_out
from mamol.data.prepare import Options

ARRAYS = "scene"
"""The dataset that tables of arrays are of: a custom scene."""
_NAMES = {each.name for each in fields(Options)}
Request = TypeVar("Request", Options, ImageTextOptions)


class Tables(Made):
    """Tables that were built; the report has counts, shortfalls, overlap and files."""


def build_tables(
    source: Mapping[str, ArrayLike] | Path | str,
    labels: ArrayLike | None = None,
    *,
    out: Path | str,
    classes: Sequence[str] = (),
    plugins: str | Sequence[str] = (),
    **options: Any,  # noqa: ANN401 - of any option
) -> Tables:
    """Builds train, val and test tables from arrays or raw files.

    Args:
        source: Modality to array (H, W, C) or (H, W); or a folder of raw files; or the scene.json in one.
        labels: Of arrays: (H, W), 0 is unlabelled, classes from 1.
        out: Folder of the tables; tables that are there are replaced.
        classes: Of arrays: names of the classes 1 … K; empty: "class 1" and so on.
        plugins: Python files that register datasets.
        options: Of make_arrow.py, by name: ``dataset``, ``patch_size=8``, ``protocol="blocks"``, ``modalities``,
            ``train_per_class`` …; of arrays also ``name``, which figures and reports call the scene by.

    Returns:
        The tables, with a report.

    Raises:
        MamolError: An option, an array or a raw file is wrong, or the tables cannot be written.
    """
    load_plugins(listed(plugins))
    given = {**options, "out": Path(out)}
    if "modalities" in given:
        given["modalities"] = tuple(listed(given["modalities"]))
    if isinstance(source, Mapping):
        return _of_arrays(source, labels, classes, given)
    for what, value in (("labels", labels is not None), ("classes", bool(classes)), ("name", "name" in given)):
        if value:
            raise MamolError(f"{what}: belongs to arrays; of files, the scene.json says it (docs/DATASETS.md)")
    root = Path(source)
    if root.is_file():
        given["scene_file"], root = root, root.parent
    request = options_of({"dataset": ARRAYS, **given, "root": root})
    return Tables(request.out, build(request))


def _of_arrays(
    arrays: Mapping[str, ArrayLike], labels: ArrayLike | None, classes: Sequence[str], given: dict[str, Any]
) -> Tables:
    if labels is None:
        raise MamolError("labels: tables need them; give an array (H, W), 0 is unlabelled, classes from 1")
    name, dataset = given.pop("name", "arrays"), given.pop("dataset", ARRAYS)
    if dataset != ARRAYS:
        raise MamolError(f"dataset {dataset!r}: arrays are a scene of their own; leave dataset out")
    chosen = given.get("modalities", tuple(arrays))
    unknown = [each for each in chosen if each not in arrays]
    if unknown:
        raise MamolError(f"modalities: no array is called {', '.join(unknown)}; there are {', '.join(arrays)}")
    request = _checked(Options, {**given, "dataset": ARRAYS, "root": Path(name)}, _NAMES, str)
    check_out(request.out)
    scene = scene_of({each: arrays[each] for each in chosen}, labels, classes=classes, name=name)
    return Tables(request.out, scenes.prepare(request, scene))


def build(request: Options | ImageTextOptions) -> str:
    """Builds tables of raw files.

    Args:
        request: What to build. Everything is checked before anything is written.

    Returns:
        A report for people.

    Raises:
        MamolError: An option or a raw file is wrong, or the tables cannot be written.
    """
    check_out(request.out)
    return image_text.prepare(request) if isinstance(request, ImageTextOptions) else scenes.prepare(request)


def options_of(given: Mapping[str, Any], spelt: Callable[[str], str] = str) -> Options | ImageTextOptions:
    """The options of a dataset's kind.

    Args:
        given: Option to value; ``dataset``, ``root`` and ``out`` are among them.
        spelt: How the user writes an option, for messages.

    Raises:
        MamolError: There is no such dataset, or an option is not for it or no whole number where one is needed.
    """
    dataset = str(given["dataset"])
    facts, known = registry.find(dataset), (*DATASETS, *registry.IMAGE_TEXT_DATASETS)
    if facts is None and dataset.lower() not in DATASETS:
        raise MamolError(f"dataset {dataset!r} is unknown; known: {', '.join(known)}")
    if facts is None:
        return _checked(Options, given, _NAMES, spelt)
    return _checked(ImageTextOptions, given, registry.options_of(facts), spelt)


def _checked(kind: type[Request], given: Mapping[str, Any], allowed: set[str], spelt: Callable[[str], str]) -> Request:
    """Options of a kind, none that is not allowed, whole numbers where they are needed."""
    foreign = [spelt(name) for name in given if name not in allowed]
    if foreign:
        takes = ", ".join(sorted(spelt(name) for name in allowed if name not in ("dataset", "root", "out")))
        raise MamolError(f"{', '.join(foreign)}: not for dataset {given['dataset']}, which takes {takes}")
    for each in fields(kind):
        value = given.get(each.name)
        if each.type in (int, int | None) and value is not None and type(value) is not int:
            raise MamolError(f"{spelt(each.name)} {value!r}: expected a whole number")
    return kind(**given)
