"""Data frames as Markdown tables."""

import pandas as pd


def markdown(frame: pd.DataFrame, digits: int = 2) -> str:
    """A Markdown table with columns padded to the same width, so that it reads well in a terminal, too.

    Args:
        frame: Its index is left out; missing values are shown as ``-``.
        digits: Decimals of floating-point columns.

    Returns:
        The lines, without a line feed at the end.
    """
    columns = [_texts(frame.iloc[:, i], digits) for i in range(frame.shape[1])]
    widths = [max(map(len, column)) for column in columns]
    rows = [[text.ljust(w) for text, w in zip(row, widths, strict=True)] for row in zip(*columns, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _texts(column: pd.Series, digits: int) -> list[str]:
    """The heading and the cells of a column."""
    number = f".{digits}f" if pd.api.types.is_float_dtype(column) else ""
    return [str(column.name), *("-" if pd.isna(value) else format(value, number) for value in column)]
