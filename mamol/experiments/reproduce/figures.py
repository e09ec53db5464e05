"""Figures 4 and 5 from what the runs, ``evaluate`` and ``routing`` left in the runs' folders."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mamol.evaluation.grid import ALL as ALL_SAMPLES
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_missing import COLOURS, routing_plot
from mamol.evaluation.results import read_metrics, read_table
from mamol.evaluation.routing import ALL as ALL_MODALITIES
from mamol.experiments.reproduce.differences import backbone, differences
from mamol.experiments.reproduce.plan import Cell, Plan, Source
from mamol.experiments.reproduce.report import heading, write_csv

LINES = ("-", "--", ":")
MARKERS = "osD^v"


def draw_figure(plan: Plan) -> None:
    """Writes a ``.png`` and a ``.csv`` for each scene, and training rate (Fig. 4, 5), and method (Fig. 5).

    Args:
        plan: What was run; runs that are not finished are left out, and of a table nothing is drawn.
    """
    if plan.name not in FIGURES:
        return
    draw, how_many = FIGURES[plan.name]
    parts: dict[tuple[str, ...], list[Cell]] = {}
    for cell in plan.cells:
        if cell.job.state == "finished":
            rate = f"{100 * cell.row.labels['rate']:g}"
            of_cell = (cell.source.dataset, cell.source.info.protocol, rate, cell.method)
            parts.setdefault(of_cell[:how_many], []).append(cell)
    for name, cells in parts.items():
        source = cells[0].source
        frame, figure = draw(cells, title_of(plan, source))
        path = plan.folder / f"{plan.name}_{'_'.join(name)}"
        write_csv(path.with_name(f"{path.name}.csv"), frame.assign(stand_in=differences(plan, source)))
        save_figure(figure, path.with_name(f"{path.name}.png"))


def title_of(plan: Plan, source: Source) -> str:
    """Title of a figure on one scene; the reasons for being a stand-in are in the ``.csv`` beside it.

    Args:
        plan: What was run.
        source: The tables of the scene.
    """
    note = f", {source.info.note}" if source.info.note else ""
    return (
        f"{heading(plan)}\n{source.dataset}, protocol {source.info.protocol}, {backbone(plan.settings.network)}{note}"
    )


def _figure4(cells: list[Cell], title: str) -> tuple[pd.DataFrame, Figure]:
    grids = [
        read_table(cell.job.folder / "evaluation" / "grid.csv", ("type", "ratio", "present"), ("OA",))
        .query(f"present == '{ALL_SAMPLES}'")
        .assign(method=cell.method, trained=cell.row.labels["trained"], seed=cell.seed)
        for cell in cells
    ]
    numbers = _over_seeds(pd.concat(grids).rename(columns={"type": "tested"}))
    return numbers, transfer_plot(numbers, ["both", *cells[0].source.modalities], title)


def _figure4a(cells: list[Cell], title: str) -> tuple[pd.DataFrame, Figure]:
    """From the tests of the runs themselves, whose conditions are those of their training."""
    rows = []
    for cell in cells:
        test = read_metrics(cell.job.folder)["test"]
        kind, rate = cell.row.labels["trained"], cell.row.labels["rate"]
        rows.append({"method": cell.method, "trained": kind, "tested": kind, "ratio": rate, "OA": test["OA"]})
    numbers = _over_seeds(pd.DataFrame(rows))
    figure = transfer_plot(numbers, list(numbers["tested"].unique()), title)
    figure.axes[0].set_xlabel("missing rate η of training and test (%)")
    return numbers, figure


def _over_seeds(numbers: pd.DataFrame) -> pd.DataFrame:
    keys = ["method", "trained", "tested", "ratio"]
    found = numbers.groupby(keys, sort=False)["OA"].agg(["mean", "std", "count"]).reset_index()
    return found.rename(columns={"mean": "OA", "std": "OA_std", "count": "runs"})


def transfer_plot(numbers: pd.DataFrame, tested: Sequence[str], title: str) -> Figure:
    """Draws OA against the test's missing rate, a panel per kind of missing in the test.

    Args:
        numbers: Columns ``method``, ``trained`` and ``tested`` (missing types), ``ratio`` (0-1), ``OA`` and ``OA_std``
            (percent).
        tested: The panels. A panel shows the networks trained on its own kind and those trained on ``both``.
        title: Of the figure.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(4.2 * len(tested), 4.6), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    panels = figure.subplots(1, len(tested), sharey=True, squeeze=False)[0]
    methods = list(numbers["method"].unique())
    for letter, (axes, kind) in enumerate(zip(panels, tested, strict=True)):
        chosen = numbers[(numbers["tested"] == kind) & numbers["trained"].isin(["both", kind])]
        for (method, trained), line in chosen.groupby(["method", "trained"], sort=False):
            number = methods.index(method)
            axes.errorbar(
                100 * line["ratio"],
                line["OA"],
                yerr=line["OA_std"].fillna(0),
                label=f"{method}, trained on missing {trained}",
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                linestyle=LINES[0 if trained == "both" else 1],
                markersize=4,
                capsize=2,
            )
        axes.set(title=f"({'abcdefg'[letter]}) tested on missing {kind}", xlabel="test missing rate η (%)")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    panels[0].set_ylabel("OA (%)")
    return figure


def _figure5(cells: list[Cell], title: str) -> tuple[pd.DataFrame, Figure]:
    keys, numbers = ["layer", "pattern", "modality", "expert"], ["gate_share", "top1_share"]
    used = pd.concat([read_table(_usage_file(cell), keys, numbers) for cell in cells])
    shares = used.groupby(keys, sort=False)[numbers].mean().reset_index()
    number = cells[0].job.follow_options["routing_class"]
    name = cells[0].source.info.classes[number - 1]
    what = f"{cells[0].method}, class {number}: {name}, mean of {len(cells)} run(s)"
    figure = routing_plot(shares[shares["modality"] == ALL_MODALITIES], f"{title}\n{what}")
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 1.2)  # its title has three lines
    return shares, figure


def _usage_file(cell: Cell) -> Path:
    number = cell.job.follow_options["routing_class"]
    found = sorted((cell.job.folder / "routing").glob(f"class_{number}_*"))
    return (found or [cell.job.folder / "routing"])[0] / "usage.csv"


FIGURES = {"figure4": (_figure4, 3), "figure4a": (_figure4a, 2), "figure5": (_figure5, 4)}
"""Figure to what draws it, and by how many of scene, protocol, rate and method there is one of its own."""
