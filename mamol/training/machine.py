"""On what a command computes: devices, arithmetic, threads."""

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import psutil
import torch

from mamol.core.errors import MamolError
from mamol.core.groups import MachineSettings

if TYPE_CHECKING:
    from pytorch_lightning import Callback

CPU_BATCH = 32  # pixels at once on a CPU: more no longer fit its caches and take 1.6 times as long (tiny tower)
CPU_PIXELS = 2048  # of windows of which all are classified: 8 of 16 × 16 take 0.7 times as long each as 32 (tiny tower)
GPU_BATCH = 256  # pixels at once on a GPU, at least: without gradients more fit than in training
OMP = "OMP_NUM_THREADS"
LOOK_SECONDS = 0.2  # how long the machine is watched for free cores
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def devices_of(machine: MachineSettings) -> tuple[int, str]:
    """How many devices of a node train, and of what kind.

    Args:
        machine: GPUs and processes wanted.

    Returns:
        Number, and ``gpu`` or ``cpu``.

    Raises:
        MamolError: There are fewer GPUs.
    """
    there = torch.cuda.device_count()
    wanted = min(1, there) if machine.num_gpus == "auto" else int(machine.num_gpus)
    if wanted > there:
        raise MamolError(f"num_gpus={wanted}: this machine has {there}; use num_gpus={there} (0 is the CPU)")
    return (wanted, "gpu") if wanted else (machine.cpu_processes, "cpu")


def device_of(machine: MachineSettings) -> torch.device:
    """The one device of commands that do not train.

    Args:
        machine: ``num_gpus=0`` is the CPU.
    """
    return torch.device("cuda" if machine.num_gpus != 0 and torch.cuda.is_available() else "cpu")


def batch_on(device: torch.device, per_gpu: int, pixels: int = 1) -> int:
    """Samples at once, for commands that do not train.

    Args:
        device: Where they are computed.
        per_gpu: What the user allows in training.
        pixels: Of a sample that are classified together.
    """
    return max(GPU_BATCH, per_gpu) if device.type == "cuda" else max(1, min(CPU_BATCH, CPU_PIXELS // pixels))


def precision_of(precision: str | int, accelerator: str) -> Any:  # noqa: ANN401 - Lightning's union of literals
    """Lightning's name of the arithmetic of a run.

    Args:
        precision: ``auto`` is decided by the accelerator.
        accelerator: ``gpu`` or ``cpu``.
    """
    if precision != "auto":
        return precision
    return "bf16-mixed" if accelerator == "gpu" and torch.cuda.is_bf16_supported() else 32


def arithmetic(precision: str | int, device: torch.device) -> AbstractContextManager[None]:
    """The arithmetic of a test of the same settings, for commands without a trainer.

    Args:
        precision: As the option.
        device: Where is computed.
    """
    dtype = _AUTOCAST.get(precision_of(precision, "gpu" if device.type == "cuda" else "cpu"))
    return torch.autocast(device.type, dtype, enabled=dtype is not None)


def decide_threads(machine: MachineSettings, stored: int | str | None = None) -> tuple[int, str]:
    """How many threads the processor's arithmetic gets, and why.

    Other programs on a busy machine make many threads wait for each other: nine times slower was seen. And results are
    equal to the bit only with as many threads, so a continued run keeps what it began with.

    Args:
        machine: ``threads`` and ``cpu_processes``.
        stored: What an interrupted run began with.

    Returns:
        Threads, and the reason in words.
    """
    if os.environ.get(OMP, "").isdecimal():
        return max(1, int(os.environ[OMP])), f"{OMP} is set"
    if machine.threads != "auto":
        return int(machine.threads), "threads is set"
    if isinstance(stored, int):
        return stored, "as the run began"
    cores, free = free_cores()
    threads = max(1, free // (machine.cpu_processes if machine.num_gpus == 0 else 1))
    return threads, f"{free} of {cores} cores were free; threads=… sets another number"


def free_cores() -> tuple[int, int]:
    """Cores that this process may use, and how many of them others leave idle, at least 1; looks for a moment."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    busy = psutil.cpu_percent(LOOK_SECONDS, percpu=True)
    idle = sum(100 - busy[core] for core in allowed if core < len(busy)) / 100
    return len(allowed), max(1, int(idle + 0.25))


def use_threads(threads: int, processes: int = 1) -> None:
    """Sets the number of threads, here and in the other processes of a training.

    Args:
        threads: Of each process, at least 1.
        processes: How many train together; those that this one starts are told by their environment.
    """
    torch.set_num_threads(threads)
    if processes > 1:
        os.environ.setdefault(OMP, str(threads))


def progress_bars(shown: bool) -> "list[Callback]":
    """Lightning's progress bar, or none.

    Args:
        shown: Whether it is wanted.
    """
    from pytorch_lightning.callbacks import TQDMProgressBar  # Lightning takes seconds: for training alone

    return [TQDMProgressBar(refresh_rate=5)] if shown else []
