"""docs/FIDELITY.md against the program and against arithmetic."""

import ast
from typing import Any

import pytest

from config import ex
from mamol.core.method import METHODS
from mamol.data.facts import DATASETS
from mamol.experiments.reproduce.paper import FIGURE5_CLASS, TABLES
from mamol.experiments.reproduce.reported import reported
from mamol.experiments.reproduce.variants import RELEASED_VISION_LANGUAGE
from mamol.network.parameters import count
from tests.pages import ROOT, options, quoted, section, tables
from tests.parity.test_parity_vision_language import vit_b_16
from tests.test_docs import ALLOWED, check_option, literal

PAGE = ROOT / "docs" / "FIDELITY.md"
AUDIT = ("Data and windows", "Missing modalities", "Model", "Optimisation and evaluation")
PER_CLASS = 300
CLASSES = {"houston2013": 15, "trento": 6, "augsburg": 7}


def named_options(column: str) -> list[tuple[str, str]]:
    """Every ``key=value`` in a column of the audit tables."""
    cells = [row[column] for heading in AUDIT for row in tables(section(PAGE, heading))]
    return [option for cell in cells for option in options(quoted(cell))]


def same(key: str, text: str, config: dict[str, Any]) -> bool:
    """Whether the page says what the configuration has; one number stands for all splits."""
    check_option(key, text)
    convert = ALLOWED[key].convert
    return bool(convert(literal(text)) == convert(config[key]))


def test_the_default_column_says_the_defaults() -> None:
    config = ex.configurations[0]()
    named = named_options("here (default)")
    assert len(named) > 25
    assert [f"{key}={text}" for key, text in named if not same(key, text, config)] == []


def test_the_released_column_says_all_that_the_named_config_sets() -> None:
    config = ex.named_configs["released"]()
    named = named_options("here (`released`)")
    assert {key for key, _ in named} == config.keys() - {"exp_name", "method"}
    assert [f"{key}={text}" for key, text in named if not same(key, text, config)] == []


def test_switches_without_effect_are_those_that_the_method_does_not_read() -> None:
    without = section(PAGE, "Model").partition("`with released`")[2]
    assert set(quoted(without)) == set(METHODS["mamol"].options) - set(METHODS["released"].options)


def test_fidelity_names_a_test_that_exists_for_every_defect() -> None:
    rows = [
        row["shown by"].strip("`") for row in tables(section(PAGE, "What is wrong in the release")) if "shown by" in row
    ]
    assert len(rows) > 10
    for name in rows:
        file, _, function = name.partition("::")
        defined = {n.name for n in ast.parse((ROOT / file).read_text()).body if isinstance(n, ast.FunctionDef)}
        assert function in defined, name


def test_expected_overlap_follows_from_the_class_sizes() -> None:
    rows = [row for row in tables(section(PAGE, "What is wrong in the release")) if "percent" in row]
    assert len(rows) == len(CLASSES)
    for row in rows:
        sizes = DATASETS[row["`--dataset`"].strip("`")].counts
        shared = sum(100 * PER_CLASS / n for n in sizes)
        total = PER_CLASS * len(sizes)
        expected = [min(sizes), round(shared, 1), total, round(100 * shared / total, 1)]
        columns = ("smallest class", "expected shared", "of test pixels", "percent")
        assert [float(row[column]) for column in columns] == expected


def test_the_image_text_networks_have_the_sizes_that_are_stated() -> None:
    known = {name: RELEASED_VISION_LANGUAGE[name] for name in METHODS["released"].options}
    released, default = (
        count(vit_b_16(method, **of))["trainable"] for method, of in (("released", known), ("mamol", {}))
    )
    (row,) = (row for row in tables(section(PAGE, "Images and texts")) if row["setting"].endswith("23 classes"))
    assert row["here"] == f"{default:,}; {released:,} with `released_vision_language`"
    (row,) = (row for row in tables(section(PAGE, "Tables and figures")) if row["of"] == "Table 2, MaMOL")
    assert row["here"] == f"`mamol`, {default:,}; `released_vision_language`, {released:,}, on request"
    assert all(f"{number:,}" in TABLES["table2"].note for number in (default, released))


def test_what_the_paper_says_of_training_images_and_texts_is_named_beside_the_deviation() -> None:
    rows = {row["setting"]: row for row in tables(section(PAGE, "Images and texts"))}
    task, stated = (ex.named_configs[name]() for name in ("task_finetune_mmimdb", "as_stated"))
    assert (rows["learning rate"]["paper"], stated["learning_rate"]) == ("2e-3", 2e-3)
    assert rows["learning rate"]["here"] == "1e-2; 2e-3 with `as_stated`"
    assert task["learning_rate"] == 1e-2
    assert rows["batch"]["paper"].startswith(str(stated["batch_size"]))
    assert rows["batch"]["here"] == f"{task['batch_size']} by accumulation; {stated['batch_size']} with `as_stated`"


def test_figure_5_shows_the_class_that_the_page_names() -> None:
    (row,) = (row for row in tables(section(PAGE, "Tables and figures")) if row["of"] == "Figure 5, class 7")
    names = DATASETS["houston2013"].classes
    assert row["here"].endswith(f": {names[FIGURE5_CLASS - 1].lower()}")
    assert f"{names[FIGURE5_CLASS].lower()} (`routing_class={FIGURE5_CLASS + 1}`)" in row["why"]


def kappa(oa: float, classes: int) -> float:
    """Kappa ×100 of an OA in percent on a balanced test set."""
    return 100 * (oa / 100 - 1 / classes) / (1 - 1 / classes)


def misprints() -> list[dict[str, str]]:
    return list(tables(section(PAGE, "Numbers that cannot both be right")))


@pytest.mark.parametrize("row", misprints(), ids=lambda row: row["where"])
def test_misprints_are_computed_right(row: dict[str, str]) -> None:
    classes, total = int(row["C"]), PER_CLASS * int(row["C"])
    printed, printed_kappa = float(row["OA"]), float(row["kappa"])
    assert float(row["kappa of that OA"]) == pytest.approx(kappa(printed, classes), abs=0.0051)
    assert float(row["nearest k/N"]) == pytest.approx(100 * round(printed * total / 100) / total, abs=0.0051)
    if row["its OA"] == "–":
        near = [kappa(100 * k / total, classes) for k in range(total + 1)]
        assert min(abs(value - printed_kappa) for value in near) > 0.0051, "some k does give this kappa"
        return
    k = int(row["k nearest to the kappa"])
    assert float(row["its OA"]) == pytest.approx(100 * k / total, abs=0.0051)
    assert abs(kappa(100 * k / total, classes) - printed_kappa) == min(
        abs(kappa(100 * j / total, classes) - printed_kappa) for j in range(total + 1)
    )


def test_misprints_are_all_there_are() -> None:
    marked = [reported(table) for table in ("table1", "table3")]
    pairs = {(p.OA, p.kappa) for content in marked for p in content[content["misprint"] != ""].itertuples()}
    assert {(float(row["OA"]), float(row["kappa"])) for row in misprints()} == pairs


def test_most_pairs_of_table_1_are_on_the_grid_and_agree() -> None:
    content = reported("table1")
    classes = content["dataset"].map(CLASSES)
    total = PER_CLASS * classes
    nearest = 100 * (content["OA"] * total / 100).round() / total
    on_grid = (content["OA"] - nearest).abs() <= 0.005 + 1e-9
    agree = (content["kappa"] - 100 * (content["OA"] / 100 - 1 / classes) / (1 - 1 / classes)).abs() <= 0.05
    assert (len(content), on_grid.sum(), agree.sum()) == (162, 159, 158)
    text = " ".join(PAGE.read_text().split())
    assert "Of the 162 pairs of Table 1, 159 have an OA on that grid and 158 a kappa within 0.05" in text
