"""A command killed at any moment at which it changes files: in a process of its own, by the signal of one's choice."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink"}
ENDED, FAILED = 0, 70
"""Exit statuses of the process: the work was done; it ended with an exception."""


def killed_at(moment: int, sign: signal.Signals, folder: Path, work: Callable[[], object]) -> bool:
    """Does a work in a forked process, which sends itself a signal before a change of a file.

    Args:
        moment: Which change below ``folder`` it is, from 0: a file opened for writing, renamed, removed, or a folder.
        sign: The signal.
        folder: Where changes count.
        work: What to do.

    Returns:
        Whether the moment came; False: the work was done before.

    Raises:
        RuntimeError: The work failed by itself.
    """
    process = os.fork()
    if not process:
        _child(moment, sign, str(folder), work)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == FAILED:
        raise RuntimeError(f"moment {moment}: the work failed by itself")
    return code != ENDED


def _child(moment: int, sign: signal.Signals, folder: str, work: Callable[[], object]) -> None:
    passed = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal passed
        changes = event in CHANGES or (event == "open" and _writes(arguments))
        if changes and str(arguments[0]).startswith(folder):
            if passed == moment:
                os.kill(os.getpid(), sign)
            passed += 1

    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.addaudithook(watch)
    try:
        work()
    except KeyboardInterrupt:
        os._exit(1)
    except BaseException:
        os._exit(FAILED)
    os._exit(ENDED)


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
