"""The real command lines: in a process of their own, or in this one where many are tried."""

import contextlib
import importlib.util
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import ModuleType
from typing import cast

import torch

import make_arrow

ROOT = Path(__file__).parents[1]
QUICK = ("backbone=tiny", "num_gpus=0", "per_gpu_batchsize=8", "batch_size=8", "progress_bar=False")


@dataclass(frozen=True)
class Finished:
    """What a command line left: exit status and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def start(script: str, *arguments: object, cwd: Path = ROOT) -> subprocess.Popen[str]:
    """Starts ``python <script> <arguments>``."""
    search = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # for scripts in folders
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": search}
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=environment, stdout=pipe, stderr=pipe, text=True)


def process(script: str, *arguments: object, cwd: Path = ROOT) -> Finished:
    """Runs ``python <script> <arguments>`` to its end."""
    running = start(script, *arguments, cwd=cwd)
    out, err = running.communicate(timeout=240)
    return Finished(running.returncode, out, err)


def _module() -> ModuleType:
    """``run.py``, loaded once: importing torch, Lightning and open_clip takes seconds."""
    if "run" not in sys.modules:
        spec = importlib.util.spec_from_file_location("run", ROOT / "run.py")
        if spec is None or spec.loader is None:
            raise RuntimeError("run.py is gone")
        sys.modules["run"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["run"])
    return sys.modules["run"]


def run(*arguments: object, cwd: Path = ROOT) -> Finished:
    """``python run.py <arguments>`` through the same entry, in this process."""
    return _here(lambda: _module().run([str(ROOT / "run.py"), *map(str, arguments)]), cwd)


def forked(*arguments: object) -> ForkProcess:
    """Starts ``python run.py <arguments>`` in a copy of this process, which has imported everything."""
    running = multiprocessing.get_context("fork").Process(target=_forked, args=arguments)
    running.start()
    return running


def killed(ready: Callable[[], object], *arguments: object) -> None:
    """Starts ``python run.py <arguments>`` as ``forked``, and kills it and what it started once something is so.

    Args:
        ready: Says whether it is.
        arguments: Of the command.

    Raises:
        RuntimeError: The command ended before, or nothing happened for two minutes.
    """
    running = forked(*arguments)
    deadline = time.monotonic() + 120
    try:
        while not ready():
            if running.exitcode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the command was not there to be killed (exit status {running.exitcode})")
            time.sleep(0.02)
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(cast(int, running.pid), signal.SIGKILL)
        running.join()


def _forked(*arguments: object) -> None:
    os.setsid()  # what it starts can be killed with it
    torch.set_num_threads(1)  # threads of the parent are not in the child
    sys.exit(run(*arguments).returncode)


def tables(*arguments: object) -> Finished:
    """``python make_arrow.py <arguments>`` through the same entry, in this process."""
    return _here(lambda: make_arrow.main(list(map(str, arguments))), ROOT)


def _here(call: Callable[[], int], cwd: Path) -> Finished:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = call()
        except SystemExit as leaving:
            status = int(leaving.code or 0)
    return Finished(status, out.getvalue(), err.getvalue())


def trained(log_dir: Path, *arguments: object) -> Path:
    """Runs a training to its end and returns the folder that its last line names."""
    result = run("with", "remote", *QUICK, f"log_dir={log_dir}", *arguments)
    if result.returncode:
        raise RuntimeError(result.stderr[-2000:])
    return Path(result.stdout.splitlines()[-1])
