"""A disk that is full: each command says so in one line, and what was there is as it was."""

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.lines import QUICK, Finished, run, tables

PAGE = 4096


def with_little_disk(work: Callable[[], Finished], size: int) -> Finished:
    """Does a work in a forked process whose files can have no more than some bytes, as on a full disk."""
    reading, writing = os.pipe()
    if not os.fork():
        torch.set_num_threads(1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        try:
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


@pytest.mark.parametrize("command", ["make_arrow", "train", "evaluate", "predict"])
def test_a_full_disk_is_one_line(
    command: str,
    scene_folder: Path,
    corner_folder: Path,
    table_folder: Path,
    finished_run: Path,
    tmp_path: Path,
    no_pictures: None,
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
