"""Figures on missing modalities: accuracy against the missing rate, and which experts are used under each pattern."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

# Okabe and Ito (2008) without yellow, which is too light for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vP*X"
_LINES = ("-", "--", ":", "-.")


def accuracy_plot(grid: pd.DataFrame, patterns: pd.DataFrame, title: str, score: str = "OA") -> Figure:
    """Draws a score against the missing rate, a line per type, and the score under each pattern beside it.

    Args:
        grid: Columns ``type``, ``ratio`` (0-1) and that of the score (percent; NaN leaves a gap).
        patterns: Columns ``present`` and that of the score.
        title: Title of the figure.
        score: Name of the score.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    figure.suptitle(title)
    curves, points = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for number, (kind, rows) in enumerate(grid.groupby("type", sort=False)):
        rows = rows.sort_values("ratio")
        curves.plot(
            100 * rows["ratio"],
            rows[score],
            label=kind,
            color=COLOURS[number % len(COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            linestyle=_LINES[number // len(COLOURS) % len(_LINES)],
            markersize=5,
        )
    curves.set(
        xlabel="incomplete test samples, missing rate η (%)", ylabel=f"{score} (%)", title="by what goes missing"
    )
    curves.legend(title="missing", ncols=2, fontsize="small")
    curves.grid(alpha=0.3)
    points.plot(range(len(patterns)), patterns[score], color=COLOURS[0], marker="o", linestyle="")
    for place, value in enumerate(patterns[score]):
        if np.isfinite(value):
            points.annotate(f"{value:.1f}", (place, value), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    points.set_xticks(range(len(patterns)), patterns["present"], rotation=40, ha="right", rotation_mode="anchor")
    points.set(xlabel="present modalities", title="every sample under one pattern")
    known = pd.concat([grid[score], patterns[score]]).dropna()
    if len(known):
        margin = max(1.0, 0.08 * float(np.ptp(known)))
        curves.set_ylim(max(0, known.min() - margin), min(102, known.max() + margin))
    points.margins(x=0.1)
    points.grid(alpha=0.3)
    return figure


def routing_plot(used: pd.DataFrame, title: str) -> Figure:
    """Draws which experts each layer uses, one panel per missing pattern (the paper's Figure 5).

    Args:
        used: Columns ``layer``, ``pattern``, ``expert``, ``top1_share`` (0-1), one row per combination.
        title: Title of the figure.

    Returns:
        The figure.
    """
    patterns = list(used["pattern"].unique())
    layers, experts = np.unique(used["layer"]), np.unique(used["expert"])
    cols = min(len(patterns), 4)
    rows = -(-len(patterns) // cols)
    width, height = 0.9 + 0.48 * len(layers), 0.9 + 0.42 * len(experts)
    # The label of the colour bar needs 3.4 inches, however few the experts.
    figure = Figure(figsize=(max(cols * width, 5) + 1.2, max(rows * height + 0.8, 3.4)), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, cols, squeeze=False, sharex=True, sharey=True)
    for axes, name in zip(grid.flat, patterns, strict=False):
        rows_of_pattern = used[used["pattern"] == name]
        share = 100 * rows_of_pattern.pivot(index="expert", columns="layer", values="top1_share").to_numpy()
        image = axes.imshow(share, cmap="cividis", vmin=0, vmax=100, aspect="auto")
        axes.set_title(name, fontsize="medium")
        axes.tick_params(labelbottom=True)
        axes.set_xticks(range(len(layers)), layers)
        axes.set_yticks(range(len(experts)), experts)
        for (row, col), value in np.ndenumerate(share):
            ink = "black" if value > 55 else "white"
            axes.text(col, row, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=7)
    for axes in grid.flat[len(patterns) :]:
        axes.remove()
    figure.supxlabel("block of the tower (from 0)")
    figure.supylabel("expert (from 0)")
    figure.colorbar(image, ax=figure.axes, label="tokens that choose the expert first (%)")
    return figure
