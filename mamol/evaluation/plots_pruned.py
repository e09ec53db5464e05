"""The figure of a pruning: parameters by part, scores by pattern, and what each routed expert matters."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamol.evaluation.plots_missing import COLOURS

BEFORE, AFTER = COLOURS[5], COLOURS[0]


def pruning_plot(
    parameters: tuple[Mapping[str, int], Mapping[str, int]],
    scores: pd.DataFrame,
    shares: Mapping[int, NDArray[np.float64]],
    kept: Mapping[int, Sequence[int]],
    tau: float,
    title: str,
) -> Figure:
    """Draws what went and what it cost; a panel without anything to show is left out.

    Args:
        parameters: Part to number, before and after.
        scores: Columns ``present``, ``score``, ``before`` and ``after``; of a test the first score is drawn.
        shares: Block to the share of each routed expert, 1 being an even one.
        kept: Block to the numbers of those that stay.
        tau: The threshold.
        title: Of the figure.

    Returns:
        The figure.
    """
    panels = ["parameters", *(["scores"] if len(scores) else []), *(["shares"] if shares else [])]
    figure = Figure(figsize=(4.6 * len(panels) + 0.4, 4.4), layout="constrained")
    figure.suptitle(title)
    drawn = dict(zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True))
    _parameters(drawn["parameters"], *parameters)
    if "scores" in drawn:
        _scores(drawn["scores"], scores)
    if "shares" in drawn:
        _shares(drawn["shares"], shares, kept, tau)
    drawn["parameters"].legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, frameon=False)
    return figure


def _parameters(axes: Axes, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """Bars from the top, in thousands, with what is saved."""
    hidden = ("frozen", "total") if "trainable" in before else ()  # next to a frozen tower nothing else is seen
    names = [name for name, value in before.items() if value and name not in hidden]
    places = np.arange(len(names))
    for shift, counts, colour, label in ((-0.2, before, BEFORE, "before"), (0.2, after, AFTER, "after")):
        axes.barh(places + shift, [counts[name] / 1000 for name in names], 0.4, color=colour, label=label)
    for place, name in enumerate(names):
        saved = 100 * (1 - after[name] / before[name])
        text = f"−{saved:.0f} %" if saved >= 0.5 else "same" if after[name] == before[name] else "−<1 %"
        axes.annotate(text, (before[name] / 1000, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set(xlabel="parameters (thousands)", title="parameters")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _scores(axes: Axes, scores: pd.DataFrame) -> None:
    """Points before and after, a line of the axis per pattern."""
    first = str(scores["score"].iloc[0])
    shown = scores if first.startswith("R²") else scores[scores["score"] == first]
    several = shown["score"].nunique() > 1
    places = np.arange(len(shown))
    axes.plot(shown["before"], places - 0.12, "o", color=BEFORE, label="before", markersize=8)
    axes.plot(shown["after"], places + 0.12, "D", color=AFTER, label="after", markersize=5)
    names = [f"{row.score} from {row.present}" if several else str(row.present) for row in shown.itertuples()]
    axes.set_yticks(places, names, fontsize=8 if several else None)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set(xlabel="R²" if first.startswith("R²") else f"{first} (%)", title="scores under each pattern")
    if not first.startswith("R²"):
        axes.set_xlim(0, 100)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _shares(
    axes: Axes, shares: Mapping[int, NDArray[np.float64]], kept: Mapping[int, Sequence[int]], tau: float
) -> None:
    """A cell per block and expert; those that went are crossed out."""
    experts = max(map(len, shares.values()))
    cells = np.full((experts, len(shares)), np.nan)
    for column, share in enumerate(shares.values()):
        cells[: len(share), column] = share
    axes.imshow(cells, cmap="cividis", vmin=0, vmax=max(2.0, float(np.nanmax(cells))), aspect="auto")
    middle = max(2.0, float(np.nanmax(cells))) / 2
    for column, (layer, share) in enumerate(shares.items()):
        for expert, value in enumerate(share):
            ink = "black" if value > middle else "white"
            axes.text(column, expert, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
            if expert not in kept[layer]:
                axes.plot([column - 0.45, column + 0.45], [expert + 0.4, expert - 0.4], color=COLOURS[1], lw=2)
    axes.set_xticks(range(len(shares)), [str(layer) for layer in shares])
    axes.set_yticks(range(experts), [str(expert) for expert in range(experts)])
    axes.set(xlabel=f"block\nstruck out: below tau = {tau:g}, gone", ylabel="routed expert", title="share (1 is even)")
