"""A training killed from outside at any time, alone and as two processes: it goes on to the bits of an unkilled one."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import WHOLE
from tests.faults.test_kills import of_run
from tests.lines import QUICK, process, start

KILLS = 5
EPOCHS = 8


def line(table: Path, folder: Path, processes: int) -> list[str]:
    last = sorted(folder.glob("killed_seed0*/checkpoints/last.ckpt"))
    quick = [option for option in QUICK if processes == 1 or not option.startswith("per_gpu_batchsize")]
    given = [*quick, *(["per_gpu_batchsize=4"] if processes > 1 else []), f"cpu_processes={processes}", "threads=1"]
    given += [f"data_root={table}", f"log_dir={folder}", "exp_name=killed", f"max_epoch={EPOCHS}"]
    return ["with", "remote", *given, *([f"resume_from={last[0]}"] if last else [])]


@pytest.mark.skipif(not WHOLE, reason="takes minutes; make faults does it")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_training_killed_from_outside_goes_on(processes: int, table_folder: Path, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "folder"
    began = time.monotonic()
    done = process("run.py", *line(table_folder, whole, processes))
    assert done.returncode == 0, done.stderr[-1500:]
    longest, draws, kills = time.monotonic() - began, random.Random(processes), 0
    while kills < KILLS:
        running = start("run.py", *line(table_folder, folder, processes))
        time.sleep(longest * draws.uniform(0.4, 1))
        if running.poll() is None:
            running.send_signal((signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[kills % 3])
        running.communicate(timeout=240)
        kills += 1
        if list(folder.glob("killed_seed0*/metrics.json")):
            break
    if not list(folder.glob("killed_seed0*/metrics.json")):
        done = process("run.py", *line(table_folder, folder, processes))
        assert done.returncode == 0, done.stderr[-1500:]
    assert kills
    assert of_run(folder) == of_run(whole)
    litter = [path for path in folder.rglob(".*.tmp") if f".{os.getpid()}@" not in path.name]
    assert not litter
