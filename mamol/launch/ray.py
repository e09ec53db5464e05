"""Runs as tasks of a Ray cluster: the one that ``RAY_ADDRESS`` names, or one started on this machine."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from mamol.launch.job import HOME, AnyJob, Outcome, work


class RayLauncher:
    """One task per run. All machines need this folder and ``log_dir`` under the same paths."""

    def __init__(self, *, jobs: int, gpus: int | str, slurm: dict[str, Any]) -> None:
        """Keeps what the tasks need; nothing is started yet.

        Args:
            jobs: How many runs at once on a cluster started here; not used on one that runs already.
            gpus: ``num_gpus`` of a run: a number, or ``auto`` for one where the cluster has any.
            slurm: Not used here.
        """
        self.jobs = jobs
        self.gpus = gpus

    def outcomes(self, jobs: Sequence[AnyJob]) -> Iterator[Outcome]:
        """Yields outcomes as the tasks end.

        Args:
            jobs: What to do.
        """
        started = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": self.jobs, "include_dashboard": False}
        runtime = {"env_vars": {"PYTHONPATH": str(HOME)}}
        with ray.init(runtime_env=runtime, log_to_driver=False, logging_level="error", **started):
            task = ray.remote(work).options(num_cpus=1, num_gpus=self._gpus_of_a_task())
            waiting = {task.remote(job): job for job in jobs}
            while waiting:
                (ended,), _ = ray.wait(list(waiting))
                job = waiting.pop(ended)
                try:
                    yield ray.get(ended)
                except RayError as error:
                    yield Outcome(job, f"Ray: {str(error).splitlines()[0]}")

    def _gpus_of_a_task(self) -> int:
        if self.gpus == "auto":
            return 1 if ray.cluster_resources().get("GPU") else 0
        return int(self.gpus)
