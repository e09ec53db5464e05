"""The scores of a test as a table for people."""

from typing import Any


def as_text(result: dict[str, Any]) -> str:
    """The scores as a table for people: one line for all samples and one per missing pattern.

    Args:
        result: As ``mamol.core.task.Task.report`` gives it.
    """
    rows = [("all", result), *result["per_pattern"].items()]
    names = [name for name, value in rows[-1][1].items() if name != "n" and not isinstance(value, dict)]
    heads = {name: f"{'kappa' if name == 'kappa' else f'{name} %':>6}" for name in names}
    width = max(len(name) for name, _ in rows)
    lines = [f"{'present':<{width}}  {'samples':>7}  " + "  ".join(heads.values())]
    lines += [
        f"{name:<{width}}  {row['n']:>7}  "
        + "  ".join(f"{_cell(row[key]):>{len(head)}}" for key, head in heads.items())
        for name, row in rows
    ]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    return "-" if value is None else format(value, ".2f")
