"""Tiles side by side: their labels, what a network says, and where it is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from mamol.evaluation.plots import class_colours

RIGHT, WRONG = "#DDDDDD", "#B2182B"
SIDE, BESIDE = 2.1, 1.9  # inches of a panel, and for the legend


@dataclass(frozen=True)
class TilePicture:
    """A tile.

    Attributes:
        name: Left of it.
        label: (P, P) class numbers from 0; negative pixels are unlabelled.
        prediction: (P, P) class numbers from 0; negative where nothing is said.
    """

    name: str
    label: NDArray[np.integer]
    prediction: NDArray[np.integer]

    @property
    def error(self) -> NDArray[np.int64]:
        """0 where it is right, 1 where it is wrong, -1 where it cannot be told."""
        known = (self.label >= 0) & (self.prediction >= 0)
        return np.where(known, (self.label != self.prediction).astype(np.int64), -1)


def tiles_plot(tiles: Sequence[TilePicture], classes: Sequence[str], title: str, colours: Sequence[str] = ()) -> Figure:
    """Draws label, prediction and error of some tiles, a line for each.

    Args:
        tiles: At least one.
        classes: K names.
        title: Of the figure.
        colours: ``#rrggbb`` of each class; empty: the palette.

    Returns:
        The figure.
    """
    painted = class_colours(len(classes), colours) / 255
    of_classes, of_errors = ListedColormap(painted), ListedColormap([RIGHT, WRONG])
    height = max(SIDE * len(tiles), 0.25 * (len(classes) + 5)) + 0.9
    figure = Figure(figsize=(3 * SIDE + BESIDE + 0.6, height), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(tiles), 3, squeeze=False)
    for number, (row, tile) in enumerate(zip(grid, tiles, strict=True)):
        panels = (("label", tile.label, of_classes), ("prediction", tile.prediction, of_classes))
        for axes, (name, content, colour) in zip(row, (*panels, ("error", tile.error, of_errors)), strict=True):
            axes.imshow(
                np.ma.masked_less(content, 0), cmap=colour, vmin=-0.5, vmax=colour.N - 0.5, interpolation="nearest"
            )
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title("" if number else name, fontsize="medium")
        row[0].set_ylabel(tile.name, fontsize="small")
    keys = {**dict(zip(classes, painted, strict=True)), "none, or not seen": "white", "right": RIGHT, "wrong": WRONG}
    handles = [Patch(facecolor=colour, edgecolor="black", linewidth=0.4, label=name) for name, colour in keys.items()]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize="small")
    return figure
