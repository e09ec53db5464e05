"""Runs on a pre-trained folder, through the command line."""

import json
from pathlib import Path

import pytest

from mamol.data.tables import open_tables
from tests.lines import run, trained
from tests.mixtures import small_folder

ON_IT = ("max_epoch=1", "limit_batches=2")


@pytest.fixture(scope="module")
def folder(table_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture for the sensors of the synthetic scene."""
    bands = {each.name: each.size for each in open_tables(table_folder)["train"].info.inputs}
    return small_folder(tmp_path_factory.mktemp("made") / "backbone", bands, layers=6)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_trains_and_draws_maps_on_it(
    folder: Path, table_folder: Path, corner_folder: Path, tmp_path: Path
) -> None:
    done = trained(tmp_path, f"data_root={table_folder}", f"backbone={folder}", *ON_IT)
    told = json.loads((done / "metrics.json").read_text("utf-8"))["backbone"]
    assert told["name"] == str(folder)
    assert told["weights"] == f"pre-trained without labels: {folder}"
    assert told["random"] is False
    mapped = run("predict", "with", f"load_path={done}", f"scene={corner_folder}", "num_gpus=0", "progress_bar=False")
    assert mapped.returncode == 0, mapped.stderr


def test_a_folder_that_is_not_there_is_refused_before_anything_is_written(table_folder: Path, tmp_path: Path) -> None:
    said = run("with", "remote", f"data_root={table_folder}", f"backbone={tmp_path}/no", f"log_dir={tmp_path / 'runs'}")
    assert said.returncode
    assert f"backbone={tmp_path}/no: backbone.json is not there" in said.stderr
    assert not (tmp_path / "runs").exists()
