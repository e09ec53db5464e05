"""What all benchmarks share: alternating timing, a figure, and what it was measured on."""

import logging
import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

THREADS = 1
"""Threads of whatever is timed: the figures are in processor time, which would count waiting threads."""


@dataclass(frozen=True)
class Figure:
    """One result.

    Attributes:
        name: What was measured.
        value: The figure, mostly a ratio ours / plain; None where it could not be measured.
        unit: Of ``value``; ``×`` for a ratio.
        against: What the ratio is against.
        at_most: What ``value`` should not exceed, if there is a target.
        at_least: What it should reach, if there is a target.
        note: How to read it, or why it was not measured.
        details: The measurements behind it; plain JSON values.
    """

    name: str
    value: float | None
    unit: str = "×"
    against: str = ""
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The target in words, empty if there is none."""
        signs = (("≤", self.at_most), ("≥", self.at_least))
        return " ".join(f"{sign} {bound:g}" for sign, bound in signs if bound is not None)

    @property
    def missed(self) -> bool:
        """Whether it was measured and its target is not reached."""
        if self.value is None:
            return False
        too_high = self.at_most is not None and self.value > self.at_most
        return too_high or (self.at_least is not None and self.value < self.at_least)

    @property
    def text(self) -> str:
        """The value with its unit."""
        return "not measured" if self.value is None else f"{self.value:.3g} {self.unit}"


def alternate(
    candidates: Mapping[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Seconds of each candidate in each round.

    One untimed call each, then ``rounds`` times all of them, the order turned round every time: a falling clock or a
    busy memory costs all of them alike. Processor time leaves out what neighbours on the machine take.

    Args:
        candidates: Name to what is timed.
        rounds: Timed calls of each.
        clock: Seconds; processor time by default, wall time where a device works beside the processor.

    Returns:
        Name to ``rounds`` durations.
    """
    for call in candidates.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds):
        names = list(candidates)
        for name in names if number % 2 == 0 else reversed(names):
            start = clock()
            candidates[name]()
            seconds[name].append(clock() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], ours: str, plain: str) -> float:
    """Median over the rounds of ours / plain within a round."""
    return statistics.median(a / b for a, b in zip(seconds[ours], seconds[plain], strict=True))


def ratio_figure(name: str, seconds: Mapping[str, list[float]], ours: str, plain: str, **rest: Any) -> Figure:  # noqa: ANN401
    """The figure of two candidates of ``alternate``; ``rest`` are fields of ``Figure``."""
    details = {"seconds": {key: [round(s, 4) for s in seconds[key]] for key in (ours, plain)}}
    medians = " against ".join(f"{statistics.median(seconds[key]):.3g} s" for key in (ours, plain))
    note = f"{medians}; {rest.pop('note')}" if "note" in rest else medians
    return Figure(name, ratio(seconds, ours, plain), against=plain, note=note, details=details, **rest)


def operations(call: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products of a call.

    Args:
        call: It is made once; on a CPU its attention counts only as ``SDPBackend.MATH``.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def quiet_and_repeatable(threads: int = THREADS) -> None:
    """Sets the number of threads and the seed; silences the warning that frozen weights are random."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    logging.getLogger("mamol").setLevel(logging.ERROR)


def machine() -> dict[str, str]:
    """What the figures were measured on and with."""
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit() -> str:
    """The commit that is checked out, ``-dirty`` behind it if files differ; ``unknown`` outside a repository."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    command = [git, "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(  # noqa: S603 - a fixed command
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return described.stdout.strip() or "unknown"


def _cpu_model() -> str:
    """The processor's name; Linux keeps it in a file."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
