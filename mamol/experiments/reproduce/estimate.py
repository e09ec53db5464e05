"""How long runs will take, from one timed step."""

import time
from collections.abc import Sequence
from functools import cache
from math import inf

import torch

from mamol.api.experiment import Experiment
from mamol.core.settings import Settings
from mamol.core.task import TASKS
from mamol.data.tables import open_tables
from mamol.launch.job import Job
from mamol.training.optim import optimiser

FORWARD_SHARE = 1 / 3
"""Of a training step; the backward pass takes about twice as long as the forward pass."""


def estimate(jobs: Sequence[Job], at_once: int) -> str:
    """The time that runs will take on this machine, in words.

    Args:
        jobs: What is left to do; the first one's step is timed, in full precision.
        at_once: Runs at the same time, taken to be as fast as alone.

    Returns:
        One line. A run is taken to need as long to start as this command; follow-ups are not in it.
    """
    if not jobs:
        return "nothing is left to do"
    start_up = time.process_time()
    seconds, samples = timed_step(Settings.of(jobs[0].config))
    total = sum(start_up + seconds / samples * samples_of(Settings.of(job.config)) for job in jobs) / at_once
    return (
        f"about {_readable(total)} here with jobs={at_once}: {len(jobs)} runs; one timed step of {samples} samples "
        f"({jobs[0].name}) took {seconds:.3g} s"
    )


def timed_step(settings: Settings) -> tuple[float, int]:
    """Times a training step: two are done, and the second one counts.

    Args:
        settings: Of the run.

    Returns:
        Its seconds, and its number of samples.
    """
    experiment = Experiment(settings)
    task = TASKS.find(experiment.data.info.task)
    device = torch.device("cuda" if experiment.accelerator == "gpu" else "cpu")
    network = experiment.network.to(device).train()
    training = settings.training
    optimizer = optimiser(network, training.optim_type, training.learning_rate, training.weight_decay)
    batch = {key: value.to(device) for key, value in next(iter(experiment.data.loader("train"))).items()}
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.stack(list(network.loss(batch, task).values())).sum().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
    return seconds, len(batch["label"])


def samples_of(settings: Settings) -> float:
    """The cost of a run in training samples; a validation or test sample counts as ``FORWARD_SHARE`` of one.

    Args:
        settings: Of the run.
    """
    training = settings.training
    most = training.limit_batches * training.per_gpu_batchsize if training.limit_batches else inf
    size = {split: min(samples, most) for split, samples in _sizes(settings.data.data_root).items()}
    epochs = float(training.max_epoch)
    if training.max_steps:
        epochs = min(epochs, training.max_steps * training.batch_size / size["train"])
    validations = epochs / training.val_check_interval
    return epochs * size["train"] + FORWARD_SHARE * (validations * size["val"] + size["test"])


@cache
def _sizes(data_root: str) -> dict[str, int]:
    """Split to samples; a table stands behind many runs."""
    return {split: len(table) for split, table in open_tables(data_root).items()}


def _readable(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"
