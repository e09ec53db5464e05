"""A disk that is full: each command says so in one line, and what was there is as it was."""

import json
import os
import pickle
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mamol.api.experiment import Experiment
from mamol.core.errors import MamolError
from mamol.core.seal import verify
from mamol.core.settings import Settings
from mamol.data.tables import open_tables
from mamol.evaluation.results import read_metrics
from tests.faults.commands import Places, cases, litter
from tests.faults.conftest import WHOLE
from tests.lines import QUICK, Finished, run, tables

PAGE = 4096
LIMITS = 20
SHORT = ("make_arrow scene", "pretrain")
SHORT_LARGE = (
    "make_arrow tiles",
    "train",
    "test_only",
    "evaluate",
    "routing",
    "report",
    "save",
    "predict",
    "predict rasters",
)
"""Commands; with ``make faults`` the second ones, too."""
NOBODY = 65534


def with_little_disk(work: Callable[[], Finished], size: int) -> Finished:
    """Does a work in a forked process whose files can have no more than some bytes, as on a full disk."""
    return in_a_fork(work, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))


def as_nobody(work: Callable[[], Finished]) -> Finished:
    """Does a work in a forked process of a user who may write nothing here; root may always."""

    def become() -> None:
        if not os.getuid():
            os.setgid(NOBODY)
            os.setuid(NOBODY)

    return in_a_fork(work, become)


def in_a_fork(work: Callable[[], Finished], prepare: Callable[[], None]) -> Finished:
    """Does a work in a forked process, behind what prepares that one."""
    reading, writing = os.pipe()
    if not os.fork():
        torch.set_num_threads(1)
        try:
            prepare()
            done = work()
            told = [done.returncode, done.stdout[-500:], done.stderr[-1500:]]
        except BaseException as error:
            told = [-1, "", repr(error)]
        os.write(writing, json.dumps(told).encode()[:PAGE])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        return Finished(*json.loads(file.read()))


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["make_arrow", "train", "pretrain", "evaluate", "predict"])
def test_a_full_disk_is_one_line(
    command: str,
    scene_folder: Path,
    corner_folder: Path,
    table_folder: Path,
    finished_run: Path,
    tmp_path: Path,
    no_pictures: None,
    small_pretraining: None,
) -> None:
    (best,) = (finished_run / "checkpoints").glob("best*")
    kept = tmp_path / "run" / "checkpoints" / best.name
    kept.parent.mkdir(parents=True)
    kept.write_bytes(best.read_bytes())
    quick = (*QUICK, "threads=1")
    on_run = ("with", *quick, f"load_path={tmp_path / 'run'}")
    table = f"data_root={table_folder}"
    sizes = ("--patch-size", 4, "--train-per-class", 4, "--val-per-class", 2, "--test-per-class", 3)
    build = ("--dataset", "synthetic", "--root", scene_folder, "--out", tmp_path / "out", *sizes)
    work: dict[str, tuple[Callable[[], Finished], int]] = {
        "make_arrow": (lambda: tables(*build), 10_000),
        "train": (
            lambda: run("with", "remote", *quick, table, f"log_dir={tmp_path / 'log'}", "max_epoch=1"),
            100_000,
        ),
        "pretrain": (
            lambda: run("pretrain", "with", *quick, table, f"log_dir={tmp_path / 'log'}", "max_epoch=1"),
            100_000,
        ),
        "evaluate": (lambda: run("evaluate", *on_run, table, "evaluate_ratios=[0.0]"), 300),
        "predict": (lambda: run("predict", *on_run, f"scene={corner_folder}"), 300),
    }
    if command == "make_arrow":
        assert tables(*build).returncode == 0
    before = snapshot(tmp_path)
    done = with_little_disk(*work[command])
    assert done.returncode == 1, done
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "File too large" in errors[0]
    assert "Traceback" not in done.stderr
    after = snapshot(tmp_path)
    assert {name: after.get(name) for name in before} == before
    assert not [name for name in after if name.endswith(".tmp")]


def assert_whole(path: Path, wanted: Path) -> None:
    """A file that is there holds all of something: of an earlier epoch, a block of a map, or what it ends with."""
    if path.suffix == ".json":
        assert json.loads(path.read_text()), path
    elif path.suffix in (".ckpt", ".parquet", ".safetensors"):
        assert verify(path, ""), path
    elif path.suffix == ".npz":
        with np.load(path) as content:
            assert [content[name] for name in content], path
    elif path.name == "history.csv":
        assert pd.read_csv(path)["epoch"].diff().dropna().eq(1).all(), path
    elif path.suffix not in (".png", ".lock"):
        assert path.read_bytes() == wanted.read_bytes(), path


@pytest.mark.usefixtures("no_pictures", "small_pretraining")
@pytest.mark.parametrize("name", [*SHORT, *(SHORT_LARGE if WHOLE else ())])
def test_a_short_write_is_one_line_and_leaves_no_part_of_a_file(
    name: str, places: Places, tmp_path: Path, share: float
) -> None:
    """The second half of a file, or its last byte, has no place: ``write`` takes fewer bytes than it is given.

    With more disk it goes on as after a kill.
    """
    case, whole = cases(places)[name], tmp_path / "whole"
    case.begin(whole)
    before = snapshot(whole)
    case.work(whole)
    sizes = {len(content) for name, content in snapshot(whole).items() if name not in before}
    limits = sorted({limit for size in sizes for limit in (size // 2, size - 1) if size > 1})
    tried = min(len(limits), max(2, round(LIMITS * share)))
    for number in range(tried):
        limit = limits[int(len(limits) * (number + 0.5) / tried)]
        folder = tmp_path / str(limit)
        case.begin(folder)
        done = with_little_disk(lambda: case.done(folder), limit)  # noqa: B023 - done at once
        if done.returncode:
            assert str(folder) in error_of(done), limit
        else:  # only a record beside the results was short
            assert case.results(folder) == case.results(whole), limit
        for path in folder.rglob("*.*"):
            if path.is_file() and not {"sacred", "tensorboard"} & set(path.parts):
                assert_whole(path, whole / path.relative_to(folder))
        assert not litter(folder), limit
        case.work(folder)
        assert case.results(folder) == case.results(whole), limit
        shutil.rmtree(folder)


def error_of(done: Finished) -> str:
    assert done.returncode == 1, done
    assert "Traceback" not in done.stderr
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return error


@pytest.fixture
def read_only(scene_folder: Path, table_folder: Path, finished_run: Path) -> Iterator[Path]:
    """Raw data, tables and a run that everybody may read and nobody may change."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source, target in ((scene_folder, "scene"), (table_folder, "table"), (finished_run, "run")):
            shutil.copytree(source, folder / target, ignore=shutil.ignore_patterns("maps", "evaluation", "sacred"))
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        yield folder
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755)


@pytest.mark.parametrize("command", ["make_arrow", "train", "pretrain", "evaluate", "routing"])
def test_a_read_only_folder_is_one_line(command: str, read_only: Path) -> None:
    """Tables and raw data are read from there; what cannot be written is told by its folder."""
    table, quick = f"data_root={read_only / 'table'}", (*QUICK, "threads=1")
    build = ("--dataset", "synthetic", "--root", read_only / "scene", "--out", read_only / "out", "--patch-size", 4)
    on_run = ("with", *quick, f"load_path={read_only / 'run'}", table)
    work: dict[str, tuple[Callable[[], Finished], str]] = {
        "make_arrow": (lambda: tables(*build), "out"),
        "train": (lambda: run("with", "remote", *quick, table, f"log_dir={read_only}", "max_epoch=1"), ""),
        "pretrain": (lambda: run("pretrain", "with", *quick, table, f"log_dir={read_only}", "max_epoch=1"), ""),
        "evaluate": (lambda: run("evaluate", *on_run, "evaluate_ratios=[0.0]"), "run/evaluation"),
        "routing": (lambda: run("routing", *on_run), "run/routing"),
    }
    before = snapshot(read_only)
    doing, folder = work[command]
    error = error_of(as_nobody(doing))
    assert str(read_only / folder) in error
    assert "Permission denied" in error
    assert snapshot(read_only) == before


def test_a_table_that_vanishes_while_it_is_used(table_folder: Path, tmp_path: Path) -> None:
    """What is mapped stays readable, so a training ends as ever; a process that opens it anew says what is missing."""
    table = shutil.copytree(table_folder, tmp_path / "table")
    opened = open_tables(table)["train"]
    settings = {"backbone": "tiny", "num_gpus": 0, "batch_size": 8, "per_gpu_batchsize": 8, "progress_bar": False}
    options = {**settings, "data_root": str(table), "log_dir": str(tmp_path), "max_epoch": 1}
    experiment = Experiment(Settings.of(options))
    shutil.rmtree(table)
    folder = experiment.folder()
    experiment.run(folder)
    assert read_metrics(folder)["data"]["sha256"] == experiment.checksums
    with pytest.raises(MamolError, match=r"train\.arrow: no such table; build it with make_arrow\.py"):
        pickle.loads(pickle.dumps(opened))


def test_a_checkpoint_that_vanished(finished_run: Path, table_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished_run / "checkpoints", tmp_path / "run" / "checkpoints").parent
    for path in folder.rglob("best*"):
        path.unlink()
    error = error_of(run("evaluate", "with", *QUICK, f"load_path={folder}", f"data_root={table_folder}"))
    assert error.startswith(f"error: load_path={folder}: no checkpoints/best*.safetensors in it")
