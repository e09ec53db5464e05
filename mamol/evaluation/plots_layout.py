"""Where the parts of a map's figure stand: title, panels and legend beside each other, whatever their sizes.

Matplotlib's layout engines fit the panels to a given page and let a legend grow over what is around it. Here the page
grows with its parts: titles and legends are measured, in inches, and nothing shares a place.
"""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

WIDEST, HIGHEST = 9.0, 7.0  # inches that the panels beside each other, and a panel, take at most
NARROWEST = 1.4  # inches for a panel, so that its labels do not reach into the next one
LEFT, BELOW, ABOVE, PAD = 0.8, 0.6, 0.35, 0.15  # inches for a panel's labels and title, and between parts
TICK = 0.6  # inches that a number on an axis takes
WIDER = 0.45  # inches more beside a panel for numbers that are coordinates
ROUND = {"integer": True, "steps": [1, 2, 5, 10], "min_n_ticks": 1}  # numbers on an axis


def place_map(
    figure: Figure, shape: tuple[int, ...], handles: Sequence[Patch], title: str, *, wide: bool = False
) -> None:
    """Sets the size of a figure and the places of its panels, and adds title and legend.

    Panels of wide scenes stand one below the other, of high ones side by side, as do three that are not very wide; four
    of scenes that are neither stand in two rows. The legend stands right of them, or below where that leaves less paper
    empty.

    Args:
        figure: With one axes or more, each with an image of a scene.
        shape: Rows and columns of the scene.
        handles: Of the legend.
        title: Of the figure.
        wide: Whether the numbers on the axes are coordinates, which have many digits.
    """
    rows, cols = shape[:2]
    left_of, tick = (LEFT + WIDER, TICK + WIDER) if wide else (LEFT, TICK)
    down, across = _grid(len(figure.axes), rows, cols)
    scale = min(WIDEST / across / cols, HIGHEST / rows)
    width, height = max(cols * scale, NARROWEST), max(rows * scale, TICK)
    above = ABOVE if any(axes.get_title() for axes in figure.axes) else 0
    cell = left_of + width + (WIDER if wide else 0), above + height + BELOW
    panels = across * cell[0], down * cell[1]
    above_all = figure.suptitle(title, x=0.5, y=1, va="top", ha="center")
    legend, below = _legend(figure, handles, (panels[0], panels[1] - above))
    keys, top = _inches(figure, legend), _inches(figure, above_all)[1] + 2 * PAD
    body = (panels[0], panels[1] + keys[1]) if below else (panels[0] + PAD + keys[0], max(panels[1], above + keys[1]))
    page = max(body[0], _inches(figure, above_all)[0]) + 2 * PAD, top + body[1] + PAD
    figure.set_size_inches(page)
    start = (page[0] - body[0]) / 2  # a title may be wider than what it stands over
    for number, axes in enumerate(figure.axes):
        row, col = divmod(number, across)
        left, bottom = start + col * cell[0] + left_of, page[1] - top - (row + 1) * cell[1] + BELOW
        axes.set_position((left / page[0], bottom / page[1], width / page[0], height / page[1]))
        axes.xaxis.set_major_locator(MaxNLocator(max(1, int(width / tick)), **ROUND))
        axes.yaxis.set_major_locator(MaxNLocator(max(1, int(height / TICK)), **ROUND))
    corner = (start + left_of, page[1] - top - panels[1]) if below else (start + panels[0] + PAD, page[1] - top - above)
    legend.set_bbox_to_anchor((corner[0] / page[0], corner[1] / page[1]), figure.transFigure)
    above_all.set_position((0.5, 1 - PAD / page[1]))


def _grid(panels: int, rows: int, cols: int) -> tuple[int, int]:
    """How many panels stand below each other, and how many side by side."""
    if cols > rows * (panels - 1):
        return panels, 1
    return (2, 2) if panels == 4 and rows < 2 * cols else (1, panels)


def _legend(figure: Figure, handles: Sequence[Patch], panels: tuple[float, float]) -> tuple[Legend, bool]:
    """The legend, and whether it stands below the panels: there it has as many columns as they are wide."""
    legend = figure.legend(handles=handles, loc="upper left", frameon=False, borderaxespad=0, borderpad=0)
    width, height = _inches(figure, legend)
    if height <= panels[1] or panels[0] < 2 * width:
        return legend, False
    legend.remove()
    columns = min(int(panels[0] / (width + 2 * PAD)), len(handles))
    if any(map(is_heading, handles)):
        handles, columns = _in_columns(handles, columns)
    return figure.legend(
        handles=handles, loc="upper left", frameon=False, borderaxespad=0, borderpad=0, ncols=columns
    ), True


def heading(text: str) -> Patch:
    """A line of a legend that begins a group.

    Args:
        text: The line.
    """
    bold = text.replace(" ", r"\ ").replace("%", r"\%")
    return Patch(facecolor="none", edgecolor="none", label=f"$\\bf{{{bold}}}$" if text else " ")


def is_heading(handle: Patch) -> bool:
    """Whether a line of a legend begins a group.

    Args:
        handle: The line.
    """
    return to_rgba(handle.get_facecolor())[3] == 0


def _in_columns(handles: Sequence[Patch], most: int) -> tuple[list[Patch], int]:
    """The lines, with empty ones so that each group begins a column, and the number of columns."""
    starts = [0, *(number for number, handle in enumerate(handles) if is_heading(handle)), len(handles)]
    groups = [list(handles[start:end]) for start, end in pairwise(starts)]
    for rows in range(1, len(handles) + 1):
        columns = sum(-(-len(group) // rows) for group in groups)
        if columns <= max(most, len(groups)):
            break
    padded = [[*group, *(heading("") for _ in range(-len(group) % rows))] for group in groups]
    return [handle for group in padded for handle in group], columns


def _inches(figure: Figure, part: Legend | Text) -> tuple[float, float]:
    """Width and height."""
    box = part.get_window_extent()
    return float(box.width / figure.dpi), float(box.height / figure.dpi)
