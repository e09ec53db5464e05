"""A scene: the rasters of several sensors on one grid, with label maps."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mamol.core import plainjson
from mamol.core.errors import MamolError
from mamol.core.names import canonical_all
from mamol.data.facts import ANY_SCENE, SceneFacts, facts_of
from mamol.data.labels import LabelMaps, class_names, read_label_maps
from mamol.data.opening import is_file
from mamol.data.patches import Cutter, SampleCutter, WindowCutter
from mamol.data.polygons import read_polygons
from mamol.data.precut import find_precut, read_precut
from mamol.data.rasters import open_readers, scene_grid
from mamol.data.reading import GeoReference, RawFolder
from mamol.data.scenejson import read_scene_json
from mamol.data.sources import Source

__all__ = ["GeoReference", "Scene", "load_scene", "tell_invalid"]
LOGGER = logging.getLogger(__name__)
SCENE_JSON = "scene.json"


@dataclass(frozen=True)
class Scene:
    """One scene: in memory, or its files open to be read in parts.

    A pre-cut release, which holds samples instead of a scene, is a scene of one column: sample i is pixel (i, 0), and
    the rasters hold its windows.

    Attributes:
        name: Name of the dataset.
        rasters: Modality -> (H, W, C) in the file's type if every pixel is valid, else float32, where an invalid pixel
            is NaN in all bands; (N, 1, C, P, P) for a pre-cut release; empty if the scene is not in memory.
        classes: Names of the classes 1 … K.
        maps: The label maps; None if the folder has none.
        georeference: Where the grid lies; None if no file says so.
        sources: File name relative to the root -> sha256.
        window_size: Side of the windows of a pre-cut release; None for a whole scene.
        facts: What was known about the dataset in advance.
        readers: Modality -> what reads any rectangle of it; empty for a pre-cut release.
    """

    name: str
    rasters: dict[str, np.ndarray]
    classes: tuple[str, ...]
    maps: LabelMaps | None
    georeference: GeoReference | None
    sources: dict[str, str]
    window_size: int | None = None
    facts: SceneFacts = ANY_SCENE
    readers: Mapping[str, Source] = field(default_factory=dict)

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
        return self._sizes()[0][0]

    @property
    def width(self) -> int:
        """Columns of the grid."""
        return self._sizes()[0][1]

    @property
    def channels(self) -> dict[str, int]:
        """Modality -> number of bands."""
        return dict(zip(self.rasters or self.readers, (size[2] for size in self._sizes()), strict=True))

    def _sizes(self) -> list[tuple[int, ...]]:
        """Height, width and bands of each modality."""
        if self.rasters:
            return [raster.shape[:3] for raster in self.rasters.values()]
        return [(reader.height, reader.width, reader.bands) for reader in self.readers.values()]

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
    whole: bool = True,
    among: Sequence[str] | None = None,
    inside: Path | None = None,
) -> Scene:
    """Reads a scene, checks that its files fit together and brings them to one form.

    Args:
        dataset: A name in ``facts.DATASETS``; ``scene`` for any other scene.
        root: Folder of the raw files, or the scene.json in it, which then describes the scene whatever ``dataset`` is.
        modalities: Which to read, in this order; None: those of the dataset's entry.
        scene_file: The scene.json of dataset ``scene``; None: the one in ``root``, else files with the common names.
        need_labels: False for prediction: a folder without labels is then fine.
        whole: False: no raster is read into memory, ``readers`` read parts of it; nor are labels of a scene whose
            files say where they lie.
        among: Class names of the area of which this scene is a part: it takes them if it lists none, and need not have
            every class; None: it stands alone.
        inside: The folder of that area, which relative names of files must not leave; None: ``root``.

    Raises:
        MamolError: If a file or variable is missing or broken, or files do not fit together.
    """
    facts, folder = _describe(dataset, Path(root), scene_file)
    folder.inside = inside
    alone = among is None
    facts = replace(facts, classes=facts.classes or tuple(among or ()))
    names = _chosen(facts, folder, modalities)
    precut = find_precut(facts, folder)
    if precut is not None:
        if not need_labels:
            raise MamolError(f"{folder.root}: a pre-cut release holds samples, not a scene; there is no map to draw")
        samples = read_precut(precut, folder, names, facts.name)
        tell_invalid(facts.name, samples.windows)
        maps: LabelMaps | None = samples.maps
        scene = Scene(facts.name, samples.windows, (), maps, None, folder.sources, samples.window_size, facts)
    else:
        maps = _labels(facts, folder, names, needed=need_labels, whole=whole)
        readers = open_readers(facts, folder, names, folder.grid, maps.every.shape if maps else None)
        rasters = {name: reader.whole() for name, reader in readers.items()} if whole else {}
        tell_invalid(facts.name, rasters)
        scene = Scene(facts.name, rasters, (), maps, None, folder.sources, facts=facts, readers=readers)
        scene = replace(scene, georeference=_place(folder, (scene.height, scene.width)))
        if facts.polygons and need_labels:
            shape, place = (scene.height, scene.width), scene.georeference
            maps, facts = read_polygons(facts, facts.polygons, folder, shape, place, alone=alone)
            scene = replace(scene, maps=maps, facts=facts)
    names = class_names(facts, maps.every, folder.root, alone=alone) if maps and need_labels else facts.classes
    scene = replace(scene, classes=names)
    _compare_with_facts(scene)
    return scene


def _labels(
    facts: SceneFacts, folder: RawFolder, names: Sequence[str], *, needed: bool, whole: bool
) -> LabelMaps | None:
    """The label maps on the scene's grid, which the folder knows from now on.

    Without a place, the label map is what tells rows from columns in the rasters; with one, it can be left alone.
    """
    folder.grid = grid = scene_grid(facts, folder, names)
    if facts.polygons or (grid is not None and not whole):
        return None
    maps = read_label_maps(facts, folder, needed=needed)
    if grid is not None and maps is not None and sorted(maps.every.shape) != sorted(grid.shape):
        height, width = maps.every.shape
        raise MamolError(
            f"{folder.root}: the label map has {height} x {width} pixels without georeference, the scene's grid "
            f"{grid.height} x {grid.width} ({grid}); draw it there, or save it as a GeoTIFF with its place"
        )
    return maps


def _place(folder: RawFolder, shape: tuple[int, int]) -> GeoReference | None:
    """Where the scene lies: its grid, unless the label map turned it round, else as label rasters say."""
    if folder.grid is not None:
        return folder.grid.georeference if folder.grid.shape == shape else None
    return folder.georeference(shape)


def tell_invalid(scene: str, rasters: Mapping[str, np.ndarray]) -> None:
    """Says how much of each modality is invalid.

    Args:
        scene: Its name, for messages.
        rasters: Modality -> (H, W, C), or (N, 1, C, P, P) of a pre-cut release, NaN at invalid pixels.

    Raises:
        MamolError: If no pixel of a modality is valid.
    """
    for name, raster in rasters.items():
        if raster.dtype.kind != "f" or not (invalid := np.isnan(raster[:, :, 0])).any():
            continue
        if invalid.all():
            raise MamolError(
                f"{scene}: {name}: none of its {' x '.join(map(str, invalid.shape))} pixels is valid; all are nodata, "
                "NaN, masked or outside its files: check its nodata, mask and bands, or leave the modality out"
            )
        LOGGER.warning("%s: %s: %.3g %% of the pixels are invalid", scene, name, 100 * invalid.mean())


def _describe(dataset: str, root: Path, scene_file: Path | None) -> tuple[SceneFacts, RawFolder]:
    facts = facts_of(dataset)
    if is_file(root):
        described = read_scene_json(root)
        known = facts.colours if described.classes == facts.classes else ()
        return replace(described, colours=described.colours or known), RawFolder(root.parent)
    folder = RawFolder(root)
    if facts is not ANY_SCENE:
        if scene_file is not None:
            raise MamolError(f"scene {scene_file}: only --dataset scene takes a scene.json, not {facts.name}")
        if (root / SCENE_JSON).is_file():
            LOGGER.warning(
                "%s: not read, as dataset %s is described in the program; --dataset scene builds tables by the file",
                root / SCENE_JSON,
                facts.name,
            )
        return facts, folder
    if scene_file is None and is_file(root / SCENE_JSON):
        scene_file = root / SCENE_JSON
    if scene_file is not None:
        return read_scene_json(Path(scene_file)), folder
    return replace(ANY_SCENE, name=root.resolve().name, classes=_classes_in_meta_json(root)), folder


def _classes_in_meta_json(root: Path) -> tuple[str, ...]:
    """Class names of a folder without scene.json, if a meta.json lists them in label order."""
    try:
        classes = plainjson.loads((root / "meta.json").read_text("utf-8"))["classes"]
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
