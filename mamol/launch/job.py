"""What launchers do: a job in a process of its own. A run is one: skipped if done, continued if interrupted."""

import fcntl
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from mamol.core.errors import MamolError
from mamol.core.files import sha256_of, write_json
from mamol.evaluation.predictions import PREDICTIONS, read_predictions
from mamol.evaluation.results import METRICS, read_metrics
from mamol.training.checkpoints import read_checkpoint
from mamol.training.runs import wanted_folder

HOME = Path(__file__).resolve().parents[2]  # where the package mamol lies
FOLLOW = "follow.json"
WRITTEN = "written"
"""In the record of a follow-up: the tables that it left, with their checksums; the first versions kept none."""
RESULTS_OF = {"evaluate": "evaluation", "routing": "routing"}
"""Command to the folder of its tables in a run."""
logger = logging.getLogger(__name__)


class AnyJob(Protocol):
    """Something that a launcher does; it travels to other machines as a pickle."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def log(self) -> Path:
        """What its processes print; launchers keep their own files beside it."""

    def do(self, environment: Mapping[str, str]) -> None:
        """Does what is left to do.

        Args:
            environment: Variables for its processes, such as ``CUDA_VISIBLE_DEVICES``.

        Raises:
            MamolError: It failed.
        """


@dataclass(frozen=True)
class Job:
    """A training run, and what is done with the trained network.

    Attributes:
        name: For people.
        config: Every option of a training; paths are absolute.
        follow_up: Command on the trained network, such as ``evaluate``; empty: none.
        follow_options: Its options.
        program: What Python runs with them.
        follow_version: Grows where the command gives other results than an earlier version did with the same options.
    """

    name: str
    config: dict[str, Any]
    follow_up: str = ""
    follow_options: dict[str, Any] = field(default_factory=dict)
    program: tuple[str, ...] = ("-m", "mamol")
    follow_version: int = 1

    @property
    def folder(self) -> Path:
        """Where the run's results go."""
        return wanted_folder(self.config["log_dir"], self.config["exp_name"], self.config["seed"])

    @property
    def last(self) -> Path:
        """The checkpoint from which an interrupted run goes on."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def trained(self) -> bool:
        """Whether the run is finished, and its results are whole."""
        if not (self.folder / METRICS).is_file():
            return False
        try:
            read_metrics(self.folder)
            read_predictions(self.folder / PREDICTIONS)
        except MamolError as error:
            _warn(f"{self.name}: does not count as finished, {error}")
            return False
        return True

    @property
    def followed(self) -> bool:
        """Whether the follow-up is done, with these options."""
        path = self.beside(FOLLOW)
        if not self.follow_up or not path.is_file():
            return not self.follow_up
        try:
            kept = json.loads(path.read_text("utf-8"))
            for name, digest in kept.pop(WRITTEN, {}).items():
                if sha256_of(self.folder / name) != digest:
                    raise ValueError(f"{self.folder / name} is not what it wrote")
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            _warn(f"{self.name}: {self.follow_up} does not count as done, by {path}: {error}")
            return False
        return bool(kept == self.follow_record)

    @property
    def state(self) -> str:
        """``finished``, ``to continue`` or ``to do``."""
        if self.trained and self.followed:
            return "finished"
        return "to continue" if self.trained or self.last.is_file() else "to do"

    @property
    def log(self) -> Path:
        """What the job's processes print."""
        return self.beside("log")

    def beside(self, suffix: str) -> Path:
        """Path of a file of the job that is no result; it lies in ``jobs``, beside the run's folder.

        Args:
            suffix: Ending of its name, without the dot.
        """
        return self.folder.parent / "jobs" / f"{self.folder.name}.{suffix}"

    @property
    def follow_record(self) -> dict[str, Any]:
        """Command and options of the follow-up, by which one that is done is recognised; version 1 is left out."""
        version = {"version": self.follow_version} if self.follow_version > 1 else {}
        return {"command": self.follow_up, "options": self.follow_options, **version}

    def note_follow_up(self) -> None:
        """Writes down that the follow-up is done, with checksums of the tables that it left."""
        tables = sorted((self.folder / RESULTS_OF.get(self.follow_up, "")).rglob("*.csv"))
        written = {str(path.relative_to(self.folder)): sha256_of(path) for path in tables}
        write_json(self.beside(FOLLOW), {**self.follow_record, WRITTEN: written})

    def do(self, environment: Mapping[str, str]) -> None:
        """Trains, then does the follow-up, unless they are done.

        Args:
            environment: Variables for its processes.

        Raises:
            MamolError: One of them failed.
        """
        with _alone(self) as lock:
            if not self.trained:
                self._run("", {"resume_from": _checkpoint_to_continue(self)}, environment, lock)
            if not self.followed:
                options = {"load_path": str(self.folder), **self.follow_options}
                self._run(self.follow_up, options, environment, lock)
                self.note_follow_up()

    def _run(self, command: str, options: Mapping[str, Any], environment: Mapping[str, str], lock: int) -> None:
        files = self.beside("json"), self.log
        run_program(command, {**self.config, **options}, files, environment, (lock,), self.program)


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: The job.
        error: What went wrong, in one line; empty after success.
    """

    job: AnyJob
    error: str = ""


def work(job: AnyJob, environment: Mapping[str, str] | None = None) -> Outcome:
    """Does what is left to do of a job.

    Args:
        job: The job.
        environment: Variables for its processes, such as ``CUDA_VISIBLE_DEVICES``.

    Returns:
        The outcome; failures are in it, so that other jobs go on.
    """
    try:
        job.do(environment or {})
    except (MamolError, OSError) as error:
        return Outcome(job, str(error))
    return Outcome(job)


@contextmanager
def _alone(job: Job) -> Iterator[int]:
    """Waits for another process that does the same job, such as one whose ``reproduce`` was killed.

    Yields:
        The lock's file descriptor. The job's process inherits it and so holds the lock as long as it lives.
    """
    path = job.beside("lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("%s: waiting for a process that is at it already", job.name)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@cache
def _warn(message: str) -> None:
    """Once per process, however often a state is asked for."""
    logger.warning("%s", message)


def _checkpoint_to_continue(job: Job) -> str:
    """``last.ckpt`` of the interrupted run, empty for one that has to begin (again)."""
    if not job.folder.exists():
        return ""
    (job.folder / METRICS).unlink(missing_ok=True)  # not whole, or the run would count as trained
    if job.last.is_file():
        try:
            read_checkpoint(job.last)
        except MamolError as error:
            logger.warning("%s: begins again, %s", job.name, error)
        else:
            return str(job.last)
    shutil.rmtree(job.folder)  # unfinished, and nothing in it to go on from
    return ""


def run_program(
    command: str,
    options: Mapping[str, Any],
    files: tuple[Path, Path],
    environment: Mapping[str, str],
    held: Sequence[int] = (),
    program: Sequence[str] = ("-m", "mamol"),
) -> None:
    """``python -m mamol [command] with <file of all options>``, in a process of its own.

    Args:
        command: Its name; "" trains.
        options: All of them.
        files: Where options are handed over, and where what it prints is kept.
        environment: Variables for it.
        held: File descriptors that it inherits, so that it holds their locks as long as it lives.
        program: What Python runs.

    Raises:
        MamolError: It failed; the last line that it printed says why.
    """
    config, printed = files
    write_json(config, options)
    line = [sys.executable, *program, *([command] if command else []), "with", str(config)]
    search = os.pathsep.join(filter(None, (str(HOME), os.environ.get("PYTHONPATH"))))  # installed or not
    with printed.open("w", encoding="utf-8") as log:
        done = subprocess.run(  # noqa: S603 - no shell, and every part is ours
            line,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, "PYTHONPATH": search},
            pass_fds=held,
            check=False,
        )
    if done.returncode:
        raise MamolError(_reason(printed, done.returncode))


def _reason(log: Path, status: int) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (told or lines or ["it printed nothing"])[-1] + f" (exit status {status}, log {log})"
