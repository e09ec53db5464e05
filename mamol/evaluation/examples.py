"""What a network says of a few samples, as pictures, by the kind of their labels.

A task of a plugin shows what the task it is derived from shows, unless it registers its own: ``@examples_of.register``.
"""

from functools import singledispatch

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mamol.core.names import pattern_name
from mamol.core.task import Task
from mamol.core.windows import seen_by_any
from mamol.data.patches import inside_scene
from mamol.data.scenetable import SceneTable
from mamol.evaluation.patterns import all_patterns, complete_batches, natural_or_all
from mamol.evaluation.plots_tiles import TilePicture, tiles_plot
from mamol.evaluation.trained import Trained
from mamol.tasks.segmentation import Segmentation
from mamol.training.machine import arithmetic

PLACES = {"worst": 0.0, "median": 0.5, "best": 1.0}
"""Which tiles are shown, by their place among all of a pattern."""


@singledispatch
def examples_of(task: Task, trained: Trained, probabilities: NDArray[np.float32]) -> dict[str, Figure]:
    """Pictures by file name, without ending.

    Args:
        task: What the labels are.
        trained: Checkpoint and tables.
        probabilities: Of ``evaluate_patterns``.
    """
    return {}


@examples_of.register
def _of_tiles(task: Segmentation, trained: Trained, probabilities: NDArray[np.float32]) -> dict[str, Figure]:
    """Of each pattern the tiles with the worst, the median and the best mIoU."""
    table = trained.table
    if not isinstance(table, SceneTable):
        return {}
    figures, natural = {}, natural_or_all(table, trained.modalities)
    for pattern, kept in zip(all_patterns(len(trained.modalities)), probabilities, strict=True):
        able = np.flatnonzero((natural | ~pattern).all(1) & kept.any((1, 2)))
        if not len(able):
            continue
        known = {int(tile): task.scored(kept[[tile]], table.label[[tile]])["mIoU"] or 0.0 for tile in able}
        ranked = sorted(known, key=lambda tile: (known[tile], tile))
        shown = {ranked[round(share * (len(ranked) - 1))]: place for place, share in reversed(PLACES.items())}
        names = {tile: f"{place}: mIoU {known[tile]:.1f} %" for tile, place in reversed(shown.items())}
        pictures = _pictures(trained, table, pattern, names)
        name, info = pattern_name(pattern.tolist(), trained.modalities), table.info
        title = f"{trained.title('test')}\n{name}"
        figures[f"tiles_{name}"] = tiles_plot(pictures, info.classes, title, info.colours)
    return figures


@torch.inference_mode()
def _pictures(
    trained: Trained, table: SceneTable, pattern: NDArray[np.bool_], names: dict[int, str]
) -> list[TilePicture]:
    """Of each tile with a name, with nothing said of pixels that no present sensor saw or that lie beyond the scene."""
    network = trained.network
    samples = np.array(list(names))
    available = torch.from_numpy(np.tile(pattern, (len(samples), 1))).to(trained.device)
    with arithmetic(trained.settings.training.precision, trained.device):
        (content,) = complete_batches(network, table, trained.device, "examples", samples=samples)
        batch = {**content, "available": available}
        classes = network.classify(batch, pixels=True).argmax(-1)
        seen = classes.where(seen_by_any(batch, network.spec.names), -1).cpu().numpy()
    place = table.middles(samples, np.zeros((len(samples), 2), np.int64))
    said = np.where(inside_scene(table.info.extents, table.info.patch_size, *place), seen, -1)
    return [
        TilePicture(name, table.label[tile], prediction)
        for (tile, name), prediction in zip(names.items(), said, strict=True)
    ]
