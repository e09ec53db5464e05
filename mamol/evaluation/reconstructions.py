"""What a pre-trained backbone says of pixels that it did not get: R² of each modality under each pattern, a picture."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from mamol.core.names import pattern_name
from mamol.data.ground import Ground
from mamol.data.missing import incomplete_patterns
from mamol.data.unlabelled import GroundDataset, Unlabelled
from mamol.network.masked import MaskedAutoencoder, Reconstruction, routing_scores

WINDOWS = 256
"""Of each ground and pattern."""
AT_ONCE = 32
SHOWN = 3
"""Windows of a ground in the picture."""
Pattern = NDArray[np.bool_]


class Score(NamedTuple):
    """How well a modality is said.

    Attributes:
        ground: Name of the scene.
        given: The modalities that the encoder got, ``hsi+lidar``.
        modality: What is said.
        r2: One less the share of the variance that is missed, bands together; None where nothing varies.
        pixels: How many hidden pixels there were.
    """

    ground: str
    given: str
    modality: str
    r2: float | None
    pixels: int


def scores_of(network: MaskedAutoencoder, grounds: Sequence[Ground], seed: int) -> tuple[list[Score], float | None]:
    """R² of hidden pixels, of windows drawn anew from the scenes of the pre-training.

    Args:
        network: Pre-trained, on its device.
        grounds: In the order of their numbers.
        seed: Of the draw.

    Returns:
        A score for each ground, pattern and modality; and the mutual information of expert and modality in nats, mean
        over batches that have several modalities, None without any.
    """
    found, information = [], []
    for number, ground in enumerate(grounds):
        for pattern in _patterns(len(ground.names)):
            sums = {name: np.zeros((4, sensor.size)) for name, sensor in zip(ground.names, ground.sensors, strict=True)}
            fitting = np.flatnonzero(ground.natural[:, pattern].all(1))
            for made in _made(network, grounds, number, pattern, fitting, seed):
                for i, name in enumerate(made.names):
                    sums[name] += _sums(made.said[i], made.true[i], made.counts[:, i])
                if made.routing and pattern.sum() > 1:
                    information.append(float(routing_scores(made)[1]))
            given = pattern_name(pattern, ground.names)
            found += [Score(ground.name, given, name, *_r2(own)) for name, own in sums.items()]
    return found, float(np.mean(information)) if information else None


def table_of(scores: Sequence[Score]) -> str:
    """The scores as a table of Markdown.

    Args:
        scores: Of ``scores_of``.
    """
    frame = pd.DataFrame([{**each._asdict(), "r2": each.r2} for each in scores])
    wide = frame.pivot_table(index=["ground", "given"], columns="modality", values="r2", sort=False)
    names = list(wide.columns)
    lines = [f"| scene | given | {' | '.join(names)} |", "|---|---|" + "---:|" * len(names)]
    for key, row in wide.iterrows():
        ground, given = key if isinstance(key, tuple) else (key, "")
        cells = ["" if np.isnan(row[name]) else f"{row[name]:.3f}" for name in names]
        lines.append(f"| {ground} | {given} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture_of(network: MaskedAutoencoder, grounds: Sequence[Ground], seed: int, title: str) -> Figure:
    """Windows of the first ground: the truth, what was visible, what is said of them from all and from each pattern.

    They are windows that all sensors saw; where there are none, those that most sensors saw, said from those alone.

    Args:
        network: As of ``scores_of``.
        grounds: As there.
        seed: Of the draw.
        title: Of the figure.

    Returns:
        A row for each modality and window, grey values of its first band.
    """
    ground = grounds[0]
    sensors = ground.natural.sum(1)
    most = ground.natural[sensors.argmax()]
    patterns = [pattern for pattern in _patterns(len(ground.names)) if most[pattern].all()]
    fitting = np.flatnonzero(ground.natural[:, most].all(1))
    made = [next(_made(network, grounds, 0, pattern, fitting, seed)) for pattern in patterns]
    rows = [(i, window) for i in range(len(ground.names)) for window in range(min(SHOWN, len(made[0].true[0])))]
    given = [f"from {pattern_name(pattern, ground.names)}" for pattern in patterns]
    heads = ["truth", "visible (orange: hidden)", *given]
    figure = Figure(figsize=(1.5 * len(heads), 1.5 * len(rows) + 0.5), layout="constrained")
    figure.suptitle(title)
    for row, (i, window) in enumerate(rows):
        truth = made[0].true[i][window, :, 0]
        low, high = float(truth.min()), float(truth.max())
        shown = [truth, truth.where(made[0].visible[window, i], float("nan"))]
        shown += [torch.where(each.counts[window, i], each.said[i][window, :, 0], truth) for each in made]
        for column, values in enumerate(shown):
            axes = figure.add_subplot(len(rows), len(heads), row * len(heads) + column + 1, xticks=[], yticks=[])
            axes.imshow(values.reshape(ground.side, ground.side).numpy(), cmap="gray", vmin=low, vmax=high)
            axes.set_facecolor("#ffd9b3")  # what was hidden
            if row == 0:
                axes.set_title(heads[column], fontsize=7)
            if column == 0:
                axes.set_ylabel(f"{ground.names[i]}, first band", fontsize=7)
    return figure


def _patterns(modalities: int) -> list[Pattern]:
    return [np.ones(modalities, bool), *incomplete_patterns(modalities)]


def _made(
    network: MaskedAutoencoder,
    grounds: Sequence[Ground],
    number: int,
    pattern: Pattern,
    fitting: NDArray[np.int64],
    seed: int,
) -> Iterator[Reconstruction]:
    """Reconstructions of some of the windows that have all of the pattern; the same draw of the same windows."""
    dataset, rng = GroundDataset(grounds), np.random.default_rng([seed, number])
    chosen = rng.permutation(fitting)[:WINDOWS]
    device = next(network.parameters()).device
    for start in range(0, len(chosen), AT_ONCE):
        part = chosen[start : start + AT_ONCE]
        drawn = Unlabelled(number, part, np.tile(pattern, (len(part), 1)), int(rng.integers(2**62)))
        batch = {name: value.to(device) for name, value in dataset[drawn].items()}
        with torch.inference_mode():
            made = network(batch)
        yield made.on_cpu()


def _sums(said: Tensor, true: Tensor, counts: Tensor) -> NDArray[np.float64]:
    """Per band: pixels, sum, sum of squares, sum of squared errors."""
    said, true = said[counts].double(), true[counts].double()
    error = (said - true).square().sum(0)
    rows = [torch.full_like(error, len(true)), true.sum(0), true.square().sum(0), error]
    return np.asarray(torch.stack(rows).numpy())


def _r2(sums: NDArray[np.float64]) -> tuple[float | None, int]:
    count, total, squares, error = sums
    pixels = int(count[0])
    varies = float((squares - total**2 / np.maximum(count, 1)).sum())
    return (1 - float(error.sum()) / varies if pixels and varies > 1e-9 * max(pixels, 1) else None), pixels
