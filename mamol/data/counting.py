"""The table of samples per class and split in the reports of make_arrow.py."""

from collections.abc import Mapping, Sequence

from mamol.data.splits import SPLITS


def count_table(
    counts: Mapping[str, Mapping[str, int]], classes: Sequence[str], totals: Mapping[str, int], what: str = "total"
) -> list[str]:
    """The lines of the table.

    Args:
        counts: Split -> class -> samples.
        classes: In the order of the lines.
        totals: Split -> samples; less than the sum where a sample has several classes.
        what: Name of the last line.
    """
    width = max(len(name) for name in (*classes, "class", what))
    rows: list[tuple[str, Sequence[object]]] = [("class", SPLITS)]
    rows += [(name, [counts[split][name] for split in SPLITS]) for name in classes]
    rows.append((what, [totals[split] for split in SPLITS]))
    return [f"{name:<{width}}" + "".join(f"{value:>9}" for value in values) for name, values in rows]
