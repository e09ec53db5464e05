"""Wrong command lines and scene files: exit status 1, one line, and nothing is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.faults.calls import COMMANDS, Call
from tests.faults.calls_tables import GOOD, SCENES, TABLES
from tests.faults.calls_training import TRAINING
from tests.lines import QUICK, Finished, run, tables

CALLS = [*TRAINING, *COMMANDS, *TABLES]
LISTS = ("print_config", "methods", "datasets")
"""Commands that are given no machine."""


def states(*folders: Path) -> dict[Path, int]:
    """When each file and folder was written."""
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


def error_of(done: Finished) -> str:
    """The one line of a refused call."""
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(lines) == 1, done.stderr
    assert done.returncode == 2 or lines[0].startswith("error: ")  # argparse names the program first
    return lines[0]


@pytest.mark.parametrize("call", CALLS, ids=[f"{call.command} {call.words}"[:80] for call in CALLS])
def test_a_wrong_call_is_one_line(
    call: Call, table_folder: Path, finished_run: Path, scene_folder: Path, tmp_path: Path
) -> None:
    (best,) = (finished_run / "checkpoints").glob("best*")
    places = {"table": table_folder, "run": finished_run, "scene": scene_folder, "out": tmp_path / "out"}
    filled = {**places, "best": best.name, "here": tmp_path, "long": "x" * 300}
    words = [word.format(**filled) for word in call.words.split()]
    before = states(table_folder, finished_run, scene_folder, tmp_path)
    if call.command == "make_arrow":
        done = tables(*words)
    else:
        command = ["with", "remote"] if call.command == "train" else [call.command, "with"]
        given = [] if call.command in LISTS else [*QUICK, f"log_dir={tmp_path / 'runs'}"]
        done = run(*command, *given, *words, cwd=tmp_path)
    message = error_of(done)
    for part in call.parts:
        assert part.format(**filled) in message
    assert states(table_folder, finished_run, scene_folder, tmp_path) == before


@pytest.mark.parametrize(("content", "parts"), SCENES, ids=[json.dumps(content)[:60] for content, _ in SCENES])
def test_a_wrong_scene_file_is_one_line(
    content: str | dict[str, Any], parts: tuple[str, ...], scene_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "scene.json"
    path.write_text(content if isinstance(content, str) else json.dumps(GOOD | content))
    given = ("--dataset", "scene", "--root", scene_folder, "--scene", path, "--out", tmp_path / "out")
    message = error_of(tables(*given))
    for part in parts or (path.name,):
        assert part in message
    assert list(tmp_path.iterdir()) == [path]


def test_the_right_scene_file_is_none_of_them(scene_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(GOOD))
    sizes = ("--patch-size", 4, "--train-per-class", 4, "--val-per-class", 2, "--test-per-class", 3)
    given = ("--dataset", "scene", "--root", scene_folder, "--scene", path, "--out", tmp_path / "out", *sizes)
    assert tables(*given).returncode == 0
    assert len(CALLS) + len(SCENES) >= 100
