"""The scores of a test as a table for people."""

from collections.abc import Collection
from typing import Any

from mamol.evaluation.statistics import SHARES, interval_text

INTERVAL = "95 % interval"  # head of the column


def as_text(result: dict[str, Any], shares: Collection[str] = SHARES) -> str:
    """The scores as a table for people: one line for all samples, one per missing pattern, one per scene of several.

    Patterns hold different samples, and few of them; so a score that is a share of the samples has Wilson's 95 %
    interval beside it.

    Args:
        result: As ``mamol.core.task.Task.report`` gives it.
        shares: Scores that have this interval, ``Task.shares``.
    """
    rows = [("all", result), *result["per_pattern"].items()]
    rows += [(f"in {name}", row) for name, row in result.get("per_scene", {}).items()]
    names = [name for name, value in rows[-1][1].items() if name != "n" and not isinstance(value, dict)]
    heads = []
    for name in names:
        heads += [f"{'kappa' if name == 'kappa' else f'{name} %':>6}", *([INTERVAL] if name in shares else [])]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'present':<{width}}  {'samples':>7}  " + "  ".join(heads)]
    for name, row in rows:
        cells = zip(_cells(row, names, shares), heads, strict=True)
        lines.append(f"{name:<{width}}  {row['n']:>7}  " + "  ".join(f"{cell:>{len(head)}}" for cell, head in cells))
    return "\n".join(lines)


def _cells(row: dict[str, Any], names: list[str], shares: Collection[str]) -> list[str]:
    cells = []
    for name in names:
        value = row[name]
        cells += ["-" if value is None else format(value, ".2f")]
        cells += [interval_text(value, row["n"])] if name in shares else []
    return cells
