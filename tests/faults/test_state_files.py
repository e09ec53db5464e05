"""Damaged files in a folder of runs: the run does not count as done, the file is named, no table shows its values."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mamol.core.errors import MamolError
from mamol.core.seal import write_sealed_json
from mamol.evaluation.predictions import write_predictions
from mamol.evaluation.results import read_table
from mamol.experiments.reproduce import figures
from mamol.experiments.reproduce.collect import collect, summarise
from mamol.experiments.reproduce.plan import Cell, Plan
from mamol.launch import job
from mamol.training.runs import read_history
from tests.experiments.test_reproduce_plan import plan_of
from tests.faults.mutations import mutations

WHOLE = 3_000
"""Mutations of ``make faults``, of all files together."""


def finish(cell: Cell) -> None:
    """Leaves the files of a run that was trained and tested, and of its follow-up."""
    folder = cell.job.folder
    scores = {"n": 10, "OA": 60.0, "AA": 55.5, "kappa": 50.25}
    write_sealed_json(folder / "metrics.json", {"test": scores, "params": {"trainable": 5}, "seconds": {"train": 1.5}})
    kept = pd.DataFrame({"index": np.arange(10), "row": 0, "col": 0, "label": 1, "prediction": [0, 1] * 5})
    kept["pattern"] = "hsi"
    kept.attrs = {"fingerprint": "f", "dataset": "synthetic"}
    write_predictions(folder / "predictions.parquet", kept)
    routing = folder / "routing" / f"class_{cell.job.follow_options.get('routing_class')}_a"
    for place in (folder / "evaluation", routing):
        place.mkdir(parents=True)
    grid = pd.DataFrame({"type": ["both"], "ratio": [0.7], "present": ["all"], "n": [10], "OA": [61.25]})
    grid.to_csv(folder / "evaluation" / "grid.csv", index=False)
    usage = {"layer": [6], "pattern": ["hsi"], "modality": ["all"], "expert": [0], "gate_share": 1, "top1_share": 1}
    pd.DataFrame(usage).to_csv(routing / "usage.csv", index=False)
    if cell.job.follow_up:
        cell.job.note_follow_up()


def of_table(plan: Plan) -> str:
    table: str = summarise(plan, collect(plan)).to_json()
    return table


def of_figure(draw: Callable[[list[Cell], str], tuple[pd.DataFrame, object]]) -> Callable[[Plan], str]:
    def text(plan: Plan) -> str:
        done = [cell for cell in plan.cells if cell.job.state == "finished"]
        return draw(done, "")[0].to_json() if done else ""

    return text


def readable(record: bytes) -> bool:
    """A record of another follow-up is none of damage."""
    try:
        return isinstance(json.loads(record), dict)
    except ValueError:
        return False


KINDS: dict[str, tuple[str, str, Callable[[Plan], str]]] = {
    "metrics": ("table5", "*/metrics.json", of_table),
    "predictions": ("table5", "*/predictions.parquet", of_table),
    "record": ("figure4", "jobs/*.follow.json", of_figure(figures._figure4)),
    "grid": ("figure4", "*/evaluation/grid.csv", of_figure(figures._figure4)),
    "usage": ("figure5", "*/routing/*/usage.csv", of_figure(figures._figure5)),
}


@pytest.fixture
def data_root(table_folder: Path, tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    (root / "synthetic").symlink_to(table_folder)
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_counts_as_done(
    kind: str, data_root: Path, tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    name, pattern, told = KINDS[kind]
    options = {"rates": 0.7} if name == "table5" else {}
    plan = plan_of(data_root, reproduce=name, seeds=1, methods="mamol", log_dir=str(tmp_path / "out"), **options)
    for cell in plan.cells:
        finish(cell)
    wanted = told(plan)
    path = sorted((tmp_path / "out" / "runs").glob(pattern))[0]
    (broken,) = [each for each in plan.jobs if each.folder.name in str(path)]
    content, refused = path.read_bytes(), 0
    path.unlink()
    assert broken.state != "finished"
    without = told(plan)
    assert without != wanted
    for what, damaged in mutations(content, max(21, int(WHOLE * share / len(KINDS))), seed=len(kind)):
        path.write_bytes(damaged)
        caplog.clear()
        job._warn.cache_clear()
        if broken.state == "finished":
            assert told(plan) == wanted, what
            continue
        refused += 1
        messages = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
        assert not any("\n" in message for message in messages), what
        assert any(path.name in message for message in messages) or readable(damaged), what
        assert told(plan) == without, what
    assert refused > 10
    path.write_bytes(content)
    assert broken.state == "finished"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "No columns to parse"),
        ("type,ratio\nboth,0.7\n", "no column present, OA"),
        ("type,ratio,present,OA\nboth,0.7,all,1e9\n", "OA is 1000000000.0, expected at most 100"),
        ("type,ratio,present,OA\nboth,0.7,all,x\n", "could not convert string to float"),
        ("type,ratio,present,OA\nboth,0.7,all,1,2,3,4,5\n1\n1,2,3,4,5,6,7,8,9\n", "Error tokenizing|no column|convert"),
    ],
)
def test_a_grid_of_an_earlier_version_is_checked_by_what_it_says(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    path.write_text(content)
    with pytest.raises(MamolError, match=rf"\A.*grid\.csv: is not what this program wrote \(.*({message}).*\Z"):
        read_table(path, ("type", "ratio", "present"), ("OA",))


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"a,b\n1,2\n", b"epoch,lr\nx,1\n"])
def test_a_damaged_history_is_left_out(content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    assert len(read_history(path)) == 0
    assert f"{path}: is damaged and left out" in caplog.text
