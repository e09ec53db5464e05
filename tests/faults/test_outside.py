"""Commands killed from outside at any time: they go on to the bits of an unkilled one, and leave nothing behind."""

import random
import time
from pathlib import Path

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
    "prune",
    "merge",
    "export",
    "save",
    "predict rasters",
    "reproduce",
)


@pytest.mark.skipif(not WHOLE, reason="takes minutes; make faults does it")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_killed_from_outside_goes_on(name: str, places: Places, tmp_path: Path) -> None:
    """What a first run takes is known; a kill comes behind the imports, which are the first part of it."""
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
        running = start(*line)
        time.sleep(longest * draws.uniform(0.4, 1))
        if running.poll() is None:
            running.send_signal(SIGNALS[number % len(SIGNALS)])
            hits += 1
        running.communicate(timeout=240)
    assert hits
    if (line := case.line(folder)) is not None:
        succeed(process(*line))
    assert case.results(folder) == case.results(whole)
    assert not litter(folder)
