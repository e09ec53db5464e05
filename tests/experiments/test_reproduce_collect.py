"""From metrics.json to the table: means, spread, the paper beside it, marks, and what the files look like."""

import dataclasses
import json
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mamol.experiments.reproduce.collect import collect, summarise
from mamol.experiments.reproduce.plan import Plan
from mamol.experiments.reproduce.protocols import by_protocol, protocol_plot
from mamol.experiments.reproduce.report import write_table
from mamol.launch.job import Outcome
from tests.experiments.test_reproduce_plan import plan_of


def finish(plan: Plan, scores: dict[tuple[str, int], float]) -> None:
    """Writes results of runs, by method and seed; methods are right on the same samples."""
    for cell in plan.cells:
        score = scores.get((cell.method, cell.seed))
        if score is None:
            continue
        folder = cell.job.folder
        folder.mkdir(parents=True)
        test = {"OA": score, "AA": score - 1, "kappa": score - 2}
        (folder / "metrics.json").write_text(json.dumps({"test": test}))
        right = np.arange(100) < score
        kept = pd.DataFrame({"index": np.arange(100), "row": 0, "col": 0, "label": 1, "prediction": right.astype(int)})
        kept["pattern"] = "hsi"
        kept.attrs = {"fingerprint": "f", "dataset": "synthetic"}
        kept.to_parquet(folder / "predictions.parquet")


def fake(tables: Path, tmp_path: Path, name: str = "table5", dataset: str = "synthetic", **options: object) -> Plan:
    """A plan whose runs lie below tmp_path, on a scene called ``dataset``."""
    plan = plan_of(tables, **{"reproduce": name, "rates": 0.7, "log_dir": str(tmp_path / "out"), "seeds": 3, **options})
    renamed = dataclasses.replace(plan.sources[0], dataset=dataset)
    return dataclasses.replace(plan, cells=[dataclasses.replace(cell, source=renamed) for cell in plan.cells])


def test_mean_spread_and_the_papers_number(tables: Path, tmp_path: Path) -> None:
    plan = fake(tables, tmp_path, methods="mamol,baseline,lora")
    values = [80.0, 84.0, 85.0]
    finish(plan, {("mamol", seed): value for seed, value in enumerate(values)} | {("baseline", 1): 30.0})
    table = summarise(plan, collect(plan)).set_index("method")
    assert table["runs"].to_dict() == {"mamol": 3, "baseline": 1, "lora": 0}
    assert table.loc["mamol", "OA"] == pytest.approx(statistics.mean(values))
    assert table.loc["mamol", "OA_std"] == pytest.approx(statistics.stdev(values))
    assert table.loc["mamol", "kappa"] == pytest.approx(statistics.mean(values) - 2)
    assert table.loc["mamol", "difference_OA"] == pytest.approx(83 - 97.39)
    assert np.isnan(table.loc["baseline", "OA_std"])
    assert table.loc["baseline", "reported_OA"] == 93.56
    assert table.loc["baseline", "p_best"] < 1e-6
    assert np.isnan(table.loc["lora", ["OA", "reported_OA", "p_best"]].astype(float)).all()


def test_table5_has_the_average_over_its_rates(tables: Path, tmp_path: Path) -> None:
    rates = (0.5, 0.7, 0.9)
    plan = fake(tables, tmp_path, rates=list(rates), methods="mamol,baseline")
    for cell in plan.cells:
        if cell.method == "mamol" or cell.row.labels["rate"] != 0.9:
            score = 80.0 + 3 * rates.index(cell.row.labels["rate"]) + cell.seed
            finish(dataclasses.replace(plan, cells=[cell]), {(cell.method, cell.seed): score})
    runs = collect(plan)
    table = summarise(plan, runs)
    assert len(runs) == 18, "averages are no runs"
    (own,) = table.query("method == 'mamol' and rate == 'average'").to_dict("records")
    assert own["runs"] == 3
    assert own["OA"] == pytest.approx(84)
    assert own["OA_std"] == pytest.approx(1), "over the seeds' averages"
    assert own["reported_OA"] == 97.24
    assert own["difference_OA"] == pytest.approx(84 - 97.24)
    (unfinished,) = table.query("method == 'baseline' and rate == 'average'").to_dict("records")
    assert (unfinished["runs"], unfinished["reported_OA"]) == (0, 93.85)
    assert np.isnan(unfinished["OA"]), "not all rates are finished"
    assert table.query("method == 'mamol' and rate == 0.7")["reported_OA"].item() == 97.39
    rows = [row for row in write_table(plan, table, runs, []).splitlines() if "| average" in row]
    assert ["84.00 ± 1.00" in row for row in rows] == [True, False]
    one = fake(tables, tmp_path)
    assert set(summarise(one, collect(one))["rate"]) == {0.7}, "the paper's are over three rates"


def test_variants_stand_beside_the_number_of_their_method(tables: Path, tmp_path: Path, vilt: Path) -> None:
    methods = "moe_rep,moe_rep_vilt,mamol_dyn"
    plan = fake(tables, tmp_path, "table4", methods=methods, vilt_weights=str(vilt))
    table = summarise(plan, collect(plan)).query("layers == 'last6x2'").set_index("method")
    assert table["reported_OA"].to_dict() == {"moe_rep": 95.83, "moe_rep_vilt": 95.83, "mamol_dyn": 97.39}
    for one in (plan, fake(tables, tmp_path, "table1", methods="moe_rep")):
        text = write_table(one, summarise(one, collect(one)), collect(one), [])
        assert "are those of MoEs on ViLT, if its Table 4 is labelled right" in text


def test_a_margin_within_chance_is_marked(tables: Path, tmp_path: Path) -> None:
    plan = fake(tables, tmp_path, methods="mamol,baseline,no_static")
    finish(plan, {("mamol", 0): 80, ("baseline", 0): 79, ("no_static", 0): 40})
    table = summarise(plan, collect(plan))
    text = write_table(plan, table, collect(plan), [])
    line = {row.split("|")[4].strip(): row for row in text.splitlines() if row.startswith("| synthetic")}
    assert "79.00 ≈" in line["baseline"]
    assert "≈" not in line["mamol"] + line["no_static"]
    assert "≈ the margin to the best method of the same row is noise" in text


def test_misprints_of_the_paper_are_marked(tables: Path, tmp_path: Path) -> None:
    plan = fake(tables, tmp_path, "table1", dataset="houston2013_mine", methods="moe_rep,mamol")
    table = summarise(plan, collect(plan))
    text = write_table(plan, table, collect(plan), [])
    assert "83.88*" in text
    assert "* in the paper: OA and kappa disagree" in text
    assert "88.80*" not in text
    unrelated = fake(tables, tmp_path, "table1", dataset="idtrees", methods="mamol")
    assert summarise(unrelated, collect(unrelated))["reported_OA"].isna().all()


def test_the_files(tables: Path, tmp_path: Path) -> None:
    plan = fake(tables, tmp_path, methods="mamol,no_static")
    finish(plan, {("mamol", 0): 80.0, ("mamol", 1): 81.0})
    runs = collect(plan)
    write_table(plan, summarise(plan, runs), runs, [Outcome(plan.cells[1].job, "no luck")])
    text = (plan.folder / "table5.md").read_text()
    assert text.startswith("# Table 5: ablations, missing both (stand-in)\n\n**Stand-in**: backbone tiny")
    assert "80.50 ± 0.71" in text
    assert text.rstrip().endswith("- no_static on synthetic, disjoint, 0.7, seed 0: no luck")
    content = pd.read_csv(plan.folder / "table5.csv")
    assert content.columns[0] == "stand_in"
    assert content["stand_in"].str.startswith("backbone tiny").all()
    assert "condition" not in content
    assert len(pd.read_csv(plan.folder / "runs.csv")) == 6
    latex = (plan.folder / "table5.tex").read_text()
    assert "(stand-in)" in latex.splitlines()[0]
    assert r"no\_static" in latex
    assert r"80.50 $\pm$ 0.71" in latex
    assert "no_static" not in latex.replace(r"no\_static", "")


def test_protocols_are_compared_over_rows_and_seeds() -> None:
    rows = [
        {"dataset": "d", "method": "m", "protocol": protocol, "seed": seed, "row": row, "OA": base + seed + 10 * row}
        for protocol, base in (("blocks", 50), ("paper", 70))
        for seed in (0, 1)
        for row in (0, 1)
    ]
    runs = pd.DataFrame(rows).assign(identical_percent=5.0, shared_window_percent=90.0)
    runs.loc[len(runs)] = {**rows[0], "OA": np.nan, "seed": 9}
    table = by_protocol(runs, ("paper", "disjoint", "blocks"))
    assert table["protocol"].tolist() == ["paper", "blocks"]
    assert table["OA"].tolist() == [75.5, 55.5]
    assert table["OA std"].tolist() == pytest.approx([np.sqrt(0.5)] * 2)
    assert table["worth"].tolist() == [20, 0]
    figure = protocol_plot(table, "title")
    assert figure.axes[0].get_ylabel().startswith("OA (%)")
    assert len(figure.legends[0].get_texts()) == 2
