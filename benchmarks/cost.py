"""How the cost of a training step grows with the modalities and falls with the missing rate."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot
from scipy.stats import linregress

from benchmarks.harness import Figure, alternate
from benchmarks.workload import (
    HOUSTON,
    Batch,
    batch,
    both_missing,
    frozen_tower,
    network,
    present_streams,
    training_step,
)
from mamol.core.files import replacing
from mamol.network.network import Network

BACKBONE = "tiny"
RATES = [0.0, 0.2, 0.4, 0.6, 0.8, 0.9]
MODALITIES = ("first", "second", "third", "fourth")
BANDS = 8  # the same for all, so that streams of all modalities cost the same
BY_RATE, BY_MODALITIES = "cost against missing rate", "cost against number of modalities"


def run(rounds: int = 3, samples: int = 10) -> list[Figure]:
    """Time of a training step over the number of present streams, with the line through it.

    On the tiny tower (128 wide, 12 blocks): 10 points on ViT-B/16 would take most of the five minutes.

    Args:
        rounds: Timed steps per point.
        samples: Batch.
    """
    two = network(frozen_tower(BACKBONE), backbone=BACKBONE)
    by_rate = {f"{rate:.1f}": (two, batch(both_missing(samples, rate))) for rate in RATES}
    by_modalities = {}
    for m in range(1, len(MODALITIES) + 1):
        bands = dict.fromkeys(MODALITIES[:m], BANDS)
        model = network(frozen_tower(BACKBONE), bands, BACKBONE)
        by_modalities[str(m)] = (model, batch([[True] * m] * samples, bands))
    return [
        _line(BY_RATE, by_rate, rounds, f"rates 0 to 0.9, {' and '.join(HOUSTON)}, batch {samples}"),
        _line(BY_MODALITIES, by_modalities, rounds, f"1 to 4 modalities of {BANDS} bands, batch {samples}"),
    ]


def _line(name: str, points: Mapping[str, tuple[Network, Batch]], rounds: int, what: str) -> Figure:
    """Times the points and fits a line through their medians."""
    calls = {point: training_step(*work) for point, work in points.items()}
    seconds = [statistics.median(s) for s in alternate(calls, rounds).values()]
    streams = [present_streams(data) for _, data in points.values()]
    fit = linregress(streams, seconds)
    line = f"{fit.slope * 1000:.3g} ms per stream {fit.intercept * 1000:+.3g} ms"
    return Figure(
        name,
        fit.rvalue**2,
        unit="= R²",
        against="a line over the number of present streams",
        at_least=0.95,
        note=f"{line}; {BACKBONE} tower, {what}",
        details={"streams": streams, "seconds": seconds, "slope": fit.slope, "intercept": fit.intercept},
    )


def draw(lines: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws the measured points and the fitted lines.

    Args:
        lines: Figures of ``run`` as JSON has them.
        path: PNG to write.
    """
    plot = Plot(figsize=(6, 4), layout="constrained")
    axes = plot.add_subplot()
    for line, marker in zip(lines, "os", strict=True):
        details = line["details"]
        x = np.array(details["streams"])
        (drawn,) = axes.plot(x, np.array(details["seconds"]) * 1000, marker, label=line["name"])
        ends = np.array([x.min(), x.max()])
        label = f"{details['slope'] * 1000:.2g} ms per stream, R² = {line['value']:.3f}"
        axes.plot(ends, (details["slope"] * ends + details["intercept"]) * 1000, color=drawn.get_color(), label=label)
    axes.set(
        xlabel="present streams in the batch", ylabel="training step (ms, one thread)", xlim=(0, None), ylim=(0, None)
    )
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        plot.savefig(temporary, format="png", dpi=120)
