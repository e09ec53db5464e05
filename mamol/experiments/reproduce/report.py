"""A reproduced table as Markdown, CSV and LaTeX."""

from pathlib import Path

import pandas as pd

from mamol.core.files import replacing
from mamol.evaluation.markdown import markdown
from mamol.evaluation.statistics import LEVEL
from mamol.experiments.reproduce.collect import labels_of
from mamol.experiments.reproduce.differences import all_differences
from mamol.experiments.reproduce.plan import Plan
from mamol.experiments.reproduce.reported import DATASETS
from mamol.launch.job import Outcome

NOISE = "≈"
MISPRINT = "*"


def heading(plan: Plan) -> str:
    """The table's title, with ``stand-in`` in it where the runs are not the paper's.

    Args:
        plan: What was run.
    """
    return plan.table.title + (" (stand-in)" if all_differences(plan) else "")


def write_table(plan: Plan, table: pd.DataFrame, runs: pd.DataFrame, failed: list[Outcome]) -> str:
    """Writes ``<name>.md``, ``.csv``, ``.tex`` and ``runs.csv`` into the plan's folder.

    Args:
        plan: What was run.
        table: Of ``summarise``.
        runs: Of ``collect``.
        failed: Runs that ended with an error.

    Returns:
        The Markdown text.
    """
    shown = display(plan, table)
    text = "\n\n".join([f"# {heading(plan)}", *_remarks(plan, table), markdown(shown), *_failures(failed)])
    write_text(plan.folder / f"{plan.name}.md", text + "\n")
    write_text(plan.folder / f"{plan.name}.tex", _latex(plan, shown))
    write_csv(plan.folder / f"{plan.name}.csv", table)
    write_csv(plan.folder / "runs.csv", runs)
    return text


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Writes a data frame atomically.

    Args:
        path: The file; its folder is created.
        frame: A column ``stand_in`` comes first in the file, a column ``condition`` is left out.
    """
    first = [name for name in ("stand_in",) if name in frame]
    columns = [*first, *(name for name in frame if name not in (*first, "condition"))]
    with replacing(path) as temporary:
        frame[columns].to_csv(temporary, index=False)


def write_text(path: Path, text: str) -> None:
    """Writes a text atomically.

    Args:
        path: The file; its folder is created.
        text: Its content, as it is.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def display(plan: Plan, table: pd.DataFrame) -> pd.DataFrame:
    """The columns for people: scores as mean ± standard deviation, the paper's beside them, and the difference.

    Args:
        plan: What was run.
        table: Of ``summarise``.
    """
    shown = table[["dataset", "protocol", *labels_of(plan), "method", "runs"]].astype(object)
    shown = shown.where(shown.notna(), "-")
    marks = (table["p_best"] > LEVEL).map({True: f" {NOISE}", False: ""})
    stars = (table["misprint"] != "").map({True: MISPRINT, False: ""})
    for score in plan.table.scores:
        spread = table[f"{score}_std"].map(lambda value: "" if pd.isna(value) else f" ± {value:.2f}")
        shown[score] = _number(table[score]) + spread + (marks if score == plan.table.scores[0] else "")
        if f"reported_{score}" in table and table[f"reported_{score}"].notna().any():
            shown[f"{score} in paper"] = _number(table[f"reported_{score}"]) + stars
            shown[f"{score} difference"] = _number(table[f"difference_{score}"], "+.2f")
    return shown


def _number(column: pd.Series, form: str = ".2f") -> pd.Series:
    return column.map(lambda value: "-" if pd.isna(value) else format(value, form))


def _remarks(plan: Plan, table: pd.DataFrame) -> list[str]:
    """What a reader has to know of the numbers."""
    remarks = []
    reasons = all_differences(plan)
    if reasons:
        scenes = ", ".join(DATASETS[name] for name in plan.table.datasets)
        remarks.append(
            f"**Stand-in**: {reasons}. Such numbers neither confirm nor refute the paper's, which are for {scenes}."
        )
    remarks.append(
        f"{plan.table.units}: mean ± standard deviation over the runs (seeds of weights, order and "
        "missing patterns; the split is one). Difference: own less paper, in points; the paper gives no spread."
    )
    if plan.table.note:
        remarks.append(plan.table.note)
    if (table["p_best"] > LEVEL).any():
        remarks.append(
            f"{NOISE} the margin to the best method of the same row is noise (McNemar's exact test on the same test "
            f"samples, median over seeds, p > {LEVEL})."
        )
    remarks += sorted({f"{MISPRINT} in the paper: {text}." for text in table["misprint"] if text})
    return remarks


def _failures(failed: list[Outcome]) -> list[str]:
    lines = [f"- {outcome.job.name}: {outcome.error}" for outcome in failed]
    return ["## Failed runs", "\n".join(lines)] if lines else []


def _latex(plan: Plan, shown: pd.DataFrame) -> str:
    reasons = all_differences(plan)
    caption = _escaped(heading(plan) + (f": {reasons}" if reasons else ""))
    plain = shown.map(lambda cell: _escaped(str(cell)).replace("±", r"$\pm$").replace(NOISE, r"$\approx$"))
    plain.columns = [_escaped(name) for name in shown.columns]
    body = plain.to_latex(index=False, escape=False, caption=caption, label=f"tab:{plan.name}")
    return f"% {heading(plan)}; needs \\usepackage{{booktabs}}\n{body}"


def _escaped(text: str) -> str:
    for character in "&%_#":
        text = text.replace(character, f"\\{character}")
    return text
