"""Calls from Python as commands are: options by keyword, quiet, with the threads of a command."""

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from mamol.api.made import Made
from mamol.core.errors import MamolError
from mamol.core.options import listed
from mamol.core.plugins import load_plugins
from mamol.core.settings import Settings
from mamol.training.machine import decide_threads, use_threads
from mamol.training.quiet import as_a_guest


def settings_of(options: Mapping[str, Any]) -> Settings:
    """The settings of keywords, plugins loaded.

    Args:
        options: Of the command line, by name.

    Raises:
        MamolError: An option is unknown or has a value that is not allowed.
    """
    plain = {name: os.fspath(value) if isinstance(value, os.PathLike) else value for name, value in options.items()}
    load_plugins(listed(plain.get("plugins", ())))
    return Settings.of(plain)


def called(command: Callable[[Settings], Made], options: Mapping[str, Any]) -> Made:
    """Does what a command does, quietly and with the threads that it would have.

    Args:
        command: It.
        options: Of the command line, by name.

    Returns:
        What the command made.

    Raises:
        MamolError: As of ``settings_of`` and of the command.
    """
    settings = settings_of(options)
    with as_a_guest():
        use_threads(decide_threads(settings.machine)[0])
        return command(settings)


def refuse_processes(devices: int) -> None:
    """Refuses what cannot be done from a notebook.

    Args:
        devices: How many processes are needed.

    Raises:
        MamolError: Several, in a notebook.
    """
    if devices > 1 and hasattr(sys, "ps1"):
        raise MamolError(
            f"{devices} processes cannot be started from a notebook; use num_gpus=1, or train from the command line"
        )
