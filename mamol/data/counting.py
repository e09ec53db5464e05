"""The table of samples per class and split in the reports of make_arrow.py."""

from collections.abc import Mapping, Sequence


def count_table(
    counts: Mapping[str, Mapping[str, int]], classes: Sequence[str], totals: Mapping[str, int], what: str = "total"
) -> list[str]:
    """The lines of the table.

    Args:
        counts: Column, such as the split -> class -> samples.
        classes: In the order of the lines.
        totals: Column -> samples; less than the sum where a sample has several classes.
        what: Name of the last line.
    """
    width = max(len(name) for name in (*classes, "class", what))
    rows: list[tuple[str, Sequence[object]]] = [("class", list(counts))]
    rows += [(name, [column[name] for column in counts.values()]) for name in classes]
    rows.append((what, [totals[column] for column in counts]))
    wide = [max(9, len(column) + 2) for column in counts]
    return [
        f"{name:<{width}}" + "".join(f"{value!s:>{w}}" for value, w in zip(values, wide, strict=True))
        for name, values in rows
    ]
