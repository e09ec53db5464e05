"""How much of the accuracy the draw of the test pixels is worth: the same runs on splits by different protocols."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mamol.evaluation.markdown import markdown
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_missing import COLOURS
from mamol.evaluation.statistics import mean_std
from mamol.experiments.reproduce.differences import all_differences, backbone
from mamol.experiments.reproduce.plan import Plan
from mamol.experiments.reproduce.report import heading, write_csv, write_text

MARKERS = "osD^"


def write_protocols(plan: Plan, runs: pd.DataFrame) -> str:
    """Writes ``protocols.md``, ``.csv`` and ``.png``.

    Args:
        plan: What was run.
        runs: Of ``mamol.experiments.reproduce.collect.collect``.

    Returns:
        The Markdown text.
    """
    table = by_protocol(runs, plan.settings.reproduce.protocols)
    reasons = all_differences(plan)
    title = "Protocols side by side" + (" (stand-in)" if reasons else "")
    remark = (
        f"Runs of {heading(plan)}"
        + (f": {reasons}" if reasons else "")
        + f". OA in percent, mean over the table's rows, ± standard deviation over seeds. Worth: OA less that of "
        f"protocol {plan.settings.reproduce.protocols[-1]}, in points."
    )
    text = "\n\n".join([f"# {title}", remark, markdown(table)])
    write_text(plan.folder / "protocols.md", text + "\n")
    write_csv(plan.folder / "protocols.csv", table.assign(stand_in=reasons))
    save_figure(
        protocol_plot(table, f"{title}: {plan.table.title}\n{backbone(plan.settings.network)}"),
        plan.folder / "protocols.png",
    )
    return text


def by_protocol(runs: pd.DataFrame, protocols: tuple[str, ...]) -> pd.DataFrame:
    """OA by protocol, averaged over the rows of the table.

    Args:
        runs: One row per run: ``dataset``, ``protocol``, ``method``, ``seed``, ``OA``, overlap.
        protocols: In this order; differences are against the last one.

    Returns:
        One row per dataset, method and protocol: ``OA``, ``OA std``, ``worth`` (percentage points above the last
        protocol), ``test pixels in training %`` and ``test windows touching training %``.
    """
    rows = []
    for (dataset, method), part in runs.dropna(subset="OA").groupby(["dataset", "method"], sort=False):
        for protocol in protocols:
            chosen = part[part["protocol"] == protocol]
            if not len(chosen):
                continue
            mean, std = mean_std(chosen.groupby("seed")["OA"].mean().tolist())
            overlap = chosen.iloc[0]
            rows.append(
                {
                    "dataset": dataset,
                    "method": method,
                    "protocol": protocol,
                    "OA": mean,
                    "OA std": np.nan if std is None else std,
                    "test pixels in training %": overlap["identical_percent"],
                    "test windows touching training %": overlap["shared_window_percent"],
                }
            )
    columns = ["dataset", "method", "protocol", "OA", "OA std"]
    table = pd.DataFrame(rows, columns=[*columns, "test pixels in training %", "test windows touching training %"])
    last = table[table["protocol"] == protocols[-1]].set_index(["dataset", "method"])["OA"]
    base = [last.get(place, np.nan) for place in zip(table["dataset"], table["method"], strict=True)]
    table.insert(5, "worth", table["OA"] - base)
    return table


def protocol_plot(table: pd.DataFrame, title: str) -> Figure:
    """Draws OA with its spread over seeds, a panel per dataset, a group per method, a mark per protocol.

    Args:
        table: Of ``by_protocol``.
        title: Of the figure.

    Returns:
        The figure.
    """
    datasets, protocols = list(table["dataset"].unique()), list(table["protocol"].unique())
    figure = Figure(figsize=(max(6, 4.4 * len(datasets)), 4.6), layout="constrained")
    figure.suptitle(title, fontsize="medium")
    panels = figure.subplots(1, max(len(datasets), 1), sharey=True, squeeze=False)[0]
    for axes, dataset in zip(panels, datasets, strict=False):
        part = table[table["dataset"] == dataset]
        methods = list(part["method"].unique())
        for number, protocol in enumerate(protocols):
            marks = part[part["protocol"] == protocol].set_index("method").reindex(methods)
            place = np.arange(len(methods)) + 0.22 * (number - (len(protocols) - 1) / 2)
            style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            axes.errorbar(place, marks["OA"], marks["OA std"].fillna(0), label=protocol, ls="", capsize=4, **style)
            for x, value in zip(place, marks["OA"], strict=True):
                axes.annotate(f"{value:.1f}", (x, value), (6, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_xticks(range(len(methods)), methods)
        axes.set_xlim(-0.6, len(methods) - 0.4)
        axes.set(title=dataset, xlabel="method")
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("OA (%), mean over the table's rows")
    if datasets:
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, title="split by protocol", loc="outside lower center", ncols=len(protocols))
    return figure
