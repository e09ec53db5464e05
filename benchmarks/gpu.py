"""Training on a GPU: bfloat16, torch.compile and the fused optimiser against the plain form, in the same run."""

import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import Figure, alternate, ratio_figure
from benchmarks.plain import PlainNetwork
from benchmarks.workload import (
    BACKBONE,
    TOKENS,
    Batch,
    batch,
    both_missing,
    frozen_tower,
    loss_of,
    network,
    present_streams,
)
from mamol.training.optim import parameter_groups

SAMPLES, RATE = 128, 0.7
NAME, OURS, PLAIN = "training step on a GPU", "ours", "released way, plain"
STEPS = 5  # per timed call, so that starting kernels early counts as it does in training
MATRIX = 8192  # side of the product that shows the chip's matrix peak


def run() -> list[Figure]:
    """The figures, where there is a GPU."""
    if not torch.cuda.is_available():
        return [Figure(NAME, None, against=PLAIN, note="no GPU here: not measured")]
    return measure(torch.device("cuda"))


def measure(
    device: torch.device, backbone: str = BACKBONE, samples: int = SAMPLES, rounds: int = 7, matrix: int = MATRIX
) -> list[Figure]:
    """Batch 128 on Houston's shapes, 70 % incomplete, both networks in bfloat16.

    Ours is compiled, with the number of streams dynamic as training needs it, and has the fused optimiser; the plain
    form runs as PyTorch runs it by itself. Ours without ``torch.compile`` is a figure of its own.

    Args:
        device: Where to run.
        backbone: Tower.
        samples: Batch.
        rounds: Timed calls of each.
        matrix: Side of the square product that shows the peak.
    """
    data = {name: value.to(device) for name, value in batch(both_missing(samples, RATE)).items()}
    model = network(frozen_tower(backbone), backbone=backbone).to(device)
    plain = PlainNetwork(model)
    eager, compiled, reference = f"{OURS}, not compiled", OURS, PLAIN
    seconds = alternate(
        {
            compiled: _steps(cast(nn.Module, torch.compile(model, dynamic=True)), data, fused=True),
            eager: _steps(model, data, fused=True),
            reference: _steps(plain, data, fused=False),
        },
        rounds,
        time.perf_counter,
    )
    work = _flop(model, data)
    step = sorted(seconds[compiled])[rounds // 2] / STEPS
    peak = _matrix_peak(device, matrix)
    streams = present_streams(data)
    what = f"{backbone}, batch {samples} with {streams} of {2 * samples} streams, bfloat16, {STEPS} steps"
    return [
        ratio_figure(NAME, seconds, compiled, reference, at_most=0.63, note=what),
        ratio_figure("the same without torch.compile", seconds, eager, reference, note=what),
        Figure("tokens per second", streams * TOKENS / step, unit="/s", note="tokens of present streams, training"),
        Figure(
            "share of the chip's matrix peak",
            work / step / peak,
            at_most=1.0,
            against=f"a {matrix} × {matrix} bfloat16 product in the same run, {peak / 1e12:.4g} TFLOP/s",
            note=f"{work / 1e12:.3g} TFLOP per step, counted by torch.utils.flop_counter",
        ),
    ]


def _steps(model: nn.Module, data: Batch, *, fused: bool) -> Callable[[], None]:
    """Several training steps and the wait for the device."""
    optimizer = torch.optim.AdamW(parameter_groups(model, 2e-2), lr=1e-4, fused=fused)

    def steps() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad()
            _loss(model, data).backward()
            optimizer.step()
        _wait(data["label"].device)

    return steps


def _loss(model: nn.Module, data: Batch) -> Tensor:
    with torch.autocast(data["label"].device.type, torch.bfloat16):
        return loss_of(model, data)


def _flop(model: nn.Module, data: Batch) -> int:
    """Floating-point operations of the matrix products of one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        _loss(model, data).backward()
    return counter.get_total_flops()


def _matrix_peak(device: torch.device, side: int, repeats: int = 20) -> float:
    """FLOP/s of a large square product: what the chip's matrix units reach in practice."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(3):
        torch.mm(a, b)
        _wait(device)
        start = time.perf_counter()
        for _ in range(repeats):
            torch.mm(a, b)
        _wait(device)
        best = min(best, (time.perf_counter() - start) / repeats)
    return 2 * side**3 / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
