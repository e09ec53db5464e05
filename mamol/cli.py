"""The command line around Sacred: one line for every mistake, one record per run."""

import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sacred
from sacred.observers import FileStorageObserver
from sacred.utils import SacredError

from mamol.errors import MamolError
from mamol.settings import Settings
from mamol.training.experiment import Experiment
from mamol.training.runs import is_rank_zero, run_folder


class CommandLine:
    """Sacred's command line with the program's own checks in front.

    Attributes:
        settings: The checked options, once Sacred has resolved them.
        experiment: The run that ``main`` is about to do.
        folder: Where its results go.
    """

    settings: Settings
    experiment: Experiment
    folder: Path

    def __init__(self, ex: sacred.Experiment) -> None:
        """Hooks the checks into ``ex``."""
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
            # --force: keys are checked by Settings, which Sacred's own check would forestall with less to say.
            # --debug: exceptions come through to here.
            self.ex.run_commandline([*argv, "--force", "--debug"] if len(argv) > 1 else argv)
        except (MamolError, SacredError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
        return 0

    def show(self, text: object) -> None:
        """Prints a result, from the process of rank 0 only."""
        if is_rank_zero():
            sys.stdout.write(f"{text}\n")

    def _check(self, config: dict[str, Any], command_name: str) -> None:
        """Checks everything before a run is begun or a file is written."""
        self.settings = Settings.of(config)
        if command_name == "main":
            self.folder = run_folder(self.settings)
            self.experiment = Experiment(self.settings)
            if is_rank_zero():
                self.ex.observers[:] = [FileStorageObserver(self.folder / "sacred")]


def _set_up_logging() -> None:
    logging.basicConfig(
        level=logging.INFO if is_rank_zero() else logging.ERROR, format="%(message)s", stream=sys.stdout
    )
    for noisy in ("sacred", "pytorch_lightning", "lightning.pytorch", "lightning.fabric", "matplotlib", "rasterio"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message=".*module\\(s\\) in eval mode.*")  # the frozen tower, on purpose
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # between Lightning and torch
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")  # a continued run
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # loading is one gather per batch
