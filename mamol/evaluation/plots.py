"""Figures of a run: confusion matrix, training curves, classification map.

Every function returns a ``matplotlib.figure.Figure`` made without pyplot, so no global state is touched and no display
is needed; ``save_figure`` writes it. What a figure's data are ("synthetic", "hybrid", "random frozen weights") belongs
into the title that the caller gives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType

from mamol.core.files import replacing
from mamol.evaluation.plots_layout import heading, place_map
from mamol.evaluation.plots_missing import COLOURS

# Chosen greedily in CIELAB so that every pair stays apart for normal, protan and deutan sight (Machado et al. 2009).
# fmt: off
_QUALITATIVE = (
    "#0072B2", "#A6E05A", "#FFE800", "#005030", "#D55E00", "#8C8C8C", "#0000FF", "#00FFF0", "#2D0078", "#FF5AFF",
    "#D20F5A", "#3C1E3C", "#FFE1A5", "#694B0F", "#005AFF", "#E1B4FF", "#F08778", "#960F78", "#5A0000", "#E1A51E",
)
# fmt: on
_LOSSES = (("train/loss", "training", COLOURS[0]), ("val/loss", "validation", COLOURS[1]))


def class_colours(count: int, chosen: Sequence[str] = ()) -> np.ndarray:
    """Colours of the classes, the same in every figure and in the GeoTIFF's colour table.

    Args:
        count: Number of classes.
        chosen: The scene's own, ``#rrggbb`` of each class; empty: none.

    Returns:
        (count, 3) uint8 RGB. Where none are chosen, up to 20 classes are distinguishable by colour-blind readers; more
        come from a rainbow, which is not.
    """
    if chosen or count <= len(_QUALITATIVE):
        colours = np.array([to_rgb(code) for code in chosen or _QUALITATIVE[:count]]).reshape(count, 3)
    else:
        colours = matplotlib.colormaps["turbo"](np.linspace(0, 1, count))[:, :3]
    return np.rint(255 * colours).astype(np.uint8)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure atomically.

    Args:
        figure: The figure.
        path: The file, whose ending says the format; its folder is created.
    """
    path = Path(path)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:], dpi=150, bbox_inches="tight")


def confusion_plot(matrix: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Draws a confusion matrix: counts as text (up to 40 classes), the share of each true class as colour.

    Args:
        matrix: (K, K) counts, rows true, columns predicted.
        classes: K names.
        title: Title of the figure.

    Returns:
        The figure.
    """
    matrix = np.asarray(matrix)
    count = len(classes)
    totals = matrix.sum(axis=1, keepdims=True)
    share = 100 * matrix / np.maximum(totals, 1)  # a class without samples has an empty row, not a NaN
    few = count <= 40
    side = max(4.5, 2.5 + 0.5 * count) if few else 2.5 + 0.13 * count
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="predicted class", ylabel="true class")
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.8)
    letters = None if few else 6
    slant, beside = (45, "top") if few else (90, "center")
    axes.set_xticks(
        range(count), classes, rotation=slant, ha="right", va=beside, rotation_mode="anchor", fontsize=letters
    )
    axes.set_yticks(range(count), classes, fontsize=letters)
    for row, col in np.argwhere(matrix > 0) if few else ():
        ink = "white" if share[row, col] > 55 else "black"
        axes.text(col, row, str(int(matrix[row, col])), ha="center", va="center", color=ink, fontsize=8)
    return figure


def training_curves(history: pd.DataFrame, score: str = "OA", title: str = "") -> Figure:
    """Draws loss, a validation score and learning rate over the epochs, from 1; a missing column leaves its panel out.

    Args:
        history: Rows of the CSV log: ``epoch`` (from 0), ``train/loss``, ``val/loss``, ``val/<score>`` (%), ``lr``.
            Cells may be NaN, and an epoch may have several rows: they are averaged. Without ``epoch`` every row is one.
        score: Name of the score.
        title: Title of the figure.

    Returns:
        The figure; without any of the columns it says so.
    """
    means = history.groupby("epoch").mean(numeric_only=True) if "epoch" in history else history
    curves = {name: means[name].dropna() for name in ("train/loss", "val/loss", f"val/{score}", "lr") if name in means}
    curves = {name: curve for name, curve in curves.items() if len(curve)}
    panels = [
        ("loss", [entry for entry in _LOSSES if entry[0] in curves]),
        (f"validation {score} (%)", [(f"val/{score}", "", COLOURS[2])] if f"val/{score}" in curves else []),
        ("learning rate", [("lr", "", COLOURS[3])] if "lr" in curves else []),
    ]
    panels = [(label, lines) for label, lines in panels if lines]
    figure = Figure(figsize=(4.4 * max(len(panels), 1), 3.7), layout=ConstrainedLayoutEngine(w_pad=0.12))
    if title:
        figure.suptitle(title)
    if not panels:
        figure.text(0.5, 0.5, "no training history", ha="center", va="center")
    for index, (label, lines) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), index, xlabel="epoch", ylabel=label)
        for name, legend, colour in lines:
            axes.plot(curves[name].index + 1, curves[name], label=legend, color=colour, marker=".", markersize=4)
        axes.set_xlim(means.index.min() + 0.5, means.index.max() + 1.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if label.endswith("loss"):
            axes.legend()
    return figure


@dataclass(frozen=True)
class Panel:
    """Something else about the pixels of a map, beside it.

    Attributes:
        name: Above it.
        image: (H, W, 3) RGB, 0-255.
        keys: Text to ``#rrggbb`` or RGB 0-1, for the legend.
    """

    name: str
    image: np.ndarray
    keys: Mapping[str, ColorType]


@dataclass(frozen=True)
class Measured:
    """What the axes of a map show.

    Attributes:
        across: Label of the horizontal axis.
        down: Label of the vertical axis.
        extent: Left, right, bottom and top coordinates; None: columns and rows.
    """

    across: str = "column (pixel)"
    down: str = "row (pixel)"
    extent: tuple[float, float, float, float] | None = None


PIXELS = Measured()


def class_map(
    classified: np.ndarray,
    classes: Sequence[str],
    *,
    title: str,
    labels: np.ndarray | None = None,
    colours: Sequence[str] = (),
    beside: Sequence[Panel] = (),
    measured: Measured = PIXELS,
    nothing: str = "unlabelled",
) -> Figure:
    """Draws the class of every pixel, with a legend and, if given, the ground truth and other panels beside it.

    The legend stands right of the map, or below it where it is higher than the map and the map is wide.

    Args:
        classified: (H, W) class index from 0; negative pixels stay white.
        classes: K names.
        title: Title of the figure.
        labels: (H, W) ground truth, 1-K, 0 where there is none.
        colours: ``#rrggbb`` of each class; empty: the palette.
        beside: Further panels; their keys stand below the classes.
        measured: What the axes show.
        nothing: What the legend calls white pixels.

    Returns:
        The figure.
    """
    panels = {"classified": classified}
    if labels is not None:
        panels["ground truth"] = labels.astype(int) - 1  # unsigned labels would wrap at 0
    painted = class_colours(len(classes), colours) / 255
    figure = Figure()
    for name, content in panels.items():
        shown = np.ma.masked_less(content, 0)
        limits: dict[str, Any] = {"cmap": ListedColormap(painted), "vmin": -0.5, "vmax": len(classes) - 0.5}
        axes = _show(figure, name, shown, measured, **limits)
        axes.set_title(name if len(panels) + len(beside) > 1 else "", fontsize="medium")
    keys = dict(zip(classes, painted, strict=True))
    handles = [_key(name, colour) for name, colour in keys.items()]
    if any((content < 0).any() for content in panels.values()):
        handles.append(_key(nothing, "white"))
    for panel in beside:
        _show(figure, panel.name, panel.image, measured).set_title(panel.name, fontsize="medium")
        handles += [heading(panel.name), *(_key(name, colour) for name, colour in panel.keys.items())]
    place_map(figure, classified.shape, handles, title, wide=measured.extent is not None)
    return figure


def _show(figure: Figure, name: str, image: np.ndarray, measured: Measured, **limits: Any) -> Axes:  # noqa: ANN401
    axes = figure.add_subplot(label=name, xlabel=measured.across, ylabel=measured.down)
    axes.imshow(image, interpolation="nearest", extent=measured.extent, **limits)
    axes.set_aspect("equal" if measured.extent is None or _square(measured.extent, image.shape) else "auto")
    axes.ticklabel_format(useOffset=False, style="plain")
    return axes


def _square(extent: tuple[float, float, float, float], shape: tuple[int, ...]) -> bool:
    """Whether a pixel is as wide as high, in coordinates."""
    across, down = abs(extent[1] - extent[0]) / shape[1], abs(extent[3] - extent[2]) / shape[0]
    return bool(np.isclose(across, down, rtol=1e-3))


def _key(name: str, colour: ColorType) -> Patch:
    return Patch(facecolor=colour, edgecolor="black", linewidth=0.4, label=name)
