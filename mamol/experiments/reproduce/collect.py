"""From finished runs to the numbers of a table: mean and spread over seeds, beside what the paper reports."""

from typing import Any

import numpy as np
import pandas as pd

from mamol.evaluation.results import read_metrics
from mamol.evaluation.statistics import compare, mean_std
from mamol.experiments.reproduce.differences import differences
from mamol.experiments.reproduce.plan import Cell, Plan
from mamol.experiments.reproduce.reported import AVERAGE, counterpart, reported


def collect(plan: Plan) -> pd.DataFrame:
    """One row per run, in the order of the table; scores are NaN where a run is not finished.

    Args:
        plan: What was run.

    Returns:
        ``condition`` (numbers scene, protocol and row of the table), ``dataset``, ``protocol``, the row's labels,
        ``method``, ``seed``, the table's scores, ``identical_percent`` and ``shared_window_percent`` (overlap of test
        with training, None for images and texts), ``stand_in``, ``run`` (folder, None if unfinished).
    """
    conditions: dict[tuple[object, ...], int] = {}
    rows = []
    for cell in plan.cells:
        condition = conditions.setdefault((cell.source.root, *cell.row.labels.items()), len(conditions))
        rows.append({"condition": condition, **_run(plan, cell)})
    methods = list(dict.fromkeys(cell.method for cell in plan.cells))
    order = {"method": lambda column: column.map(methods.index)}
    return pd.DataFrame(rows).sort_values(
        ["condition", "method", "seed"],
        key=lambda column: order.get(str(column.name), lambda values: values)(column),
        ignore_index=True,
    )


def _run(plan: Plan, cell: Cell) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    if cell.job.trained:
        scores = read_metrics(cell.job.folder)["test"]
    info = cell.source.info
    overlap = info.about()["overlap"]
    return {
        "dataset": cell.source.dataset,
        "protocol": info.protocol,
        **cell.row.labels,
        "method": cell.method,
        "seed": cell.seed,
        **{name: np.nan if scores.get(name) is None else scores[name] for name in plan.table.scores},
        "identical_percent": overlap.get("identical_percent"),
        "shared_window_percent": overlap.get("shared_window_percent"),
        "stand_in": differences(plan, cell.source),
        "run": str(cell.job.folder) if cell.job.trained else None,
    }


def averages(plan: Plan, runs: pd.DataFrame) -> pd.DataFrame:
    """The mean over a table's rates, as Table 5 has it; no rows where a table has none or other rates were asked for.

    Args:
        plan: What was run.
        runs: Of ``collect``.

    Returns:
        Rows like those of ``runs``, one per scene, protocol, method and seed, with ``average`` as the rate and the mean
        of each score; it is NaN until the runs at all rates are finished.
    """
    label = plan.table.average
    if not label or set(runs[label]) != set(plan.table.rates):
        return runs.iloc[:0]
    scores, rows = list(plan.table.scores), []
    groups = runs.groupby(["dataset", "protocol", "method", "seed"], sort=False)
    scenes: dict[object, int] = {}
    for (dataset, protocol, _, _), group in groups:
        condition = runs["condition"].max() + 1 + scenes.setdefault((dataset, protocol), len(scenes))
        means = group[scores].astype(float).mean(skipna=False).to_dict()
        rows.append({**group.iloc[0].to_dict(), "condition": condition, label: AVERAGE, **means, "run": None})
    return pd.DataFrame(rows, columns=runs.columns)


def labels_of(plan: Plan) -> list[str]:
    """Names of the columns that distinguish the rows of the table within a scene and protocol.

    Args:
        plan: What was run.
    """
    return list(dict.fromkeys(label for cell in plan.cells for label in cell.row.labels))


def summarise(plan: Plan, runs: pd.DataFrame) -> pd.DataFrame:
    """The table: mean and standard deviation over seeds, the paper's numbers, differences.

    Args:
        plan: What was run.
        runs: Of ``collect``.

    Returns:
        One row per ``condition`` and ``method``, with ``dataset``, ``protocol`` and labels; ``runs`` (how many are
        finished), scores and ``<score>_std`` (NaN for a single run); ``p_best``, the median over seeds of McNemar's
        exact p-value against the best method of the condition, where samples have one class; ``reported_<score>``,
        ``misprint`` (in the paper), ``difference_<score>`` (own less reported, percentage points); ``stand_in``. The
        rows of ``averages`` are among them, behind those of all scenes.
    """
    scores = plan.table.scores
    rows = []
    content = [part for part in (runs, averages(plan, runs)) if len(part)]
    for _, group in pd.concat(content).groupby(["condition", "method"], sort=False):
        done = group.dropna(subset=scores[0])
        row = group.iloc[0][["condition", "dataset", "protocol", *labels_of(plan), "method"]].to_dict()
        row["runs"] = len(done)
        for name in scores:
            mean, std = mean_std(done[name].tolist()) if len(done) else (None, None)
            row |= {name: mean, f"{name}_std": std}
        rows.append({**row, "stand_in": group["stand_in"].iloc[0]})
    numbers = [f"{name}{end}" for name in scores for end in ("", "_std")]
    table = pd.DataFrame(rows).astype(dict.fromkeys(numbers, float))
    if scores[0] == "OA":
        table = _against_the_best(table, runs)
    else:
        table["p_best"] = np.nan
    return _beside_the_paper(plan, table)


def _against_the_best(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Adds ``p_best``; NaN for the best method itself and where there is nothing to compare."""
    finished = {
        place: group.set_index("seed")["run"].to_dict()
        for place, group in runs.dropna(subset="run").groupby(["condition", "method"])
    }
    best = table.dropna(subset="OA").sort_values("OA").drop_duplicates("condition", keep="last")
    best_of = dict(zip(best["condition"], best["method"], strict=True))
    p_best = []
    for place in zip(table["condition"], table["method"], strict=True):
        own = finished.get(place, {})
        others = finished.get((place[0], best_of.get(place[0], "")), {})
        pairs = [(own[seed], others[seed]) for seed in own.keys() & others.keys() if own is not others]
        p_best.append(np.median([compare(*pair).p_value for pair in pairs]) if pairs else np.nan)
    return table.assign(p_best=p_best)


def _beside_the_paper(plan: Plan, table: pd.DataFrame) -> pd.DataFrame:
    """Adds what the paper reports for the same condition of the data, or of those that they stand in for."""
    paper = reported(plan.name)
    if plan.table.average and AVERAGE in set(table[plan.table.average]):
        paper = pd.concat([paper, reported(f"{plan.name}_{AVERAGE}")], ignore_index=True)
    scores = [column for column in paper if column in plan.table.scores]
    known = [column for column in paper if column not in (*scores, "misprint")]
    if set(known) <= set(table.columns):
        only = paper["dataset"].iloc[0] if paper["dataset"].nunique() == 1 else ""
        paper = paper.rename(columns={"dataset": "scene", **{score: f"reported_{score}" for score in scores}})
        table = table.assign(
            scene=table["dataset"].map(lambda dataset: only or counterpart(dataset)),
            theirs=table["method"].map(lambda method: plan.table.reported_as.get(method, method)),
        )
        on = ["scene", "theirs", *(column for column in known if column not in ("dataset", "method"))]
        table = table.merge(paper.rename(columns={"method": "theirs"}), "left", on=on).drop(columns=["scene", "theirs"])
    for score in scores:
        numbers = table.pop(f"reported_{score}").astype(float) if f"reported_{score}" in table else np.nan
        table[f"reported_{score}"] = numbers
        table[f"difference_{score}"] = table[score] - numbers
    return table.assign(misprint=table.pop("misprint").fillna("") if "misprint" in table else "")
