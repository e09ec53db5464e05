"""A GPU: training steps, the adapter's share, memory and maps in bfloat16, against plain forms in the same run."""

import time
from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import encoder
from benchmarks.harness import Figure, alternate, operations, ratio_figure
from benchmarks.plain import PlainNetwork
from benchmarks.workload import (
    BACKBONE,
    HOUSTON,
    TOKENS,
    WINDOW,
    Batch,
    batch,
    both_missing,
    frozen_tower,
    loss_of,
    network,
    present_streams,
)
from mamol.core.method import Method
from mamol.data.arrays import scene_of
from mamol.evaluation.mapper import Mapper, draw_map
from mamol.training.machine import batch_on
from mamol.training.optim import parameter_groups

SAMPLES, RATE = 128, 0.7
RATES = (0.0, 0.35, 0.7)
"""Of the memory's figure."""
NAME, OURS, PLAIN = "training step on a GPU", "ours", "released way, plain"
STEPS = 5  # per timed call, so that starting kernels early counts as it does in training
MATRIX = 8192  # side of the product that shows the chip's matrix peak


def run() -> list[Figure]:
    """The figures, where there is a GPU."""
    if not torch.cuda.is_available():
        return [Figure(NAME, None, against=PLAIN, note="no GPU here: not measured")]
    device = torch.device("cuda")
    return [*measure(device), adapter(device), memory(), dense_map(device)]


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


def adapter(device: torch.device, backbone: str = BACKBONE, samples: int = SAMPLES, rounds: int = 7) -> Figure:
    """The tower with experts against the bare one, on the streams of the step's batch.

    Args:
        device: Where to run.
        backbone: Tower.
        samples: Batch.
        rounds: Timed calls of each.
    """
    data = {name: value.to(device) for name, value in batch(both_missing(samples, RATE)).items()}
    model = network(frozen_tower(backbone), backbone=backbone).to(device)
    shape = (present_streams(data), TOKENS - 1, model.tower.width)
    tokens = torch.randn(shape, device=device, requires_grad=True)

    def timed(method: Method) -> Callable[[], None]:
        call = encoder.both_ways(model, data, tokens, method)

        def calls() -> None:
            with torch.autocast(device.type, torch.bfloat16):
                for _ in range(STEPS):
                    call()
            _wait(device)

        return calls

    candidates = {encoder.MAMOL: timed(model.method), encoder.BARE: timed(Method())}
    seconds = alternate(candidates, rounds, time.perf_counter)
    what = f"{backbone}, {len(tokens)} streams, forward and backward, bfloat16, {STEPS} times"
    return ratio_figure("adapter cost on a GPU", seconds, encoder.MAMOL, encoder.BARE, at_most=1.05, note=what)


def memory(backbone: str = BACKBONE, samples: int = SAMPLES) -> Figure:
    """What a training step takes at its peak on the GPU, at several missing rates, against complete samples.

    Args:
        backbone: Tower.
        samples: Batch.
    """
    device, peaks = torch.device("cuda"), {}
    model = network(frozen_tower(backbone), backbone=backbone).to(device)
    for rate in RATES:
        data = {name: value.to(device) for name, value in batch(both_missing(samples, rate)).items()}
        step = _steps(model, data, fused=True)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        peaks[rate] = torch.cuda.max_memory_allocated() - before
    found = ", ".join(f"{peak / 1e9:.2f} GB at {rate:.0%}" for rate, peak in peaks.items())
    complete, incomplete = peaks[RATES[0]], peaks[RATES[-1]]
    return Figure(
        "memory of a training step on a GPU",
        incomplete / complete,
        against="complete samples",
        at_most=0.75,
        note=f"{found}; {backbone}, batch {samples}, bfloat16",
        details={"peaks": [[rate, peak] for rate, peak in peaks.items()]},
    )


def dense_map(device: torch.device, side: int = 1000, backbone: str = BACKBONE) -> Figure:
    """A map of a scene in memory, drawn as ``predict`` does with a head for all pixels, windows side by side.

    Args:
        device: Where to run.
        side: Rows and columns of the scene.
        backbone: Tower.
    """
    rng = np.random.default_rng(0)
    rasters = {name: rng.standard_normal((side, side, bands), np.float32) for name, bands in HOUSTON.items()}
    model = network(frozen_tower(backbone), backbone=backbone, head="pixels").to(device).eval()
    mapper = Mapper(model, device, batch_on(device, 1))
    began = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16):
        draw_map(mapper, scene_of(rasters), list(HOUSTON), "map")
    seconds = time.perf_counter() - began
    return Figure(
        f"map of {side} × {side} on {'a GPU' if device.type == 'cuda' else device.type}",
        seconds,
        "s",
        note=f"{backbone}, head=pixels, windows of {WINDOW} side by side, {' and '.join(HOUSTON)}, bfloat16; "
        f"{side * side / seconds:.3g} pixels/s",
    )


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
    return operations(lambda: _loss(model, data).backward())


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
