"""Runs as Slurm jobs by submitit; on a machine without Slurm, by submitit's local executor."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import submitit

from mamol.core.errors import MamolError
from mamol.launch.job import HOME, AnyJob, Outcome, work

POLL_SECONDS = 1.0


class SlurmLauncher:
    """One array job for all runs, ``jobs`` of them at once."""

    def __init__(self, *, jobs: int, gpus: int | str, slurm: dict[str, Any]) -> None:
        """Keeps submitit's parameters; nothing is submitted yet.

        Args:
            jobs: How many runs at once.
            gpus: ``num_gpus`` of a run: a number, or ``auto`` for one.
            slurm: submitit's parameters; they replace those of the same names that are set here.
        """
        self.parameters = {
            "name": "mamol",
            "timeout_min": 24 * 60,
            "gpus_per_node": 1 if gpus == "auto" else int(gpus),
            "slurm_array_parallelism": jobs,
            **slurm,
        }

    def outcomes(self, jobs: Sequence[AnyJob]) -> Iterator[Outcome]:
        """Yields outcomes as the jobs end.

        Args:
            jobs: What to do.

        Raises:
            MamolError: submitit or Slurm refuses a parameter.
        """
        if not jobs:
            return
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH")]))
        waiting = self._submitted(jobs)
        while waiting:
            for submission in [s for s in waiting if s.done()]:
                yield _outcome(submission, waiting.pop(submission))
            time.sleep(POLL_SECONDS if waiting else 0)

    def _submitted(self, jobs: Sequence[AnyJob]) -> "dict[submitit.Job[Outcome], AnyJob]":
        folder = jobs[0].log.parent / "submitit"
        executor = submitit.AutoExecutor(folder=folder)
        try:
            executor.update_parameters(**self.parameters)
            return dict(zip(executor.map_array(work, jobs), jobs, strict=True))
        except (NameError, TypeError, ValueError, submitit.core.utils.FailedJobError) as error:
            raise MamolError(f"slurm={self.parameters}: {str(error).splitlines()[0]}") from error


def _outcome(submission: "submitit.Job[Outcome]", job: AnyJob) -> Outcome:
    error = submission.exception()
    if error is not None:
        return Outcome(job, f"Slurm job {submission.job_id}: {(str(error).splitlines() or [repr(error)])[-1]}")
    return submission.result()
