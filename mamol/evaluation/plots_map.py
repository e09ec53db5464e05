"""The picture of a map: classes and what is known of them, with coordinates, scale bar and north arrow."""

from math import floor, hypot, log10
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rasterio.transform import Affine

from mamol.evaluation.blocks import Block
from mamol.evaluation.mapinfo import UNDECIDED, MapInfo
from mamol.evaluation.plots import PIXELS, Measured, Panel, class_map

LEVELS = (100, 75, 50, 25, 0)  # percent, in the legend
SHADES = "cividis"
MOST_SIZES = 8  # of sets, that the legend names
WHITE = 255
ARROW = 22  # points from its tip to the N
BAR = 0.3  # of the map's width, that a scale bar takes at most


def map_figure(block: Block, info: MapInfo, transform: Affine | None, shape: tuple[int, int]) -> Figure:
    """Draws a map: classes, confidence, which sensors were used, and of a calibrated network with sets their sizes.

    Args:
        block: Every n-th pixel of the map is enough.
        info: Names, colours and place.
        transform: From column and row of these pixels to coordinates; None: not known.
        shape: Rows and columns of the whole map.

    Returns:
        The figure.
    """
    classes = block.classes
    shown, names, colours = classes.astype(np.int32) - 1, info.names, info.colours
    if info.undecided is not None:
        shown[classes == info.undecided] = len(names)
        names, colours = (*names, UNDECIDED), tuple(f"#{bytes(colour).hex()}" for colour in info.painted.values())
    beside = [_confidence(block.confidence)]
    beside += [_set_sizes(block.set_size, info)] if block.set_size is not None else []
    beside += [_sensors(block.sensors, info)] if info.modalities else []
    figure = class_map(
        shown,
        names,
        title=info.title,
        colours=colours,
        beside=beside,
        measured=_measured(info, transform, classes.shape[:2]),
        nothing="no sensor",
    )
    if info.crs is not None and transform is not None:
        size = info.metres(shape[0] / 2, shape[1] / 2)
        if size is not None:
            _scale_bar(figure.axes[0], size[0] * shape[1])
        _north_arrow(figure.axes[0], transform)
    return figure


def _confidence(confidence: np.ndarray) -> Panel:
    shades = colormaps[SHADES]
    image = np.rint(255 * shades(np.nan_to_num(confidence))[..., :3]).astype(np.uint8)
    image[np.isnan(confidence)] = WHITE
    return Panel("confidence", image, {f"{level} %": shades(level / 100) for level in LEVELS})


def _set_sizes(sizes: np.ndarray, info: MapInfo) -> Panel:
    """As bright as the confidence where the network is sure: the fewer classes in the set."""
    found = [size for size in np.unique(sizes).tolist() if size]
    most, shades = max(found, default=1), colormaps[SHADES]
    colours = [shades(1 - (size - 1) / max(1, most - 1))[:3] for size in range(1, most + 1)]
    image = np.rint(255 * np.array([(1, 1, 1), *colours])).astype(np.uint8)[sizes]
    if len(found) > MOST_SIZES:
        found = np.unique(np.linspace(1, most, MOST_SIZES).round().astype(int)).tolist()
    keys = {f"{size} class" + "es" * (size > 1): colours[size - 1] for size in found}
    return Panel(f"set size ({100 * (info.coverage or 0):g} %)", image, keys)


def _sensors(sensors: np.ndarray, info: MapInfo) -> Panel:
    codes, places = np.unique(sensors, return_inverse=True)
    colours = info.patterns(codes.tolist())
    palette = np.array([colours.get(code, (WHITE,) * 3) for code in codes.tolist()], np.uint8)
    keys = {info.pattern(code): f"#{bytes(colour).hex()}" for code, colour in colours.items()}
    return Panel("sensors", palette[places.reshape(sensors.shape)], keys)


def _measured(info: MapInfo, transform: Affine | None, shape: tuple[int, ...]) -> Measured:
    """Coordinates on the axes; columns and rows where there are none, or where the grid is turned."""
    if transform is None or transform.b or transform.d:
        return PIXELS
    left, top = transform @ (0, 0)
    right, bottom = transform @ (shape[1], shape[0])
    crs = info.crs
    name = "" if crs is None else (crs.to_string() if crs.to_epsg() else "own system")
    if crs is not None and crs.is_geographic:
        return Measured(f"longitude ({name})", f"latitude ({name})", (left, right, bottom, top))
    return Measured(f"x ({name})" if name else "x", f"y ({name})" if name else "y", (left, right, bottom, top))


def _scale_bar(plot: Axes, width: float) -> None:
    """A bar of 1, 2 or 5 times a power of ten metres."""
    power = 10.0 ** floor(log10(BAR * width))
    length = max(times * power for times in (1, 2, 5) if times * power <= BAR * width)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    share = length / width
    frame: dict[str, Any] = {"transform": plot.transAxes, "zorder": 3}
    plot.add_patch(Rectangle((0.02, 0.02), share + 0.04, 0.085, facecolor="white", alpha=0.85, **frame))
    plot.add_patch(Rectangle((0.04, 0.035), share, 0.015, facecolor="black", **frame))
    plot.text(0.04 + share / 2, 0.058, text, ha="center", va="bottom", fontsize=7, **frame)


def _north_arrow(plot: Axes, transform: Affine) -> None:
    """Points where the second coordinate grows."""
    start, end = ~transform @ (0, 0), ~transform @ (0, 1)
    across, up = end[0] - start[0], start[1] - end[1]  # rows are counted downwards
    long = hypot(across, up)
    across, up = across / long, up / long
    plot.annotate(
        "N",
        (0.91 + 0.05 * across, 0.86 + 0.09 * up),
        (-ARROW * across, -ARROW * up),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=8,
        arrowprops={"arrowstyle": "-|>", "facecolor": "black"},
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.85, "edgecolor": "none"},
        zorder=3,
    )
