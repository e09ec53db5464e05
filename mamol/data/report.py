"""What make_arrow.py tells of the tables of scenes that it wrote."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mamol.data.counting import count_table
from mamol.data.drawing import Drawn
from mamol.data.extents import Extents
from mamol.data.facts import facts_of
from mamol.data.overlap import Overlap
from mamol.data.sceneinfo import CLASSES, SEGMENTATION, SceneInfo
from mamol.data.splits import Split


def report_of(
    info: SceneInfo,
    drawn: Drawn,
    natural: Mapping[str, Mapping[str, Mapping[str, int]]],
    files: Sequence[Path],
    out: Path,
) -> str:
    """Counts, shortfalls, overlap, sizes, files and the next command.

    Args:
        info: What the tables say about themselves.
        drawn: What was drawn.
        natural: Split -> natural pattern -> class -> labelled pixels; empty where all sensors saw everything.
        files: That were written.
        out: Their folder.
    """
    bands = ", ".join(f"{name} {count}" for name, count in info.modalities.items())
    size = f"{len(info.scenes)} scenes" if info.scenes else f"{info.scene_shape[0]} x {info.scene_shape[1]}"
    lines = [
        f"{info.scene}: {size}, bands: {bands}, {'tiles' if info.tiled else 'windows'} of {info.patch_size}",
        f"protocol {info.protocol}, seed {info.seed}, layout {info.layout}",
        *([f"note: {info.note}"] if info.note else []),
        *_scene_lines(info.extents, drawn.split),
        "",
        *count_table(info.counts, info.classes, {split: sum(per.values()) for split, per in info.counts.items()}),
        *_tile_lines(info, drawn.split),
        "",
        *_natural_lines(info, natural),
        *_shortfall_lines(info.shortfall),
        *(_tile_overlap_lines(info, drawn.overlap) if info.tiled else _overlap_lines(info.protocol, drawn.overlap)),
        *(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)" for path in files),
    ]
    config = facts_of(info.dataset).configs.get(len(info.modalities), "remote")
    return "\n".join([*lines, f"next: python run.py with {config} data_root={out}{_NEEDS[info.task]}"])


_NEEDS = {CLASSES: "", SEGMENTATION: " network=unet"}
"""What a run on tables of a task needs beside them."""


def _tile_lines(info: SceneInfo, split: Split) -> list[str]:
    """How many tiles the labelled pixels lie in."""
    if not info.tiled:
        return []
    return ["tiles: " + ", ".join(f"{name} {len(own)}" for name, own in split.pixels.items())]


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
    share = f"{100 * info.min_valid:g} %"
    needed = f"{share} of the tile" if info.tiled else f"the pixel and {share} of its window"
    lines = [f"seen by (a sensor counts where it saw {needed}):"]
    what = "tiles" if info.tiled else "total"
    for split, patterns in natural.items():
        lines += ["", split, *count_table(patterns, info.classes, info.natural[split], what)] if patterns else []
    if info.left_out:
        lines += ["", f"left out: {info.left_out} labelled pixels that no sensor saw"]
    return [*lines, ""]


def _shortfall_lines(shortfall: Mapping[str, Mapping[str, int]]) -> list[str]:
    return [
        f"shortfall: {split} has fewer pixels than asked for: "
        + ", ".join(f"{name} {number} fewer" for name, number in classes.items())
        for split, classes in shortfall.items()
    ]


def _tile_overlap_lines(info: SceneInfo, overlap: Overlap) -> list[str]:
    """Tiles are apart, unless a release's own labels of training and test lie in one of them."""
    lines = ["overlap: no two tiles share a pixel"]
    if overlap.shared_window_percent:
        lines = [
            f"overlap: {overlap.shared_window_percent} % of the test tiles are training tiles, too, with other labels; "
            f"{overlap.identical_pixels} labelled test pixels ({overlap.identical_percent} %) are labelled in training"
        ]
    if info.margin:
        lines.append(f"overlap: shifted training windows show up to {info.margin} pixels around their tile, unlabelled")
    return lines


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
