"""Memory that a training step takes, seen by the kernel."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import Figure, quiet_and_repeatable
from benchmarks.workload import BACKBONE, batch, both_missing, frozen_tower, network, present_streams, training_step

STATUS = Path("/proc/self/status")
ROOT = Path(__file__).resolve().parents[1]
SAMPLES, RATE = 20, 0.7
NAME, COMPLETE = "memory of a training step", "the same network with both streams of every sample"
RETURN_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Makes glibc give every freed tensor back, so that resident memory is what the program holds, not what glibc keeps."""


def run(backbone: str = BACKBONE) -> list[Figure]:
    """What the first step takes with 70 % incomplete samples, against all complete.

    Each is measured in a process of its own: the kernel's high-water mark of resident memory (VmHWM) during the step
    less what was resident before it. So frozen weights and libraries, which are the same for both, do not count, and
    activations, gradients, optimiser state and scratch memory do; the note has the marks of the whole processes.
    (``getrusage`` would not do: its mark survives the start of a process from a larger one.)
    """
    if not STATUS.is_file():
        return [Figure(NAME, None, against=COMPLETE, note="needs /proc of Linux: not measured")]
    (before, peak), (before_all, peak_all) = (_measured(backbone, rate) for rate in (RATE, 0.0))
    incomplete, complete = (present_streams(batch(both_missing(SAMPLES, rate))) for rate in (RATE, 0.0))
    return [
        Figure(
            NAME,
            (peak - before) / (peak_all - before_all),
            against=COMPLETE,
            at_most=0.75,
            note=f"{_gb(peak - before)} with {incomplete} streams against {_gb(peak_all - before_all)} "
            f"with {complete}; whole processes {_gb(peak)} against {_gb(peak_all)}, {peak / peak_all:.3g} ×; "
            f"{backbone}, batch {SAMPLES}, {RATE:.0%} both-missing",
            details={"before": [before, before_all], "peak": [peak, peak_all]},
        )
    ]


def _measured(backbone: str, rate: float) -> tuple[int, int]:
    """Bytes resident before a step and at its peak, in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", backbone, str(rate)]
    done = subprocess.run(  # noqa: S603 - this program
        command, cwd=ROOT, env=os.environ | RETURN_AT_ONCE, stdout=subprocess.PIPE, text=True, check=True
    )
    before, peak = done.stdout.split()
    return int(before), int(peak)


def _step(backbone: str, rate: float) -> tuple[int, int]:
    """Makes one training step; what ``_measured`` gives of it."""
    quiet_and_repeatable(os.cpu_count() or 1)
    step = training_step(network(frozen_tower(backbone), backbone=backbone), batch(both_missing(SAMPLES, rate)))
    before = resident("VmRSS")
    step()
    return before, resident("VmHWM")


def resident(key: str) -> int:
    """A line of this process's status, in bytes.

    Args:
        key: ``VmRSS`` is what is resident, ``VmHWM`` the most that ever was.
    """
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _gb(size: int) -> str:
    return f"{size / 2**30:.2f} GB"


if __name__ == "__main__":
    print(*_step(sys.argv[1], float(sys.argv[2])))
