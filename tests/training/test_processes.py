"""Processes of one training: none outlives the first."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed

from mamol.core.settings import Settings
from mamol.training.trainer import make_trainer
from tests.pages import ROOT

WAITS = """
import sys, time
from mamol.training.processes import keep_together
keep_together()
print("met", flush=True)
{then}
"""
STARTS = """
import os, subprocess, sys
from mamol.training.processes import keep_together
keep_together()
other = [sys.executable, "-c", {waits!r}]
with subprocess.Popen(other, env={{**os.environ, "LOCAL_RANK": "1", {more}}}, stdout=subprocess.PIPE) as running:
    os.write(1, running.stdout.readline())
    os._exit(7)
"""


def first_of_two(then: str, more: str = "") -> subprocess.CompletedProcess[str]:
    """Starts another process and is gone; the call ends when both are, as they share stderr."""
    code = STARTS.format(waits=WAITS.format(then=then), more=more)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )


def test_the_other_process_ends_with_the_first() -> None:
    done = first_of_two("time.sleep(100)")
    assert (done.returncode, done.stdout, done.stderr) == (7, "met\n", "")


@pytest.mark.parametrize("more", ['"MAMOL_FIRST_PROCESS": "1", "TORCHELASTIC_RUN_ID": "none"', ""])
def test_one_that_somebody_else_looks_after_goes_on(more: str) -> None:
    """As torchrun does; the same child without torchrun is gone before it says so."""
    done = first_of_two("time.sleep(3); sys.stderr.write('went on')", more)
    assert done.stderr == ("went on" if more else "")


def test_sigterm_is_noted_and_told_to_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the handler the other processes cannot be told: ``tests/faults`` shows what happens to those that try."""
    monkeypatch.delenv("MAMOL_FIRST_PROCESS", raising=False)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "broadcast", lambda *_, **__: pytest.fail("told"))
    trainer = make_trainer(Settings.of({"num_gpus": 0, "cpu_processes": 2}), tmp_path, [], writes=False)
    connector = trainer._signal_connector
    connector.register_signal_handlers()
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        connector.teardown()
    assert trainer.received_sigterm
