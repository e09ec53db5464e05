"""Runs as processes on this machine, spread over its GPUs."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from queue import SimpleQueue
from typing import Any

import torch

from mamol.launch.job import AnyJob, Outcome, work


class LocalLauncher:
    """``jobs`` processes at once; the GPUs, or without GPUs the cores, are shared out among them."""

    def __init__(self, *, jobs: int, gpus: int | str, slurm: dict[str, Any]) -> None:
        """Shares out the GPUs, or the cores; nothing is started yet.

        Args:
            jobs: How many runs at once.
            gpus: ``num_gpus`` of a run: a number, or ``auto`` for one where there is one.
            slurm: Not used here.
        """
        self.jobs = jobs
        self.shares = shares(visible_gpus(), 1 if gpus == "auto" else int(gpus), jobs)

    def outcomes(self, jobs: Sequence[AnyJob]) -> Iterator[Outcome]:
        """Yields outcomes as the runs end.

        Args:
            jobs: What to do.
        """
        free: SimpleQueue[dict[str, str]] = SimpleQueue()
        for share in self.shares:
            free.put(share)

        def next_free(job: AnyJob) -> Outcome:
            share = free.get()
            try:
                return work(job, share)
            finally:
                free.put(share)

        with ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(next_free, job) for job in jobs]
            try:
                yield from (future.result() for future in as_completed(futures))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = torch.cuda.device_count()
    return named.split(",")[:there] if named else [str(number) for number in range(there)]


def shares(gpus: Sequence[str], per_run: int, jobs: int) -> list[dict[str, str]]:
    """Variables for each of the runs at once: GPUs round robin, or threads where there are no GPUs.

    Args:
        gpus: Names of the GPUs.
        per_run: GPUs of a run; 0: CPU.
        jobs: Runs at once.

    Returns:
        One dictionary for each of the ``jobs``.
    """
    if not gpus or not per_run:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        return [{} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)} for _ in range(jobs)]
    return [
        {
            "CUDA_VISIBLE_DEVICES": ",".join(
                gpus[(job * per_run + i) % len(gpus)] for i in range(min(per_run, len(gpus)))
            )
        }
        for job in range(jobs)
    ]
