"""``python run.py methods``: every method with its size and its measured cost; and how the cost is measured."""

import json
import logging
from pathlib import Path

import pytest

from benchmarks import methods as benchmark
from mamol.commands import listing
from mamol.commands.cost import PATH, REFERENCE, Cost, read_cost
from mamol.core.errors import MamolError
from mamol.core.method import METHODS
from tests.lines import run
from tests.pages import ROOT, tables


def test_every_method_has_name_size_cost_and_source() -> None:
    result = run("methods")
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    cost = read_cost()
    for name, entry in METHODS.items():
        assert f"{cost.steps[name]:.2f}×" in lines[name]
        assert f"{entry.summary} [{entry.source}]" in lines[name]
    assert "commit" in lines["step:"]


def test_sizes_are_those_of_the_page() -> None:
    text = (ROOT / "docs" / "METHODS.md").read_text("utf-8")
    page = {row["`method`"].strip("`"): row for row in tables(text) if "`method`" in row}
    listed = {line.split()[0]: line.split()[1] for line in listing.methods().splitlines() if line}
    compared = METHODS.keys() - {"released"}  # docs/FIDELITY.md is about that one
    assert {name: listed[name] for name in compared} == {
        name: page[name]["with embedding and head"] for name in compared
    }


def test_a_method_without_a_measurement_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "read_cost", lambda: Cost({"mamol": 1.25}, "measured here"))
    lines = {line.split()[0]: line.split()[2] for line in listing.methods().splitlines() if line}
    assert (lines["mamol"], lines["lora"]) == ("1.25×", "-")


def test_the_kept_costs_are_of_all_methods_and_of_the_backbone() -> None:
    cost = read_cost()
    assert cost.steps.keys() == METHODS.keys(), "measure again: python -m benchmarks.methods"
    assert cost.steps[REFERENCE] == 1
    assert benchmark.BACKBONE in cost.conditions


def test_the_benchmark_writes_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.NOTSET, "mamol")  # benchmarks silence it for their process, which here has other tests
    path = tmp_path / "cost.json"
    monkeypatch.setattr(benchmark, "METHODS", {name: METHODS[name] for name in ("baseline", "lora")})
    assert benchmark.main(["--rounds", "1", "--backbone", "tiny", "--json", str(path)]) == 0
    cost = read_cost(path)
    assert cost.steps["baseline"] == 1
    assert cost.steps["lora"] > 0
    assert cost.conditions.startswith("tiny, batch 8 with 11 of 16 streams present")
    assert path != PATH


@pytest.mark.parametrize("content", [None, "{", "[]", json.dumps({"steps": {"mamol": "x"}})])
def test_damaged_costs_are_told(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(MamolError, match=r"cost\.json holds no measured costs .* python -m benchmarks.methods"):
        read_cost(path)
