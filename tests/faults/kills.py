"""A command killed at any moment at which it changes files: in a process of its own, by the signal of one's choice."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ENDED, FAILED = 0, 70
"""Exit statuses of the process: the work was done; it ended with an exception."""


def changes_of(folder: Path, work: Callable[[], object]) -> int:
    """How often a work changes files.

    Args:
        folder: Where changes count.
        work: What to do, in a forked process.
    """
    reading, writing = os.pipe()
    killed_at(None, signal.SIGKILL, folder, work, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        return int(told.read())


def killed_at(
    moment: int | None, sign: signal.Signals, folder: Path, work: Callable[[], object], told: int | None = None
) -> bool:
    """Does a work in a forked process, which sends itself a signal before a change of a file.

    Args:
        moment: Which change below ``folder`` it is, from 0: a file opened for writing, renamed, removed, or a folder;
            None: never.
        sign: The signal.
        folder: Where changes count.
        work: What to do.
        told: Where the number of changes is written at the end.

    Returns:
        Whether the moment came; False: the work was done before.

    Raises:
        RuntimeError: The work failed by itself.
    """
    process = os.fork()
    if not process:
        _child(moment, sign, str(folder), work, told)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == FAILED:
        raise RuntimeError(f"moment {moment}: the work failed by itself")
    return code != ENDED


def _child(moment: int | None, sign: signal.Signals, folder: str, work: Callable[[], object], told: int | None) -> None:
    passed = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal passed
        changes = event in CHANGES or (event == "open" and _writes(arguments))
        if changes and str(arguments[0]).startswith(folder):
            passed += 1  # first: Ctrl-C raises at once
            if passed - 1 == moment:
                os.kill(os.getpid(), sign)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)  # threads of the parent are not in the child
    sys.addaudithook(watch)
    try:
        work()
    except KeyboardInterrupt:
        os._exit(1)
    except BaseException:
        traceback.print_exc()
        os._exit(1 if passed > (moment if moment is not None else passed) else FAILED)
    if told is not None:
        os.write(told, str(passed).encode())
    os._exit(ENDED)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
