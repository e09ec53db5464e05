"""Reads the scenes of an area: one list of classes, the same modalities, polygons with numbers of their own."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mamol.core.errors import MamolError
from mamol.data.area import Area, colours_of
from mamol.data.areajson import AreaFacts, inside
from mamol.data.facts import SceneFacts
from mamol.data.polygons import class_order
from mamol.data.scenejson import read_scene_json
from mamol.data.scenes import Scene, load_scene


def read_area(area: AreaFacts, modalities: Sequence[str] | None = None) -> Area:
    """Reads the scenes of an area into memory.

    Args:
        area: Which they are.
        modalities: Which to read, in this order; None: those of the first scene.

    Returns:
        The scenes with the classes of all of them, and their labels renumbered.

    Raises:
        MamolError: If a scene cannot be read, two have one name, other modalities or bands, or the classes of all do
            not fit together.
    """
    described = [read_scene_json(file) for file in area.files]
    _check_names(area, described)
    scenes = [
        load_scene(
            "scene", file.parent, modalities=modalities, scene_file=file, among=area.classes, inside=inside(area, file)
        )
        for file in area.files
    ]
    scenes = _like_the_first(scenes, [file.parent for file in area.files])
    classes = _classes(area, described, scenes)
    scenes = _numbered(scenes, classes)
    _check_classes(area, scenes, classes)
    scenes = _own_polygons(scenes, described, area.files)
    known: dict[str, str] = {}
    for facts in reversed(described):  # so that the first scene that names a colour counts
        known |= dict(zip(facts.classes, facts.colours, strict=False))
    known |= dict(zip(area.classes, area.colours, strict=False))
    splits = tuple(own or facts.split for own, facts in zip(area.splits, described, strict=True))
    note = area.note if len(scenes) > 1 else area.note or described[0].note
    return Area(area.name, tuple(scenes), note, colours_of(classes, known), splits)


def _check_names(area: AreaFacts, described: Sequence[SceneFacts]) -> None:
    name, times = Counter(facts.name for facts in described).most_common(1)[0]
    if times > 1:
        files = [str(file) for file, facts in zip(area.files, described, strict=True) if facts.name == name]
        raise MamolError(
            f"{area.name}: {' and '.join(files)} are both called {name!r}; list a scene once, and give each its own "
            '"name"'
        )


def _like_the_first(scenes: Sequence[Scene], folders: Sequence[Path]) -> list[Scene]:
    """The scenes with their modalities in the order of the first.

    Raises:
        MamolError: If one has other modalities, or other bands.
    """
    first = scenes[0].channels
    for scene, folder in zip(scenes, folders, strict=True):
        if scene.channels != first:
            raise MamolError(
                f"scenes of one table have the same modalities and bands: {folders[0]} has {_listed(first)}, {folder} "
                f'{_listed(scene.channels)}; choose with --modalities, or with "bands" in a scene.json'
            )
    return [replace(scene, rasters={name: scene.rasters[name] for name in first}) for scene in scenes]


def _listed(channels: Mapping[str, int]) -> str:
    return ", ".join(f"{name} with {bands} band{'s' * (bands != 1)}" for name, bands in channels.items())


def _classes(area: AreaFacts, described: Sequence[SceneFacts], scenes: Sequence[Scene]) -> tuple[str, ...]:
    """The classes of all scenes: as the area lists them, as all scenes do, or sorted.

    Raises:
        MamolError: If a scene has a class that the area does not list, or some scenes name classes and others do not.
    """
    found = {name for scene in scenes for name in scene.classes}
    if area.classes:
        if unknown := sorted(found - set(area.classes)):
            raise MamolError(
                f"{area.name}: {', '.join(unknown[:5])} not among its classes {', '.join(area.classes)}; add it there"
            )
        return area.classes
    plain = [facts.name for facts in described if not facts.classes and not facts.polygons]
    if 0 < len(plain) < len(described):
        raise MamolError(
            f"{area.name}: {', '.join(plain)} has class numbers without names, and other scenes name theirs; add "
            '"classes" to its scene.json'
        )
    listed = {facts.classes for facts in described}
    if len(listed) == 1 and (order := listed.pop()):
        return order
    # Numbered classes are called "class 1" and so on, and sorted by the number.
    return tuple(sorted(found, key=lambda name: class_order(name.removeprefix("class ") if plain else name)))


def _numbered(scenes: Sequence[Scene], classes: tuple[str, ...]) -> list[Scene]:
    """The scenes with labels that number the classes of all."""
    result = []
    for scene in scenes:
        assert scene.maps is not None  # load_scene refuses a scene without labels
        number = np.array([0, *(classes.index(name) + 1 for name in scene.classes)], np.int64)
        labels = {name: getattr(scene.maps, name) for name in ("every", "train", "test")}
        renumbered = {name: number[each] for name, each in labels.items() if each is not None}
        result.append(replace(scene, classes=classes, maps=replace(scene.maps, **renumbered)))
    return result


def _check_classes(area: AreaFacts, scenes: Sequence[Scene], classes: tuple[str, ...]) -> None:
    there = {int(number) for scene in scenes if scene.maps for number in np.unique(scene.maps.every)}
    if empty := [name for number, name in enumerate(classes, 1) if number not in there]:
        raise MamolError(
            f"{area.name}: no scene has a pixel of {', '.join(empty[:5])}; take it out of classes, or number them "
            "without gaps"
        )


def _own_polygons(scenes: Sequence[Scene], described: Sequence[SceneFacts], files: Sequence[Path]) -> list[Scene]:
    """The scenes with polygon numbers that no other scene has, unless the polygons are of one file."""
    layers = [_layer(facts, file.parent) for facts, file in zip(described, files, strict=True)]
    highest: dict[str, int] = {}
    for scene, layer in zip(scenes, layers, strict=True):
        if scene.maps is not None and scene.maps.polygons is not None:
            highest[layer] = max(highest.get(layer, 0), int(scene.maps.polygons.max()))
    before = dict(zip(highest, np.cumsum([0, *highest.values()]), strict=False))
    result = []
    for scene, layer in zip(scenes, layers, strict=True):
        if scene.maps is not None and scene.maps.polygons is not None:
            own = scene.maps.polygons
            moved = np.where(own > 0, own + np.uint32(before[layer]), own)
            scene = replace(scene, maps=replace(scene.maps, polygons=moved))
        result.append(scene)
    return result


def _layer(facts: SceneFacts, folder: Path) -> str:
    """What tells the polygons of a scene from those of others: where they lie, and how they are read."""
    if facts.polygons is None:
        return ""
    return repr(replace(facts.polygons, file=str((folder / facts.polygons.file).resolve())))
