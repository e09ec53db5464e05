"""The paper's numbers as transcribed: the arithmetic holds, but for the misprints that are known by name."""

import numpy as np
import pandas as pd
import pytest

from mamol.experiments.reproduce.reported import DATASETS, counterpart, reported

CLASSES = {"houston2013": 15, "trento": 6, "augsburg": 7}
PER_CLASS = 300

KAPPA_MISPRINTS = {
    "table1 houston2013 0.7 hsi moe_rep 83.88/82.19",
    "table1 houston2013 0.9 other moe_rep 97.02/97.02",
    "table1 houston2013 0.9 both moe_ada 79.49/77.37",
    "table1 trento 0.9 other dcp 96.98/96.2",
    "table1 trento 0.7 hsi moe_task 97.22/96.68",
    "table3 augsburg 50-100-75 mamol 77.38/76.11",
}
GRID_MISPRINTS = {
    "table1 houston2013 0.7 hsi moe_rep 83.88/82.19",
    "table1 trento 0.9 other dcp 96.98/96.2",
    "table1 augsburg 0.9 other moe_rep 79.42/76.0",
}


def rows() -> pd.DataFrame:
    """All numbers on remote-sensing scenes, each with a name."""
    tables = []
    for table in ("table1", "table3", "table4", "table5"):
        content = reported(table)
        if table == "table3":
            shares = content[["hsi_percent", "sar_percent", "lidar_percent"]].astype(str)
            content["missing"] = shares.agg("-".join, axis=1)
        for column in ("rate", "missing", "layers"):
            content[column] = content[column].astype(str) + " " if column in content else ""
        content["kappa"] = content.get("kappa", np.nan)
        place = content["rate"] + content["missing"] + content["layers"] + content["method"]
        scores = content["OA"].astype(str) + "/" + content["kappa"].astype(str)
        content["name"] = table + " " + content["dataset"] + " " + place + " " + scores
        tables.append(content)
    return pd.concat(tables, ignore_index=True)


def test_every_number_is_there() -> None:
    sizes = {table: len(reported(table)) for table in ("table1", "table2", "table3", "table4", "table5")}
    assert sizes == {"table1": 162, "table2": 18, "table3": 4, "table4": 12, "table5": 15}
    for table in sizes:
        keys = [c for c in reported(table) if c not in ("OA", "kappa", "F1_macro", "misprint")]
        assert not reported(table).duplicated(keys).any(), table
    assert len(reported("table1").groupby(["dataset", "rate", "missing"])) == 27
    assert reported("figure4").empty


def test_kappa_follows_from_oa() -> None:
    content = rows().dropna(subset="kappa")
    chance = 1 / content["dataset"].map(CLASSES)
    expected = 100 * (content["OA"] / 100 - chance) / (1 - chance)
    wrong = content[(content["kappa"] - expected).abs() > 0.0131]  # both are rounded to 0.01
    assert set(wrong["name"]) == KAPPA_MISPRINTS


def test_oa_is_a_share_of_300_pixels_per_class() -> None:
    content = rows()
    total = PER_CLASS * content["dataset"].map(CLASSES)
    nearest = 100 * (content["OA"] / 100 * total).round() / total
    wrong = content[(content["OA"] - nearest).abs() > 0.005 + 1e-9]
    assert set(wrong["name"]) == GRID_MISPRINTS


def test_misprints_are_marked_in_the_data() -> None:
    content = rows()
    assert set(content.loc[content["misprint"] != "", "name"]) == KAPPA_MISPRINTS | GRID_MISPRINTS


def test_repeated_numbers_agree_between_the_tables() -> None:
    one = reported("table1").query("dataset == 'trento' and missing == 'both'").set_index(["method", "rate"])["OA"]
    five = reported("table5").set_index(["method", "rate"])["OA"]
    four = reported("table4").set_index(["method", "layers"])["OA"]
    assert [five["mamol", rate] for rate in (0.5, 0.7, 0.9)] == [one["mamol", rate] for rate in (0.5, 0.7, 0.9)]
    assert [four[m, "last6x2"] for m in ("moe_rep", "moe_ada", "moe_task")] == [
        one[m, 0.7] for m in ("moe_rep", "moe_ada", "moe_task")
    ]


def test_averages_are_those_of_the_rates() -> None:
    means = reported("table5").groupby("method")["OA"].mean()
    printed = reported("table5_average").set_index("method")["OA"]
    assert len(printed) == 5
    assert (printed - means).abs().max() < 0.0051


@pytest.mark.parametrize(
    ("name", "expected"),
    [("trento", "trento"), ("trento_hybrid", "trento"), ("idtrees", None), ("augsburg3", "augsburg")],
)
def test_counterpart(name: str, expected: str | None) -> None:
    assert counterpart(name) == expected
    assert expected is None or expected in DATASETS
