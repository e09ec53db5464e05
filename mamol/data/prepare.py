"""From a raw scene to tables: load, split, measure the overlap, write, report."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.names import pattern_name
from mamol.data import holes, splits
from mamol.data.area import Area
from mamol.data.areajson import find_area
from mamol.data.areareading import read_area
from mamol.data.arrowfiles import SCENE_VERSION
from mamol.data.counting import count_table
from mamol.data.extents import Extents
from mamol.data.facts import ANY_SCENE, facts_of
from mamol.data.holes import MIN_VALID
from mamol.data.missing import realised
from mamol.data.overlap import Overlap, measure
from mamol.data.patches import Cutter
from mamol.data.sceneinfo import LAYOUTS, TAKEN, SceneInfo
from mamol.data.scenes import Scene, load_scene
from mamol.data.splits import Pixels, Split
from mamol.data.writing import check_folder, check_size, write_tables

LOGGER = logging.getLogger(__name__)
DEFAULT_PATCH_SIZE = 14
LARGEST_PATCH_SIZE = 256


@dataclass(frozen=True)
class Options:
    """What the user asks for; the options of make_arrow.py.

    Attributes:
        dataset: Name in the registry; ``scene`` for a custom scene.
        root: Folder of the raw files, or of several scenes; of arrays, their name.
        out: Folder of the tables.
        scene_file: scene.json of a custom scene, or one that lists several.
        modalities: Which to take, in this order; None: the dataset's default.
        protocol: How to split.
        seed: Seed of the split.
        patch_size: Side of the windows; None: 14, or what a pre-cut release has.
        train_per_class: Training pixels per class, or "all"; None: the protocol's default, here and below.
        test_per_class: Test pixels per class.
        val_per_class: Validation pixels per class.
        layout: ``patches`` or ``scene``.
        min_valid: Share of a sample's window that a sensor must have seen, above 0, for the sample to have it.
        margin: Pixels by which windows can be shifted in training, for heads that classify all their pixels.
    """

    dataset: str
    root: Path
    out: Path
    scene_file: Path | None = None
    modalities: tuple[str, ...] | None = None
    protocol: str = "disjoint"
    seed: int = 0
    patch_size: int | None = None
    train_per_class: int | str | None = None
    test_per_class: int | str | None = None
    val_per_class: int | str | None = None
    layout: str = "patches"
    min_valid: float = MIN_VALID
    margin: int = 0

    @property
    def per_class(self) -> dict[str, int | str | None]:
        """Split -> pixels per class that the user named."""
        return {"train": self.train_per_class, "val": self.val_per_class, "test": self.test_per_class}


def prepare(options: Options, scene: Scene | None = None) -> str:
    """Builds the tables of a scene, or of several.

    Args:
        options: What to build. Everything is checked before anything is written.
        scene: It, with labels, if it is in memory already; None reads ``options.root``.

    Returns:
        A report for the user: counts, shortfalls, overlap, sizes, files and the next command.

    Raises:
        MamolError: If an option or a raw file is wrong, or the tables cannot be drawn or written.
    """
    _check(options)
    area = _read(options) if scene is None else Area.of_one(scene)
    if taken := [name for name in area.channels if name in TAKEN]:
        raise MamolError(f"modality {', '.join(taken)}: tables use this name for something else; give another")
    patch_size = _patch_size(options, area)
    maps, there = area.maps(options.protocol), area.natural(patch_size, options.min_valid)
    maps, left_out = (maps, 0) if there is None else holes.without_unseen(maps, there)
    split = splits.draw(
        options.protocol,
        maps,
        options.per_class,
        seed=options.seed,
        patch_size=patch_size + options.margin,
        classes=area.classes,
        extents=area.extents,
    )
    samples = sum(len(pixels) for pixels in split.pixels.values())
    if options.layout == "patches":
        check_size(area.channels, patch_size + 2 * options.margin, samples)
    positions_known = area.window_size is None
    overlap = measure(split.pixels["train"], split.pixels["test"], patch_size, positions_known=positions_known)
    natural = {} if there is None else {s: _patterns(there, area, p) for s, p in split.pixels.items()}
    info = _info(options, area, split, overlap, patch_size)
    info = replace(info, natural={s: _totals(rows) for s, rows in natural.items()}, left_out=left_out)
    try:
        files = write_tables(options.out, info, area, split.pixels, there)
    except OSError as error:
        raise MamolError(
            f"out {options.out}: cannot be written ({error}); free space or give another folder"
        ) from error
    return _report(options, info, split, overlap, natural, files)


def _read(options: Options) -> Area:
    several = find_area(options.root, options.scene_file) if facts_of(options.dataset) is ANY_SCENE else None
    if several is not None:
        return read_area(several, options.modalities)
    return Area.of_one(
        load_scene(options.dataset, options.root, modalities=options.modalities, scene_file=options.scene_file)
    )


def _check(options: Options) -> None:
    facts_of(options.dataset)
    if options.layout not in LAYOUTS:
        raise MamolError(f"layout {options.layout!r} is unknown; known: {', '.join(LAYOUTS)}")
    size = options.patch_size
    if size is not None and not 1 <= size <= LARGEST_PATCH_SIZE:
        raise MamolError(f"patch-size {size}: expected 1 to {LARGEST_PATCH_SIZE}")
    holes.check_min_valid(options.min_valid)
    if not 0 <= options.margin <= LARGEST_PATCH_SIZE:
        raise MamolError(f"margin {options.margin}: expected 0 to {LARGEST_PATCH_SIZE} pixels")
    splits.check_request(options.protocol, options.per_class, options.seed)
    check_folder(options.out)


def _patch_size(options: Options, area: Area) -> int:
    if area.window_size is None:
        return options.patch_size or DEFAULT_PATCH_SIZE
    where = f"{options.root} is a pre-cut release, whose samples have no place in a scene"
    if options.layout == "scene":
        raise MamolError(f"layout scene: {where}; use --layout patches")
    if options.margin:
        raise MamolError(f"margin {options.margin}: {where}; leave it out")
    if options.protocol == "blocks":
        raise MamolError(f"protocol blocks: {where}; use --protocol disjoint")
    if options.patch_size not in (None, area.window_size):
        LOGGER.warning("patch-size %d is ignored: the release has windows of %d", options.patch_size, area.window_size)
    return area.window_size


def _info(options: Options, area: Area, split: Split, overlap: Overlap, patch_size: int) -> SceneInfo:
    statistics = {
        name: _mean_and_std(name, area.cutter(name, patch_size), split.pixels["train"]) for name in area.channels
    }
    return SceneInfo(
        format_version=SCENE_VERSION,
        min_valid=options.min_valid,
        dataset=facts_of(options.dataset).name,
        scene=area.name,
        note=area.note,
        modalities=area.channels,
        classes=area.classes,
        patch_size=patch_size,
        layout=options.layout,
        protocol=options.protocol,
        seed=options.seed,
        split="",
        counts={name: _counts(pixels, area.classes) for name, pixels in split.pixels.items()},
        shortfall={
            name: {area.classes[index]: number for index, number in lacking.items()}
            for name, lacking in split.shortfall.items()
        },
        mean={name: mean for name, (mean, _) in statistics.items()},
        std={name: std for name, (_, std) in statistics.items()},
        sources=area.sources,
        overlap=overlap.plain(),
        scene_shape=area.extents.shape,
        output="",
        colours=area.colours,
        scenes=area.extents.each if area.extents.several else (),
        margin=options.margin,
    )


def _counts(pixels: Pixels, classes: tuple[str, ...]) -> dict[str, int]:
    numbers = np.bincount(pixels.labels, minlength=len(classes))
    return {name: int(number) for name, number in zip(classes, numbers, strict=True)}


def _mean_and_std(name: str, cutter: Cutter, train: Pixels) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per band of the training pixels; 1 instead of the deviation of a constant band."""
    values = cutter.centres(train.rows, train.cols, train.scenes).astype(np.float64)
    values = values[~np.isnan(values).any(axis=1)]
    if not len(values):
        raise MamolError(f"modality {name}: it saw no training pixel; leave it out with --modalities, or draw others")
    mean, std = values.mean(axis=0), values.std(axis=0)
    constant = std <= 1e-9 * np.abs(mean)
    return mean.tolist(), np.where(constant, 1.0, std).tolist()


def _patterns(there: tuple[holes.Valid, ...], area: Area, pixels: Pixels) -> dict[str, dict[str, int]]:
    """Natural pattern -> class -> samples, most complete pattern first."""
    modalities = list(area.channels)
    rows = holes.natural_at(there, len(there), area.extents.numbers(pixels.rows, pixels.cols, pixels.scenes))
    patterns = realised(rows, modalities)["patterns"]
    names = np.array([pattern_name(row, modalities) for row in rows], object)
    return {pattern: _counts(pixels.of(names == pattern), area.classes) for pattern in patterns}


def _totals(patterns: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {pattern: sum(counts.values()) for pattern, counts in patterns.items()}


def _report(
    options: Options,
    info: SceneInfo,
    split: Split,
    overlap: Overlap,
    natural: Mapping[str, Mapping[str, Mapping[str, int]]],
    files: list[Path],
) -> str:
    bands = ", ".join(f"{name} {count}" for name, count in info.modalities.items())
    size = f"{len(info.scenes)} scenes" if info.scenes else f"{info.scene_shape[0]} x {info.scene_shape[1]}"
    lines = [
        f"{info.scene}: {size}, bands: {bands}, windows of {info.patch_size}",
        f"protocol {info.protocol}, seed {info.seed}, layout {info.layout}",
        *([f"note: {info.note}"] if info.note else []),
        *_scene_lines(info.extents, split),
        "",
        *count_table(info.counts, info.classes, {split: sum(per.values()) for split, per in info.counts.items()}),
        "",
        *_natural_lines(info, natural),
        *_shortfall_lines(info.shortfall),
        *_overlap_lines(info.protocol, overlap),
        *(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)" for path in files),
    ]
    config = facts_of(options.dataset).configs.get(len(info.modalities), "remote")
    return "\n".join([*lines, f"next: python run.py with {config} data_root={options.out}"])


def _scene_lines(extents: Extents, split: Split) -> list[str]:
    """A line for each of several scenes: its size, and its samples per split."""
    lines = []
    for number, each in enumerate(extents.each if extents.several else ()):
        samples = ", ".join(f"{name} {np.count_nonzero(own.scenes == number)}" for name, own in split.pixels.items())
        note = f" (note: {each.note})" if each.note else ""
        lines.append(f"{each.name}: {each.height} x {each.width}, {samples}{note}")
    return lines


def _natural_lines(info: SceneInfo, natural: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[str]:
    """What the sensors saw of the samples, per split and class."""
    if not natural:
        return []
    lines = [f"seen by (a sensor counts where it saw the pixel and {100 * info.min_valid:g} % of its window):"]
    for split, patterns in natural.items():
        lines += ["", split, *count_table(patterns, info.classes, info.natural[split])] if patterns else []
    if info.left_out:
        lines += ["", f"left out: {info.left_out} labelled pixels that no sensor saw"]
    return [*lines, ""]


def _shortfall_lines(shortfall: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"shortfall: {split} has fewer pixels than asked for: "
        + ", ".join(f"{name} {number} fewer" for name, number in classes.items())
        for split, classes in shortfall.items()
    ]


def _overlap_lines(protocol: str, overlap: Overlap) -> list[str]:
    identical = f"{overlap.identical_pixels} test pixels ({overlap.identical_percent} %) are training pixels"
    if overlap.shared_window_percent is None:
        windows = "whether windows share pixels cannot be told from a pre-cut release"
    else:
        windows = (
            f"{overlap.shared_window_percent} % of the test windows share pixels with a training window, "
            f"{overlap.same_class_window_percent} % with one of their own class"
        )
    lines = [f"overlap: {identical}; {windows}"]
    if overlap.shared_polygons is not None:
        lines.append(
            f"overlap: {overlap.shared_polygons} polygons have training and test pixels; "
            f"{overlap.shared_polygon_percent} % of the test pixels lie in them"
        )
    if protocol == "paper":
        lines.append(f"warning: protocol paper leaks: {identical}; use disjoint, official or blocks for honest figures")
    return lines
