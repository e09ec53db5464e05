"""Figures of tests with other scores than a confusion matrix shows: F1 per class, ROC curve."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from mamol.evaluation.plots_missing import COLOURS


def f1_plot(
    f1: NDArray[np.float64], support: ArrayLike, predicted: ArrayLike, classes: Sequence[str], title: str
) -> Figure:
    """Draws F1 of each class and, beside it, how many samples have it and how many are said to.

    Args:
        f1: (K,), percent; NaN where nothing was tested.
        support: (K,), samples that have the class.
        predicted: (K,), samples predicted to have it.
        classes: K names, from top to bottom.
        title: Title of the figure.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(9, 1.6 + 0.3 * len(classes)), layout="constrained")
    figure.suptitle(title)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    place = np.arange(len(classes))
    left.barh(place, f1, color=COLOURS[0], height=0.7)
    for y, value in zip(place, f1, strict=True):
        if np.isfinite(value):
            left.annotate(f"{value:.1f}", (value, y), (3, 0), textcoords="offset points", va="center", fontsize=8)
    left.set(xlim=(0, 108), xlabel="F1 (%)", yticks=place, yticklabels=list(classes))
    left.set_ylim(len(classes) - 0.4, -0.6)
    right.barh(place - 0.19, support, color="0.55", height=0.36, label="true")
    right.barh(place + 0.19, predicted, color=COLOURS[1], height=0.36, label="predicted")
    right.set_xlabel("samples")
    right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    right.legend(fontsize="small")
    for axes in (left, right):
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    return figure


def roc_plot(probability: NDArray[np.float32], label: NDArray[np.integer], auroc: float, title: str) -> Figure:
    """Draws the ROC curve of two classes.

    Args:
        probability: (n,), of the second class.
        label: (n,), 1 where it is the true one; both classes occur.
        auroc: Area below the curve in percent.
        title: Title of the figure.

    Returns:
        The figure.
    """
    from torchmetrics.functional.classification import binary_roc  # takes seconds, and few plots need it

    false, true, _ = binary_roc(torch.from_numpy(probability.copy()), torch.from_numpy(label))
    figure = Figure(figsize=(4.8, 4.8), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="false positive rate (%)", ylabel="true positive rate (%)")
    axes.plot((0, 100), (0, 100), color="0.6", linestyle="--", label="chance")
    axes.plot(100 * false, 100 * true, color=COLOURS[0], label=f"AUROC {auroc:.1f} %")
    axes.set_aspect("equal")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    return figure
