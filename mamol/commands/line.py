"""The command line around Sacred: one line for every mistake, one record per run."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sacred
import yaml
from sacred.observers import FileStorageObserver
from sacred.utils import SacredError

from mamol.commands.config import READERS
from mamol.core.errors import MamolError
from mamol.core.plugins import load_plugins
from mamol.core.settings import OPTIONS, Settings
from mamol.training.machine import decide_threads, use_threads
from mamol.training.quiet import quiet
from mamol.training.runs import is_rank_zero

if TYPE_CHECKING:
    from mamol.api.experiment import Experiment
    from mamol.api.made import Made

COMPUTING = ("predict", "evaluate", "routing", "calibrate", "prune", "merge", "export", "report", "params")
"""Commands that compute in this process; training decides on its threads itself."""


class CommandLine:
    """Sacred's command line with the program's own checks in front.

    Attributes:
        settings: The checked options, once Sacred has resolved them.
        experiment: The run that ``main`` is about to do.
        folder: Where its results go.
    """

    settings: Settings
    experiment: "Experiment"
    folder: Path

    def __init__(self, ex: sacred.Experiment) -> None:
        """Hooks the checks in.

        Args:
            ex: The experiment whose commands are run.
        """
        self.ex = ex
        ex.logger = logging.getLogger("sacred")  # type: ignore[assignment]  # Sacred declares it as None

        @ex.config_hook
        def check(config: dict[str, Any], command_name: str, logger: logging.Logger) -> dict[str, Any]:
            self._check(config, command_name)
            return {}

    def __call__(self, argv: Sequence[str]) -> int:
        """Runs a command line.

        Args:
            argv: As ``sys.argv``.

        Returns:
            Exit status: 0, or 1 after a mistake of the user's, which is told in one line on stderr.
        """
        _set_up_logging()
        try:
            _check_files(argv)
            # --force: keys are checked by Settings, which Sacred's own check would forestall with less to say.
            # --debug: exceptions come through to here.
            with quiet():
                self.ex.run_commandline([*argv, "--force", "--debug"])
        except (MamolError, SacredError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        except OSError as error:
            path = error.filename2 or error.filename  # of two, such as of a copy, the one that is written
            if path is None:
                raise
            sys.stderr.write(f"error: {path}: {error.strerror}; free some disk, or give another folder\n")
            return 1
        except SystemExit as leaving:
            if not isinstance(leaving.code, str):
                raise
            # Sacred's parser leaves with a page of its own about words that it does not know.
            sys.stderr.write(f"error: {' '.join(argv[1:])}: not understood; options are name=value behind with\n")
            return 1
        return 0

    def show(self, text: object) -> None:
        """Prints a result, from the process of rank 0 only.

        Args:
            text: What to print, as ``str`` gives it.
        """
        if is_rank_zero():
            sys.stdout.write(f"{text}\n")

    def show_made(self, made: "Made") -> None:
        """Prints the page of something that was made, then its folder.

        Args:
            made: The result.
        """
        self.show(f"{made}\n\n{made.folder}")

    def _check(self, config: dict[str, Any], command_name: str) -> None:
        """Checks everything before a run is begun or a file is written."""
        allowed = OPTIONS["plugins"][1].metadata["allowed"]
        if allowed.accepts(config.get("plugins", "")):  # otherwise Settings says what is wrong with it
            load_plugins(allowed.convert(config.get("plugins", "")))
        self.settings = Settings.of(config)
        if command_name in COMPUTING:
            use_threads(decide_threads(self.settings.machine)[0])
        if command_name == "main":
            from mamol.api.experiment import Experiment  # Lightning takes seconds, and other commands do without

            self.experiment = Experiment(self.settings)
            self.folder = self.experiment.folder()
            if is_rank_zero():
                self.ex.observers[:] = [FileStorageObserver(self.folder / "sacred")]


def _check_files(argv: Sequence[str]) -> None:
    """Refuses files behind ``with`` that are no plain data; reading a pickle would run what is in it.

    Raises:
        MamolError: Naming the file.
    """
    for word in argv[argv.index("with") + 1 :] if "with" in argv else ():
        path = Path(word)
        if "=" in word or not (path.suffix or path.is_file()):
            continue  # an option, or the name of a config
        if path.suffix.lower() not in READERS:
            raise MamolError(
                f"with {word}: a file of options ends in {', '.join(READERS)}; others are not read, because a pickle "
                "can run code"
            )
        try:
            with path.open(encoding="utf-8") as file:
                content = READERS[path.suffix.lower()](file)
        except (OSError, ValueError, yaml.YAMLError) as error:
            reason = str(error).partition("\n")[0]
            raise MamolError(
                f"with {word}: cannot be read ({reason}); give a file of options by their names"
            ) from error
        if not isinstance(content, dict) or not _has_plain_names(content):
            raise MamolError(f"with {word}: holds no options by their names; print_config shows them")


def _has_plain_names(content: object) -> bool:
    """Whether every key of nested dictionaries is a name; Sacred refuses others in words of its own."""
    if isinstance(content, list):
        return all(map(_has_plain_names, content))
    if not isinstance(content, dict):
        return True
    return all(isinstance(key, str) and key.isidentifier() for key in content) and all(
        map(_has_plain_names, content.values())
    )


def _set_up_logging() -> None:
    logging.basicConfig(
        level=logging.INFO if is_rank_zero() else logging.ERROR, format="%(message)s", stream=sys.stdout
    )
