"""Figures on missing modalities: accuracy against the missing rate, and which experts are used under each pattern."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamol.evaluation.statistics import SHARES, wilson

# Okabe and Ito (2008) without yellow, which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vP*X"
_LINES = ("-", "--", ":", "-.")
_WHAT_TO_SEE = (
    "A cell is the share of tokens whose first choice is this expert in this block, with only the modalities above the "
    "panel present; columns sum to 100. Where a column differs from panel to panel, the choice depends on what is "
    "missing (also because the tokens are of other modalities); where it is the same in all panels, it does not."
)

_WHAT_COUNTS = (
    "A cell is what the probability of the true class loses, in the mean over the samples of a class, when this "
    "modality is taken away from those above the panel. Around 0 the others, or what stands in, make up for it; below "
    "0 the network does better without it."
)


def accuracy_plot(
    grid: pd.DataFrame, patterns: pd.DataFrame, title: str, score: str = "OA", chance: float | None = None
) -> Figure:
    """Draws a score against the missing rate, a line per type, and the score under each pattern beside it.

    A score that is a share of the samples has Wilson's 95 % interval; others have none. The axis is the whole scale,
    so that a small difference looks small.

    Args:
        grid: Columns ``type``, ``ratio`` (0-1), ``n`` and that of the score (percent; NaN leaves a gap).
        patterns: Columns ``present``, ``n`` and that of the score.
        title: Title of the figure.
        score: Name of the score.
        chance: What guessing reaches, in percent, as a line; None: no line.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    figure.suptitle(title)
    curves, points = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _curves(curves, grid, score)
    _points(points, patterns, score)
    curves.set(
        xlabel="incomplete test samples, missing rate η (%)",
        ylabel=f"{score} (%)",
        title="by what goes missing",
        ylim=(0, 100),
        yticks=range(0, 101, 20),
    )
    points.set(xlabel="present modalities", title="every sample under one pattern")
    points.tick_params(labelleft=True)
    curves.legend(title="missing", loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize="small")
    for axes in (curves, points):
        axes.grid(alpha=0.3)
        if chance is not None:
            axes.axhline(chance, color="0.35", linestyle=(0, (1, 1.5)))
    if chance is not None:  # on the left, where most is present, scores are highest
        place = {"xy": (0.01, chance), "xycoords": curves.get_yaxis_transform(), "va": "bottom", "fontsize": "small"}
        curves.annotate(f"guessing: {chance:.1f} %", **place)
    if score in SHARES:
        figure.supxlabel(
            "Shades and bars: 95 % Wilson score intervals. All lines are of the same test samples.", fontsize="medium"
        )
    return figure


def _curves(axes: Axes, grid: pd.DataFrame, score: str) -> None:
    for number, (kind, rows) in enumerate(grid.groupby("type", sort=False)):
        rows = rows.sort_values("ratio")
        if score in SHARES:
            low, high = wilson(rows[score], rows["n"])
            axes.fill_between(100 * rows["ratio"], low, high, color=COLOURS[number % len(COLOURS)], alpha=0.1, lw=0)
        axes.plot(
            100 * rows["ratio"],
            rows[score],
            label="both: any incomplete\npattern, evenly" if kind in ("both", "all") else kind,
            color=COLOURS[number % len(COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            linestyle=_LINES[number // len(COLOURS) % len(_LINES)],
            markersize=5,
        )


def _points(axes: Axes, patterns: pd.DataFrame, score: str) -> None:
    places, values = range(len(patterns)), patterns[score]
    low, high = wilson(values, patterns["n"]) if score in SHARES else (values, values)
    axes.errorbar(places, values, [values - low, high - values], color=COLOURS[0], fmt="o", capsize=3)
    for place, value, top in zip(places, values, high, strict=True):
        if np.isfinite(value):
            above = top < 93  # the axis ends at 100
            axes.annotate(
                f"{value:.1f}",
                (place, top if above else value),
                (0, 4) if above else (0, -16),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
    axes.set_xticks(places, patterns["present"], rotation=40, ha="right", rotation_mode="anchor")
    axes.margins(x=0.1)


def routing_plot(used: pd.DataFrame, title: str) -> Figure:
    """Draws which experts each layer uses, one panel per missing pattern (the paper's Figure 5), and says what to see.

    Args:
        used: Columns ``layer``, ``pattern``, ``expert``, ``top1_share`` (0-1), one row per combination.
        title: Title of the figure.

    Returns:
        The figure.
    """
    layers, experts = np.unique(used["layer"]), np.unique(used["expert"])
    panels = {
        str(name): 100 * rows.pivot(index="expert", columns="layer", values="top1_share").to_numpy()
        for name, rows in used.groupby("pattern", sort=False)
    }
    figure = _heat_maps(panels, list(map(str, layers)), list(map(str, experts)), title)
    _label(
        figure,
        "block of the tower (from 0)",
        "expert (from 0)",
        "tokens that choose the expert first (%)",
        _WHAT_TO_SEE,
    )
    return figure


def contributions_plot(found: pd.DataFrame, title: str) -> Figure:
    """Draws what each modality is worth to each class, one panel per missing pattern, and says what to see.

    Args:
        found: Columns ``pattern``, ``class``, ``modality``, ``lost`` (-1 to 1), one row per combination.
        title: Title of the figure.

    Returns:
        The figure.
    """
    classes, modalities = (list(found[name].unique()) for name in ("class", "modality"))
    panels = {
        str(name): 100
        * rows.pivot(index="class", columns="modality", values="lost").reindex(classes, columns=modalities)
        for name, rows in found.groupby("pattern", sort=False)
    }
    figure = _heat_maps(
        {name: cells.to_numpy() for name, cells in panels.items()}, modalities, classes, title, signed=True
    )
    _label(
        figure, "modality that is taken away", "class", "probability of the class that is lost (points)", _WHAT_COUNTS
    )
    return figure


def _heat_maps(
    panels: Mapping[str, NDArray[np.float64]],
    columns: Sequence[str],
    rows: Sequence[str],
    title: str,
    *,
    signed: bool = False,
) -> Figure:
    """Panels of numbers in percent, at most four beside each other; cells that are NaN stay empty."""
    cols = min(len(panels), 4)
    lines = -(-len(panels) // cols)
    width, height = 0.9 + 0.48 * len(columns), 0.9 + 0.42 * len(rows)
    # The label of the colour bar needs 3.4 inches, however few the rows.
    figure = Figure(figsize=(max(cols * width, 5) + 1.2, max(lines * height + 0.8, 3.4)), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(lines, cols, squeeze=False, sharex=True, sharey=True)
    for axes, (name, share) in zip(grid.flat, panels.items(), strict=False):
        axes.imshow(share, cmap="PuOr" if signed else "cividis", vmin=-100 if signed else 0, vmax=100, aspect="auto")
        axes.set_title(name, fontsize="medium")
        axes.tick_params(labelbottom=True)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        for (row, col), value in np.ndenumerate(share):
            text = "" if np.isnan(value) else f"{np.rint(value).astype(int)}"  # an integer has no -0
            ink = "black" if (abs(value) < 60 if signed else value > 55) else "white"
            axes.text(col, row, text, ha="center", va="center", color=ink, fontsize=7)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    return figure


def _label(figure: Figure, below: str, left: str, colours: str, what_to_see: str) -> None:
    """What the axes and colours of heat maps mean, and a sentence below that says what to see."""
    image = figure.axes[0].images[0]
    sentence = fill(what_to_see, int(13 * figure.get_figwidth()))
    figure.set_figheight(figure.get_figheight() + 0.17 * (sentence.count("\n") + 2))
    figure.supxlabel(f"{below}\n\n{sentence}", fontsize="medium")
    figure.supylabel(left)
    figure.colorbar(image, ax=figure.axes, label=colours)
