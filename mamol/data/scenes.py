"""A scene: the rasters of several sensors on one grid, with label maps."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.names import canonical_all
from mamol.data.facts import ANY_SCENE, SceneFacts, facts_of
from mamol.data.labels import LabelMaps, class_names, read_label_maps
from mamol.data.patches import Cutter, SampleCutter, WindowCutter
from mamol.data.polygons import read_polygons
from mamol.data.precut import find_precut, read_precut
from mamol.data.reading import GeoReference, RawFolder, as_raster
from mamol.data.scenejson import read_scene_json

__all__ = ["GeoReference", "Scene", "load_scene"]
LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scene:
    """One scene in memory.

    A pre-cut release, which holds samples instead of a scene, is a scene of one column: sample i is pixel (i, 0), and
    the rasters hold its windows.

    Attributes:
        name: Name of the dataset.
        rasters: Modality -> (H, W, C) in the file's type; (N, 1, C, P, P) for a pre-cut release.
        classes: Names of the classes 1 … K.
        maps: The label maps; None if the folder has none.
        georeference: Where the grid lies; None if no file says so.
        sources: File name relative to the root -> sha256.
        window_size: Side of the windows of a pre-cut release; None for a whole scene.
        facts: What was known about the dataset in advance.
    """

    name: str
    rasters: dict[str, np.ndarray]
    classes: tuple[str, ...]
    maps: LabelMaps | None
    georeference: GeoReference | None
    sources: dict[str, str]
    window_size: int | None = None
    facts: SceneFacts = ANY_SCENE

    @property
    def labels(self) -> np.ndarray | None:
        """(H, W) int64, 0 unlabelled, 1 … K; None if the folder has no labels."""
        return self.maps.every if self.maps else None

    @property
    def train_labels(self) -> np.ndarray | None:
        """The official training pixels, in the same way."""
        return self.maps.train if self.maps else None

    @property
    def test_labels(self) -> np.ndarray | None:
        """The official test pixels."""
        return self.maps.test if self.maps else None

    @property
    def colours(self) -> dict[str, str]:
        """Class name -> ``#rrggbb``; empty where nobody chose any."""
        return dict(zip(self.facts.classes, self.facts.colours, strict=False))

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return next(iter(self.rasters.values())).shape[0]

    @property
    def width(self) -> int:
        """Columns of the grid."""
        return next(iter(self.rasters.values())).shape[1]

    @property
    def channels(self) -> dict[str, int]:
        """Modality -> number of bands."""
        return {name: raster.shape[2] for name, raster in self.rasters.items()}

    def cutter(self, modality: str, size: int) -> Cutter:
        """What cuts the windows of a modality.

        Args:
            modality: A name in ``rasters``.
            size: Side P of the windows, in pixels; not looked at for a pre-cut release, whose windows are cut already.
        """
        raster = self.rasters[modality]
        return WindowCutter(raster, size) if self.window_size is None else SampleCutter(raster)


def load_scene(
    dataset: str,
    root: Path,
    *,
    modalities: Sequence[str] | None = None,
    scene_file: Path | None = None,
    need_labels: bool = True,
) -> Scene:
    """Reads a scene, checks that its files fit together and brings them to one form.

    Args:
        dataset: A name in ``facts.DATASETS``; ``scene`` for any other scene.
        root: Folder of the raw files, or the scene.json in it, which then describes the scene whatever ``dataset`` is.
        modalities: Which to read, in this order; None: those of the dataset's entry.
        scene_file: The scene.json of dataset ``scene``; None: the one in ``root``, else files with the common names.
        need_labels: False for prediction: a folder without labels is then fine.

    Raises:
        MamolError: If a file or variable is missing or broken, or files do not fit together.
    """
    facts, folder = _describe(dataset, Path(root), scene_file)
    names = _chosen(facts, folder, modalities)
    precut = find_precut(facts, folder)
    if precut is not None:
        if not need_labels:
            raise MamolError(f"{folder.root}: a pre-cut release holds samples, not a scene; there is no map to draw")
        samples = read_precut(precut, folder, names, facts.name)
        maps: LabelMaps | None = samples.maps
        rasters, size = samples.windows, samples.window_size
    else:
        maps = None if facts.polygons else read_label_maps(facts, folder, needed=need_labels)
        rasters, size = _rasters(facts, folder, names, maps.every.shape if maps else None), None
        if facts.polygons and need_labels:
            # Polygons are burned onto the rasters' grid, whose place nothing else says.
            height, width = next(iter(rasters.values())).shape[:2]
            place = folder.georeference((height, width))
            maps, facts = read_polygons(facts, facts.polygons, folder, (height, width), place)
    scene = Scene(
        name=facts.name,
        rasters=rasters,
        classes=class_names(facts, maps.every, folder.root) if maps and need_labels else facts.classes,
        maps=maps,
        georeference=folder.georeference(next(iter(rasters.values())).shape[:2]),
        sources=folder.sources,
        window_size=size,
        facts=facts,
    )
    _compare_with_facts(scene)
    return scene


def _describe(dataset: str, root: Path, scene_file: Path | None) -> tuple[SceneFacts, RawFolder]:
    facts = facts_of(dataset)
    if root.is_file():
        described = read_scene_json(root)
        known = facts.colours if described.classes == facts.classes else ()
        return replace(described, colours=described.colours or known), RawFolder(root.parent)
    folder = RawFolder(root)
    if facts is not ANY_SCENE:
        if scene_file is not None:
            raise MamolError(f"scene {scene_file}: only --dataset scene takes a scene.json, not {facts.name}")
        return facts, folder
    if scene_file is None and (root / "scene.json").is_file():
        scene_file = root / "scene.json"
    if scene_file is not None:
        return read_scene_json(Path(scene_file)), folder
    return replace(ANY_SCENE, name=root.resolve().name, classes=_classes_in_meta_json(root)), folder


def _classes_in_meta_json(root: Path) -> tuple[str, ...]:
    """Class names of a folder without scene.json, if a meta.json lists them in label order."""
    try:
        classes = json.loads((root / "meta.json").read_text("utf-8"))["classes"]
    except (OSError, ValueError, KeyError, TypeError):
        return ()
    names = list(classes.values()) if isinstance(classes, dict) else classes
    fits = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not fits or (isinstance(classes, dict) and list(classes) != [str(k + 1) for k in range(len(names))]):
        LOGGER.warning("%s: its classes are not names in label order; they are not used", root / "meta.json")
        return ()
    return tuple(names)


def _chosen(facts: SceneFacts, folder: RawFolder, modalities: Sequence[str] | None) -> tuple[str, ...]:
    if modalities is None:
        here = tuple(name for name, places in facts.modalities.items() if folder.has(places))
        names = facts.default_modalities or here
        if not names:
            expected = ", ".join(str(place) for places in facts.modalities.values() for place in places)
            raise MamolError(f"{folder.root}: no raster under a common name ({expected}); describe it in a scene.json")
        return names
    names = canonical_all(modalities)
    unknown = [name for name in names if name not in facts.modalities]
    if unknown:
        raise MamolError(f"modalities: {facts.name} has no {', '.join(unknown)}; it has {', '.join(facts.modalities)}")
    return names


def _rasters(
    facts: SceneFacts, folder: RawFolder, names: Sequence[str], shape: tuple[int, ...] | None
) -> dict[str, np.ndarray]:
    rasters: dict[str, np.ndarray] = {}
    for name in names:
        found = folder.read(facts.modalities[name], f"modality {name}")
        rasters[name] = as_raster(found.array, shape, found.path)
        # Without labels the first raster sets the grid.
        shape = shape or rasters[name].shape[:2]
    return rasters


def _compare_with_facts(scene: Scene) -> None:
    """Warns where bands or class counts are not the published ones: another release, or another dataset."""
    facts = scene.facts
    for name, bands in scene.channels.items():
        if scene.window_size is None and name in facts.bands and bands not in facts.bands[name]:
            expected = " or ".join(map(str, facts.bands[name]))
            LOGGER.warning("%s: %s has %d bands, the known releases have %s", scene.name, name, bands, expected)
    if scene.labels is None or scene.window_size is not None or not facts.counts:
        return
    counts = np.bincount(scene.labels.ravel(), minlength=len(facts.counts) + 1)[1:]
    if tuple(counts) != facts.counts:
        LOGGER.warning(
            "%s: labelled pixels per class are %s, published are %s", scene.name, list(map(int, counts)), facts.counts
        )
