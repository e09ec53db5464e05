"""What a network says of samples whose class is known, under every pattern that each of them can be under."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.names import UNLABELLED, pattern_name
from mamol.core.task import check_finite
from mamol.data.tables import AnyTable
from mamol.evaluation.grid import all_predictions
from mamol.evaluation.patterns import all_patterns, complete_batches, natural_or_all
from mamol.evaluation.trained import Trained
from mamol.evaluation.trust.units import units_of
from mamol.tasks.single_label import SingleLabel
from mamol.training.machine import arithmetic, batch_on

PIXELS = 256
"""Labelled pixels that are taken of a tile at most, drawn with the seed: those of one tile are alike."""


@dataclass(frozen=True)
class Said:
    """What is said under one pattern.

    Attributes:
        name: Of the pattern.
        present: The pattern, (M,).
        probabilities: (n, K).
        label: (n,), from 0.
        unit: (n,), numbers of the units that the samples are in.
    """

    name: str
    present: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    label: NDArray[np.int64]
    unit: NDArray[np.int64]

    @property
    def units(self) -> int:
        """How many units there are."""
        return len(np.unique(self.unit))

    @property
    def weight(self) -> NDArray[np.float64]:
        """(n,); every unit counts as one, however many samples it has."""
        return weight_of(self.unit)


def weight_of(unit: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each sample counts, (n,), so that every unit counts as one.

    Args:
        unit: (n,), numbers of units.
    """
    _, places, sizes = np.unique(unit, return_inverse=True, return_counts=True)
    weight: NDArray[np.float64] = 1 / sizes[places]
    return weight


def said_of(trained: Trained, split: str) -> list[Said]:
    """What a network says of a table; a sample is under every pattern of sensors that it has by nature.

    Args:
        trained: Checkpoint and tables; the network is asked as it is.
        split: Of which table.

    Returns:
        One entry for each pattern that some sample can be under.

    Raises:
        MamolError: Samples can have several classes, or an output is no number.
    """
    task, table = trained.task, trained.data.tables[split]
    if not isinstance(task, SingleLabel):
        raise MamolError(
            f"calibrate: the labels of {table.path} are {table.info.task}; temperatures, sets and abstention are for "
            "tables with one class per sample or pixel"
        )
    if not len(table):
        return []
    return _of_pixels(trained, table) if task.pixels else _of_samples(trained, table)


def _of_samples(trained: Trained, table: AnyTable) -> list[Said]:
    natural, (_, unit), found = natural_or_all(table, trained.modalities), units_of(table), []
    every = all_predictions(trained, table=table)
    for pattern, said in zip(all_patterns(len(trained.modalities)), every, strict=True):
        able = (natural | ~pattern).all(1)
        if able.any():
            name = pattern_name(pattern.tolist(), trained.modalities)
            found.append(Said(name, pattern, said[able], table.label[able].astype(np.int64), unit[able]))
    return found


@torch.inference_mode()
def _of_pixels(trained: Trained, table: AnyTable) -> list[Said]:
    """Of tiles: labelled pixels that all sensors of the pattern saw."""
    settings, names, patterns = trained.settings, trained.modalities, all_patterns(len(trained.modalities))
    parts: list[list[dict[str, NDArray[Any]]]] = [[] for _ in patterns]
    _, unit = units_of(table)
    rng = np.random.default_rng(settings.run.seed)
    batches = complete_batches(
        trained.network,
        table,
        trained.device,
        "asking",
        settings.machine.progress_bar,
        batch=batch_on(trained.device, settings.training.per_gpu_batchsize),
        workers=settings.machine.num_workers,
    )
    for content in batches:
        index, label = content["index"].cpu().numpy(), content["label"].cpu().numpy()
        saw = np.stack([~np.isnan(content[name][:, 0].cpu().numpy()) for name in names], 3)
        rank = np.where(label == UNLABELLED, np.inf, rng.random(label.shape)).reshape(len(label), -1)
        least = np.partition(rank, PIXELS - 1, 1)[:, PIXELS - 1, None] if rank.shape[1] >= PIXELS else np.inf
        drawn = ((rank <= least) & np.isfinite(rank)).reshape(label.shape)
        for pattern, found in zip(patterns, parts, strict=True):
            chosen = drawn & (saw | ~pattern).all(3)
            if not chosen.any():
                continue
            available = torch.from_numpy(np.tile(pattern, (len(index), 1))).to(trained.device)
            with arithmetic(settings.training.precision, trained.device):
                logits = trained.network.classify({**content, "available": available}, pixels=True)
            said = logits.float().softmax(-1).cpu().numpy()[chosen]
            tile = np.broadcast_to(index[:, None, None], label.shape)[chosen]
            check_finite(said, tile, str(table.path))
            found.append({"probabilities": said, "label": label[chosen].astype(np.int64), "unit": unit[tile]})
    joined = [
        {key: np.concatenate([part[key] for part in found]) for key in found[0]} if found else {} for found in parts
    ]
    return [
        Said(pattern_name(pattern.tolist(), names), pattern, **each)
        for pattern, each in zip(patterns, joined, strict=True)
        if each
    ]
