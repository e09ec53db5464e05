"""What pre-training learns from: windows of scenes, labelled or not. No label is looked at.

A scene gives a window around every pixel that a sensor saw. A table with layout ``scene`` has the same in its rasters;
one with layout ``patches`` has the windows of its samples, of all splits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.modality import WINDOW, Modality
from mamol.core.names import SPLITS
from mamol.data import holes
from mamol.data.areajson import find_area, inside
from mamol.data.extents import Extent, Extents
from mamol.data.facts import SceneFacts
from mamol.data.patches import ChunkedRows, WindowCutter
from mamol.data.scenes import Scene, load_scene
from mamol.data.scenetable import SceneTable, open_rasters
from mamol.data.tables import open_tables

DEFAULT_SIDE = 14
"""Side of the windows, as of make_arrow.py."""
SLICE = 2**16
"""Pixels that are looked at together, so that memory stays small."""
Numbers = NDArray[np.int64]
Cut = Callable[[Numbers], NDArray[np.float32]]
"""From the numbers of windows (B,) to them, (B, C, P, P), NaN where the sensor saw nothing."""


@dataclass(frozen=True)
class Ground:
    """Windows of the same sensors.

    Attributes:
        name: Of the scene or table.
        sensors: What there is, in order.
        side: P of the windows.
        windows: How many draws make an epoch: as many as cover the scene once.
        natural: (N, M) bool, which sensors have each window by nature; every row has one.
        numbers: (N,), what ``cut`` calls these windows.
        cut: Modality to what reads its windows.
        mean: Modality to one number per band.
        std: Modality to one number per band.
        sources: Raw file, with the name in front -> sha256.
        synthetic: Whether nobody ever saw it.
    """

    name: str
    sensors: tuple[Modality, ...]
    side: int
    windows: int
    natural: NDArray[np.bool_]
    numbers: Numbers
    cut: Mapping[str, Cut]
    mean: Mapping[str, Sequence[float]]
    std: Mapping[str, Sequence[float]]
    sources: Mapping[str, str]
    synthetic: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(sensor.name for sensor in self.sensors)

    def read(self, modality: str, index: Numbers) -> NDArray[np.float32]:
        """Normalised windows.

        Args:
            modality: One of ``names``.
            index: (B,) rows of ``natural``.

        Returns:
            (B, C, P, P), NaN in all bands where the sensor saw nothing.
        """
        x = self.cut[modality](self.numbers[index])
        mean, std = (np.asarray(each[modality], np.float32)[:, None, None] for each in (self.mean, self.std))
        return np.asarray((x - mean) / std, np.float32)


def grounds_of(
    data_root: str, scene: str, *, dataset: str = "", modalities: Sequence[str] = (), side: int | None = None
) -> list[Ground]:
    """What the options ``data_root`` and ``scene`` mean: several of either are joined by commas.

    Args:
        data_root: Folders of tables; "": none.
        scene: Raw folders, scene.json files, or folders of many scenes; "": none.
        dataset: Name of the scenes' dataset in make_arrow.py; "": they have a scene.json or common names.
        modalities: Those to use; empty: all.
        side: Of the windows; None: that of the tables, else 14.

    Raises:
        MamolError: Nothing is given, or something cannot be read or does not fit.
    """
    roots = [Path(each) for each in data_root.split(",") if each]
    scenes = [Path(each) for each in scene.split(",") if each]
    if not roots and not scenes:
        raise MamolError("pretrain needs data_root=<folder of tables> or scene=<raw folder>; several with commas")
    found = [_of_table(root, modalities, side) for root in roots]
    sides = {each.side for each in found}
    if len(sides) > 1:
        raise MamolError(
            f"data_root={data_root}: windows of {' and '.join(map(str, sorted(sides)))} pixels; one backbone has one "
            "side: give window=… where tables have layout scene, or build them again"
        )
    wanted = side or (sides.pop() if sides else DEFAULT_SIDE)
    for path in scenes:
        found += [_of_scene(each, wanted) for each in _scenes_at(path, dataset, modalities)]
    return found


def sensors_of(grounds: Sequence[Ground]) -> tuple[Modality, ...]:
    """All sensors, each once: those of the same name and bands are one.

    Args:
        grounds: In order.
    """
    return tuple(dict.fromkeys(sensor for ground in grounds for sensor in ground.sensors))


def _scenes_at(path: Path, dataset: str, modalities: Sequence[str]) -> list[Scene]:
    area, chosen = find_area(path), list(modalities) or None
    if area is None:
        return [load_scene(dataset or "scene", path, modalities=chosen, need_labels=False)]
    return [
        load_scene("scene", file, modalities=chosen, need_labels=False, among=(), inside=inside(area, file))
        for file in area.files
    ]


def _of_scene(scene: Scene, side: int) -> Ground:
    extents = Extents((Extent(scene.name, scene.height, scene.width),))
    pixels = {name: ChunkedRows([raster.reshape(-1, raster.shape[2])]) for name, raster in scene.rasters.items()}
    sources = {f"{scene.name}/{file}": sha256 for file, sha256 in _without_labels(scene.facts, scene.sources).items()}
    return _of_pixels(scene.name, extents, pixels, side, holes.MIN_VALID, sources, scene.name == "synthetic")


def _without_labels(facts: SceneFacts, sources: Mapping[str, str]) -> dict[str, str]:
    """The files that hold rasters: of label maps only the shape was looked at."""
    maps = (facts.labels, facts.train_labels, facts.test_labels, facts.train_index, facts.test_index)
    labels = {Path(place.file).stem.lower() for each in maps for place in each}
    rasters = {Path(place.file).stem.lower() for each in facts.modalities.values() for place in each}
    return {file: sha256 for file, sha256 in sources.items() if Path(file).stem.lower() not in labels - rasters}


def _of_table(root: Path, modalities: Sequence[str], side: int | None) -> Ground:
    table = open_tables(root)["train"]
    if not isinstance(table, SceneTable):
        raise MamolError(f"data_root={root}: holds no windows of scenes, which a backbone is pre-trained on")
    info = table.info
    if unknown := [name for name in modalities if name not in info.names]:
        raise MamolError(f"modalities={','.join(unknown)}: {root} has {', '.join(info.names)}")
    names = tuple(modalities) or info.names
    sources = {f"{info.dataset}/{file}": sha256 for file, sha256 in info.sources.items()}
    synthetic = info.dataset == "synthetic"
    if info.layout == "scene":
        described, rasters = open_rasters(root / "scene.arrow")
        pixels = {name: rasters[name] for name in names}
        least = described.min_valid
        return _of_pixels(info.shown, described.extents, pixels, side or info.patch_size, least, sources, synthetic)
    if side not in (None, info.patch_size):
        raise MamolError(f"window={side}: {root} has cut windows of {info.patch_size} pixels; leave it out")
    return _of_samples(root, table, names, sources)


def _of_samples(root: Path, first: SceneTable, names: Sequence[str], sources: Mapping[str, str]) -> Ground:
    tables = [SceneTable.open(root / f"{split}.arrow") for split in SPLITS]
    starts = np.cumsum([0, *map(len, tables)])
    info = first.info
    places = [info.names.index(name) for name in names]
    natural = [np.ones((len(t), len(info.names)), bool) if t.natural is None else t.natural for t in tables]
    there = np.concatenate(natural)[:, places]

    def cut(name: str, numbers: Numbers) -> NDArray[np.float32]:
        found = np.empty((len(numbers), info.modalities[name], info.patch_size, info.patch_size), np.float32)
        part = np.searchsorted(starts, numbers, side="right") - 1
        for i in np.unique(part):
            found[part == i] = tables[i].windows(name, numbers[part == i] - starts[i])
        return found

    kept = np.flatnonzero(there.any(1))
    return Ground(
        name=info.shown,
        sensors=tuple(Modality(name, WINDOW, info.modalities[name]) for name in names),
        side=info.patch_size,
        windows=len(kept),
        natural=there[kept],
        numbers=kept,
        cut={name: partial(cut, name) for name in names},
        mean=info.mean,
        std=info.std,
        sources=sources,
        synthetic=info.dataset == "synthetic",
    )


def _of_pixels(
    name: str,
    extents: Extents,
    pixels: Mapping[str, ChunkedRows],
    side: int,
    min_valid: float,
    sources: Mapping[str, str],
    synthetic: bool,
) -> Ground:
    valid = {each: _valid(values) for each, values in pixels.items()}
    natural = np.stack(
        [
            np.concatenate([holes.seen(part, side, min_valid).ravel() for part in extents.parts(own)])
            for own in valid.values()
        ],
        1,
    )
    kept = np.flatnonzero(natural.any(1))
    if not len(kept):
        raise MamolError(f"{name}: no sensor saw {min_valid:.0%} of any window of {side} pixels; use a smaller window")
    statistics = {each: _mean_and_std(values, valid[each]) for each, values in pixels.items()}

    def cutter(values: ChunkedRows) -> Cut:
        windows = WindowCutter.of_pixels(values, extents, side)
        return lambda numbers: windows.cut(*extents.places(numbers))

    return Ground(
        name=name,
        sensors=tuple(Modality(each, WINDOW, values.item_shape[0]) for each, values in pixels.items()),
        side=side,
        windows=-(-len(kept) // side**2),
        natural=natural[kept],
        numbers=kept,
        cut={each: cutter(values) for each, values in pixels.items()},
        mean={each: mean for each, (mean, _) in statistics.items()},
        std={each: std for each, (_, std) in statistics.items()},
        sources=sources,
        synthetic=synthetic,
    )


def _valid(pixels: ChunkedRows) -> NDArray[np.bool_]:
    """(N,), which pixels are NaN in no band."""
    parts = [np.arange(start, min(start + SLICE, len(pixels))) for start in range(0, len(pixels), SLICE)]
    return np.concatenate([~np.isnan(pixels.take(part).astype(np.float32)).any(1) for part in parts])


def _mean_and_std(pixels: ChunkedRows, valid: NDArray[np.bool_]) -> tuple[list[float], list[float]]:
    """Of all valid pixels, per band; 1 in place of the deviation of a constant band."""
    bands = pixels.item_shape[0]
    chosen = np.flatnonzero(valid)
    count = max(len(chosen), 1)
    mean, square = np.zeros(bands), np.zeros(bands)
    parts = [chosen[start : start + SLICE] for start in range(0, len(chosen), SLICE)]
    for part in parts:
        mean += pixels.take(part).astype(np.float64).sum(0) / count
    for part in parts:
        square += ((pixels.take(part).astype(np.float64) - mean) ** 2).sum(0) / count
    std = np.sqrt(square)
    return mean.tolist(), np.where(std <= 1e-9 * np.abs(mean), 1.0, std).tolist()
