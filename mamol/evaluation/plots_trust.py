"""Figures of a calibration: reliability diagrams, and risk against the share of what is decided."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from mamol.core.calibration import Curve
from mamol.evaluation.plots_missing import COLOURS

ACROSS = 4  # panels beside each other
MOST = 16  # patterns that are drawn
AREA = 260  # square points of a bin that has all samples
Points = Sequence[tuple[float, float, float]]
"""Confidence, share of right ones, share of the samples; 0-1."""


def reliability_plot(panels: Mapping[str, Mapping[str, Points]], title: str) -> Figure:
    """Draws how often predictions are right against how sure they say they are, a panel per pattern.

    Args:
        panels: Pattern to what is compared, ``before`` and ``after``, to its bins.
        title: Of the figure.

    Returns:
        The figure.
    """
    shown = dict(list(panels.items())[:MOST])
    across = min(ACROSS, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(2.9 * across + 0.6, 3.0 * down + 1.2), layout="constrained")
    figure.suptitle(title)
    places = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (name, compared) in zip(places, shown.items(), strict=False):
        axes.plot((0, 100), (0, 100), color="0.6", linestyle="--", linewidth=1)
        for (label, points), colour, marker in zip(compared.items(), (COLOURS[1], COLOURS[0]), "so", strict=False):
            confidence, right, share = ([100 * value for value in part] for part in zip(*points, strict=True))
            sizes = [AREA * part / 100 for part in share]
            axes.plot(confidence, right, color=colour, alpha=0.6, linewidth=1)
            axes.scatter(confidence, right, sizes, color=colour, marker=marker, alpha=0.75, label=label)
        axes.set(title=name, xlim=(0, 102), ylim=(0, 102), aspect="equal")
        axes.grid(alpha=0.3)
    for axes in places[len(shown) :]:
        axes.set_axis_off()
    figure.supxlabel("confidence (%)\nthe larger a mark, the more test samples", fontsize="medium")
    figure.supylabel("right (%)", fontsize="medium")
    figure.legend(handles=list(places[0].collections), loc="outside upper right", ncols=2, frameon=False)
    return figure


def risk_plot(curves: Mapping[str, Curve], title: str) -> Figure:
    """Draws the share of wrong ones among those that are decided, the most confident first, a line per pattern.

    Args:
        curves: Pattern to its curve on the test table.
        title: Of the figure.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="decided test samples (%)", ylabel="wrong among them (%)")
    for number, (name, curve) in enumerate(list(curves.items())[:MOST]):
        style = "-" if number < len(COLOURS) else "--"
        share, risk = [100 * value for value in curve.share], [100 * value for value in curve.risk]
        axes.step(share, risk, where="pre", label=name, color=COLOURS[number % len(COLOURS)], linestyle=style)
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(title="present", loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize="small")
    return figure
