"""The doors: ``mamol <command> …``, which ``python -m mamol`` is, too, and ``python run.py``."""

import gc
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from mamol.commands import help as manual
from mamol.core.errors import MamolError

if TYPE_CHECKING:
    from mamol.commands.line import CommandLine

MAMOL = "mamol"


def mamol() -> int:
    """The console script: ``mamol tables …`` builds tables, every other command is that of ``run.py``.

    Returns:
        Exit status: 0, or 1 after a mistake of the user's, which is told in one line on stderr.
    """
    words = sys.argv[1:]
    if words[:1] == ["tables"]:
        from mamol.commands.tables import main  # of the commands only the one that is called

        return main(words[1:], f"{MAMOL} tables")
    return run([MAMOL, *words])


def run(argv: Sequence[str]) -> int:
    """A command of ``run.py``, or the help that is asked for.

    Args:
        argv: As ``sys.argv``.

    Returns:
        Exit status, as of ``mamol``.
    """
    program, words = MAMOL if argv[0] == MAMOL else manual.RUN, list(argv[1:])
    try:
        if manual.asked(words):
            sys.stdout.write(f"{manual.answer(words, program)}\n")
            return 0
        manual.check_command(words[0])
    except MamolError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return _command_line()([argv[0], *(words[1:] if words[0] == "train" else words)])


@cache
def _command_line() -> "CommandLine":
    """The commands, imported after the help, which does without torch.

    Without garbage collections: nothing of this goes, and each would look through all of it, a second together.
    """
    gc.disable()
    from mamol.commands.run import line

    gc.freeze()
    gc.enable()
    return line
