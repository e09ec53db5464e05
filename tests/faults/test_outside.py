"""Commands killed from outside at any time: they go on to the bits of an unkilled one, and leave nothing behind."""

import random
import time
from pathlib import Path
from subprocess import TimeoutExpired

import pytest

from tests.faults.commands import Places, cases, litter, succeed
from tests.faults.conftest import WHOLE
from tests.faults.kills import SIGNALS
from tests.lines import process, start

KILLS = 5
COMMANDS = (
    "make_arrow patches",
    "make_arrow tiles",
    "train long",
    "train two processes",
    "pretrain",
    "test_only",
    "evaluate",
    "routing",
    "calibrate",
    "prune",
    "merge",
    "export",
    "report",
    "save",
    "predict rasters",
    "reproduce",
)


@pytest.mark.skipif(not WHOLE, reason="takes minutes; make faults does it")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_from_outside_goes_on(name: str, places: Places, tmp_path: Path) -> None:
    """What the last whole run took is known; a kill comes behind the imports, which are the first part of it."""
    case, whole, folder = cases(places)[name], tmp_path / "whole", tmp_path / "folder"
    for each in (whole, folder):
        case.begin(each)
    began = time.monotonic()
    succeed(process(*(case.line(whole) or ())))
    longest, draws, hits = time.monotonic() - began, random.Random(name), 0
    for number in range(KILLS):
        line = case.line(folder)
        if line is None:
            break
        began, running = time.monotonic(), start(*line)
        try:
            running.communicate(timeout=longest * draws.uniform(0.4, 1))
        except TimeoutExpired:
            running.send_signal(SIGNALS[number % len(SIGNALS)])
            running.communicate(timeout=240)
            hits += 1
            continue
        if not hits:  # it was faster than the one before, and nothing is left to be killed
            longest, folder = time.monotonic() - began, tmp_path / f"folder{number}"
            case.begin(folder)
    assert hits
    if (line := case.line(folder)) is not None:
        succeed(process(*line))
    assert case.results(folder) == case.results(whole)
    assert not litter(folder)


@pytest.mark.skipif(not WHOLE, reason="starts two processes; make faults does it")
def test_sigterm_where_gradients_meet_ends_a_training_of_two_processes(tmp_path: Path) -> None:
    """Lightning's own handler waits there for ever, which a kill at a random time seldom meets."""
    finished = process("tests/training/terminated.py", tmp_path)
    assert finished.returncode == 0, finished.stderr
