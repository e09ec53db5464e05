"""The numbers printed in the paper, as data: ``numbers/table1.csv`` to ``table5.csv``, and Table 5's averages.

Transcribed from arXiv 2511.11460. The column ``misprint`` of a row says what does not add up in it: with balanced test
sets (300 pixels per class) OA is a multiple of 1/N and kappa follows from it.
"""

from pathlib import Path

import pandas as pd

FOLDER = Path(__file__).parent / "numbers"
DATASETS = {"houston2013": "Houston2013", "trento": "Trento", "augsburg": "Augsburg", "mmimdb": "MM-IMDb"}
"""The paper's data by the names of make_arrow.py."""
AVERAGE = "average"
"""In the column ``rate``: the mean over all rates."""
SCORES = ("OA", "kappa", "F1_macro")


def reported(table: str) -> pd.DataFrame:
    """The numbers of one table or figure of the paper.

    Args:
        table: ``table1`` to ``table5``, ``table5_average``; the figures print no numbers.

    Returns:
        A row per number: what it belongs to, ``OA`` and ``kappa`` in percent (Table 2: ``F1_macro``), ``misprint``
        (empty where nothing is wrong). No rows for a figure.
    """
    path = FOLDER / f"{table}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=["dataset", "method", *SCORES[:2], "misprint"])
    content = pd.read_csv(path, keep_default_na=False)
    return content if "misprint" in content else content.assign(misprint="")


def counterpart(dataset: str) -> str | None:
    """The dataset of the paper with which a folder's name begins; None if there is none.

    Args:
        dataset: Name of a folder of tables: ``trento_hybrid`` begins with ``trento``.
    """
    return next((name for name in DATASETS if dataset.startswith(name)), None)
