"""The stand-in comparison: what is tested, that it can be stopped, and that nobody takes it for more than it is."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from config import ex
from mamol.data.tables import open_tables
from mamol.errors import MamolError
from mamol.evaluation import standin
from mamol.evaluation.standin_page import UNEVEN, page
from mamol.settings import Settings
from tests.commands import QUICK, Finished, run, trained
from tests.pages import tables as rows_of

SHORT = ("max_epoch=1", "precision=32", "limit_batches=None")
METHOD_NAMES = ("baseline", "linear_probe")


def compare(table: Path, log_dir: Path, *arguments: str) -> Finished:
    given = [f"data_root={table.parent}", f"datasets={table.name}", f"log_dir={log_dir}", f"methods={METHOD_NAMES[0]}"]
    return run("standin", "with", "standin", *QUICK, *SHORT, *given, "seeds=1", *arguments)


def result(log_dir: Path, table: Path, method: str = "baseline", seed: int = 0) -> Path:
    return log_dir / "results" / f"{table.name}_{method}_seed{seed}.json"


@pytest.fixture(scope="module")
def compared(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that was stopped behind the first of two methods, and then continued."""
    log_dir = tmp_path_factory.mktemp("standin")
    done = standin.Run.do

    def stop_at_the_second(self: standin.Run) -> None:
        if self.settings.method != METHOD_NAMES[0]:
            raise MamolError("stopped")
        done(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(standin.Run, "do", stop_at_the_second)
        stopped = compare(table_folder, log_dir, f"methods={','.join(METHOD_NAMES)}")
    assert stopped.stderr == "error: stopped\n"
    assert [path.name for path in (log_dir / "results").iterdir()] == [result(log_dir, table_folder).name]
    assert not (log_dir / standin.PAGE).exists()
    before = result(log_dir, table_folder).stat()
    so_far = compare(table_folder, log_dir, f"methods={','.join(METHOD_NAMES)}", "dry_run=True")
    assert so_far.stdout.endswith(f"## Missing runs\n\n{UNEVEN}\n\n- {table_folder.name}, seed 0: linear_probe\n")
    continued = compare(table_folder, log_dir, f"methods={','.join(METHOD_NAMES)}")
    assert continued.returncode == 0, continued.stderr
    assert result(log_dir, table_folder).stat() == before
    return log_dir


def test_a_stopped_comparison_goes_on_with_what_is_left(compared: Path, table_folder: Path) -> None:
    rows = {row["method"]: row for row in rows_of((compared / standin.PAGE).read_text("utf-8"))}
    assert set(rows) == set(METHOD_NAMES)
    for method, row in rows.items():
        kept = json.loads(result(compared, table_folder, method).read_text("utf-8"))
        assert row["seeds"] == "1"
        assert {name: f"{test['OA']:.2f}" for name, test in kept["tests"].items()}.items() <= row.items()


def test_the_drawn_condition_is_the_test_of_a_run(compared: Path, table_folder: Path, tmp_path: Path) -> None:
    folder = trained(tmp_path, f"data_root={table_folder}", "method=baseline", *SHORT)
    usual = json.loads((folder / "metrics.json").read_text("utf-8"))["test"]
    kept = json.loads(result(compared, table_folder).read_text("utf-8"))["tests"]
    assert set(kept) == {"both, 70 %", "no hsi", "no lidar", "no sar", "complete"}
    assert kept["both, 70 %"] == {name: usual[name] for name in ("OA", "AA", "kappa")}


def test_the_page_says_what_it_is(compared: Path) -> None:
    text = (compared / standin.PAGE).read_text("utf-8")
    assert "**Stand-in: tiny backbone with random frozen weights" in text
    assert "says nothing about the paper's numbers" in text
    assert "python run.py standin with standin" in text
    assert re.search(r"Budget: median \d+ s a run", text)
    assert (
        "6 training steps; 6 classes (chance: 16.7 %), hsi 48, lidar 1, sar 2 bands, 48 train, 24 val, 36 test" in text
    )
    assert "Missing runs" not in text


def test_results_of_other_options_are_not_mixed_in(compared: Path, table_folder: Path) -> None:
    before = (compared / standin.PAGE).read_bytes()
    other = compare(table_folder, compared, "learning_rate=0.5")
    assert other.returncode == 1
    assert re.search(r"baseline_seed0.json is of a run with other learning_rate; give another log_dir", other.stderr)
    assert (compared / standin.PAGE).read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["datasets="], r"standin needs data_root=<folder> and datasets=<folders"),
        (["methods=mamol,vit"], "methods=mamol,vit: unknown vit; mamol, released, baseline"),
        (["modalities=hsi"], "has one modality; standin needs at least 2"),
        (["datasets=nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    arguments: list[str], message: str, table_folder: Path, tmp_path: Path
) -> None:
    told = compare(table_folder, tmp_path / "out", *arguments)
    assert told.returncode == 1
    assert re.search(message, told.stderr)
    assert told.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_conditions() -> None:
    drawn = np.array([[True, False], [True, True], [False, True]])
    masks = standin.conditions(drawn, Settings.of(ex.configurations[0]()), ("hsi", "lidar"))
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "both, 70 %": drawn.tolist(),
        "no hsi": [[False, True]] * 3,
        "no lidar": [[True, False]] * 3,
        "complete": [[True, True]] * 3,
    }


def test_mean_spread_and_missing_runs(table_folder: Path) -> None:
    settings = Settings.of({**ex.configurations[0](), "datasets": "a", "seeds": 2, "methods": "mamol,dcp"})
    one = {"dataset": "a", "method": "mamol", "trainable": 1234, "seconds": 20.0, "machine": "M"}
    results = [{**one, "seed": seed, "tests": {"complete": {"OA": oa}}} for seed, oa in enumerate((50.0, 52.0))]
    tables = {"a": open_tables(table_folder)}
    text = page(settings, tables, results)
    (row,) = rows_of(text)
    assert row == {"method": "mamol", "trainable": "1,234", "seeds": "2", "complete": "51.00 ± 1.41"}
    assert text.endswith("- a, seed 0: dcp\n- a, seed 1: dcp")
    nothing = page(settings, tables, [])
    assert "No run is finished." in nothing
    assert nothing.endswith("- a, seed 0: mamol, dcp\n- a, seed 1: mamol, dcp")
