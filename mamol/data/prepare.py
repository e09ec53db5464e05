"""From a raw scene to tables: load, split, measure the overlap, write, report."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.names import UNLABELLED, pattern_name
from mamol.data import holes, splits, tiles
from mamol.data.area import Area
from mamol.data.areajson import find_area
from mamol.data.areareading import read_area
from mamol.data.arrowfiles import SCENE_VERSION
from mamol.data.drawing import Drawn, draw_pixels
from mamol.data.facts import ANY_SCENE, facts_of
from mamol.data.holes import MIN_VALID
from mamol.data.missing import realised
from mamol.data.patches import Cutter
from mamol.data.report import report_of
from mamol.data.sceneinfo import CLASSES, LAYOUTS, SEGMENTATION, TAKEN, TASKS_OF_SCENES, SceneInfo
from mamol.data.scenes import Scene, load_scene
from mamol.data.splits import Pixels
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
        task: What the labels are: ``classes`` of pixels, or ``segmentation`` of tiles.
        tile: Side of the tiles; None: 64.
        shares: Of the tiles, that train, validate and test; None: 0.6, 0.1 and 0.3.
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
    task: str = CLASSES
    tile: int | None = None
    shares: tuple[float, ...] | None = None

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
    drawn = _draw(options, area, patch_size)
    pixels = drawn.split.pixels
    if options.layout == "patches":
        check_size(area.channels, patch_size + 2 * options.margin, sum(len(own) for own in pixels.values()))
    natural = {} if drawn.there is None else {s: _patterns(drawn.there, area, own) for s, own in pixels.items()}
    info = _info(options, area, drawn, patch_size)
    totals = {s: {pattern: n for pattern, (n, _) in rows.items()} for s, rows in natural.items()}
    info = replace(info, natural=totals, left_out=drawn.left_out)
    try:
        files = write_tables(options.out, info, area, pixels, drawn.there)
    except OSError as error:
        raise MamolError(
            f"out {options.out}: cannot be written ({error}); free space or give another folder"
        ) from error
    per_class = {s: {pattern: counts for pattern, (_, counts) in rows.items()} for s, rows in natural.items()}
    return report_of(info, drawn, per_class, files, options.out)


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
    _check_task(options)
    check_folder(options.out)


def _check_task(options: Options) -> None:
    """Refuses what goes with another task."""
    if options.task not in TASKS_OF_SCENES:
        raise MamolError(f"task {options.task!r} is unknown; known: {', '.join(TASKS_OF_SCENES)}")
    if options.task != SEGMENTATION:
        if options.tile is not None:
            raise MamolError(f"tile {options.tile}: goes with --task segmentation; --patch-size is the side of windows")
        if options.shares is not None:
            raise MamolError("shares: goes with --task segmentation; --train-per-class and its like draw pixels")
        return
    if options.tile is not None and not 2 <= options.tile <= LARGEST_PATCH_SIZE:
        raise MamolError(f"tile {options.tile}: expected 2 to {LARGEST_PATCH_SIZE}")
    if options.patch_size is not None:
        raise MamolError(f"patch-size {options.patch_size}: --task segmentation has tiles; give their side with --tile")
    if given := [f"{split}-per-class" for split, number in options.per_class.items() if number is not None]:
        raise MamolError(
            f"{', '.join(given)}: draws pixels, and a tile keeps all its labels; --shares says how many tiles are whose"
        )
    tiles.check_tiles(options.protocol, options.shares or tiles.SHARES)


def _draw(options: Options, area: Area, size: int) -> Drawn:
    if options.task == SEGMENTATION:
        shares = options.shares or tiles.SHARES
        return tiles.draw_tiles(
            area, options.protocol, shares, seed=options.seed, size=size, min_valid=options.min_valid
        )
    return draw_pixels(
        area,
        options.protocol,
        options.per_class,
        seed=options.seed,
        patch_size=size,
        margin=options.margin,
        min_valid=options.min_valid,
    )


def _patch_size(options: Options, area: Area) -> int:
    if area.window_size is None:
        tiled = options.task == SEGMENTATION
        return (options.tile or tiles.DEFAULT_SIDE) if tiled else (options.patch_size or DEFAULT_PATCH_SIZE)
    where = f"{options.root} is a pre-cut release, whose samples have no place in a scene"
    if options.task == SEGMENTATION:
        raise MamolError(f"task segmentation: {where}; leave it out")
    if options.layout == "scene":
        raise MamolError(f"layout scene: {where}; use --layout patches")
    if options.margin:
        raise MamolError(f"margin {options.margin}: {where}; leave it out")
    if options.protocol == "blocks":
        raise MamolError(f"protocol blocks: {where}; use --protocol disjoint")
    if options.patch_size not in (None, area.window_size):
        LOGGER.warning("patch-size %d is ignored: the release has windows of %d", options.patch_size, area.window_size)
    return area.window_size


def _info(options: Options, area: Area, drawn: Drawn, patch_size: int) -> SceneInfo:
    split, trained = drawn.split, drawn.split.pixels["train"]
    if options.task == SEGMENTATION:
        trained = tiles.labelled_pixels(trained, area.extents, patch_size)
    statistics = {name: _mean_and_std(name, area.cutter(name, patch_size), trained) for name in area.channels}
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
        overlap=drawn.overlap.plain(),
        scene_shape=area.extents.shape,
        output="",
        colours=area.colours,
        scenes=area.extents.each if area.extents.several else (),
        margin=options.margin,
        task=options.task,
    )


def _counts(pixels: Pixels, classes: tuple[str, ...]) -> dict[str, int]:
    numbers = np.bincount(pixels.labels[pixels.labels != UNLABELLED], minlength=len(classes))
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


def _patterns(there: tuple[holes.Valid, ...], area: Area, pixels: Pixels) -> dict[str, tuple[int, dict[str, int]]]:
    """Natural pattern -> samples, and labelled pixels of each class; most complete pattern first."""
    modalities = list(area.channels)
    rows = holes.natural_at(there, len(there), area.extents.numbers(pixels.rows, pixels.cols, pixels.scenes))
    patterns = realised(rows, modalities)["patterns"]
    names = np.array([pattern_name(row, modalities) for row in rows], object)
    return {pattern: (n, _counts(pixels.of(names == pattern), area.classes)) for pattern, n in patterns.items()}
