"""Predictions of every sample under every missing pattern, from which any missing rate and type is a look-up."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from mamol.core.network import AnyNetwork
from mamol.core.task import TASKS, check_finite
from mamol.data.missing import Mask, incomplete_patterns
from mamol.data.serving import dataset_of
from mamol.data.tables import AnyTable
from mamol.training.machine import CPU_BATCH


def all_patterns(modalities: int) -> Mask:
    """All non-empty patterns.

    Args:
        modalities: M, how many there are.

    Returns:
        (2^M - 1, M) bool, True where present; most complete first.
    """
    rows = np.concatenate([np.ones((1, modalities), bool), incomplete_patterns(modalities)])
    return rows[np.argsort(-rows.sum(1), kind="stable")]


def natural_or_all(table: AnyTable, modalities: Sequence[str]) -> Mask:
    """Which modalities each sample of a table has by nature.

    Args:
        table: N samples.
        modalities: Names in the order of the features, M of them.

    Returns:
        (N, M) bool; of some of a table's modalities a sample may have none.
    """
    if table.natural is None:
        return np.ones((len(table), len(modalities)), bool)
    natural: Mask = table.natural[:, [table.info.names.index(name) for name in modalities]]
    return natural


def complete_batches(
    network: AnyNetwork,
    table: AnyTable,
    device: torch.device,
    what: str,
    progress: bool = False,
    *,
    samples: NDArray[np.int64] | None = None,
    batch: int = CPU_BATCH,
    workers: int = 0,
) -> Iterator[dict[str, Tensor]]:
    """The samples with all modalities of a network present, batch by batch.

    One batch is enough for every pattern: a network does not look at modalities that ``available`` marks as absent.

    Args:
        network: Says which modalities, and how large images are.
        table: The samples.
        device: Where the batches go.
        what: Word in front of the progress bar.
        progress: Whether to show one, on stderr.
        samples: Only these; all by default.
        batch: Samples at once.
        workers: Loading processes.

    Yields:
        As the table's dataset gives it.
    """
    modalities = network.spec.names
    samples = np.arange(len(table)) if samples is None else samples
    parts = [samples[start : start + batch] for start in range(0, len(samples), batch)]
    loader = DataLoader(
        dataset_of(table, modalities, image_size=network.image_size),
        sampler=[(index, np.ones((len(index), len(modalities)), bool)) for index in parts],
        batch_size=None,
        num_workers=workers,
    )
    for content in track(loader, what, total=len(parts), console=Console(stderr=True), disable=not progress):
        yield {name: values.to(device) for name, values in content.items()}


@torch.inference_mode()
def evaluate_patterns(
    network: AnyNetwork,
    table: AnyTable,
    modalities: Sequence[str],
    device: torch.device,
    progress: bool = False,
    *,
    batch: int = CPU_BATCH,
    workers: int = 0,
    within: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Predicts every sample once per missing pattern; the samples are read once.

    What a network says of a sample depends on that sample and its pattern alone, so these are all predictions that any
    draw of missing modalities can ask for: see ``under_mask``. Of a sample that lacks a modality by nature, patterns
    with it are those without, and nothing asks for them. Call it inside ``torch.autocast`` for another precision.

    Args:
        network: In evaluation mode, on ``device``.
        table: The samples, N of them.
        modalities: Names in the order of the features.
        device: Where to compute.
        progress: Whether to show a progress bar, on stderr.
        batch: Samples at once.
        workers: Loading processes.
        within: Only patterns of these modalities; the others are zeros. None: all.

    Returns:
        What the task keeps, class probabilities (P, N, K) or else, patterns in the order of ``all_patterns``.

    Raises:
        MamolError: A probability is NaN or infinite.
    """
    patterns = torch.from_numpy(all_patterns(len(modalities))).to(device)
    task = TASKS.find(table.info.task)
    natural = torch.from_numpy(natural_or_all(table, modalities)).to(device)
    natural = natural | ~natural.any(1, keepdim=True)  # nobody asks what is said of samples that have none
    foreign = torch.tensor([within is not None and name not in within for name in modalities], device=device)
    result = np.zeros((len(patterns), len(table), *task.kept_shape(len(network.spec.classes))), np.float32)
    for content in complete_batches(network, table, device, "testing", progress, batch=batch, workers=workers):
        index = content["index"].cpu().numpy()
        for p, pattern in enumerate(patterns):
            if (pattern & foreign).any():
                continue
            left = natural[content["index"]] & pattern
            there = left.where(left.any(1, keepdim=True), natural[content["index"]])
            result[p, index] = network.tested({**content, "available": there}, task)[1].cpu().numpy()
    check_finite(result.swapaxes(0, 1), np.arange(len(table)), str(table.path))
    return result


def under_mask(probabilities: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    """The predictions at given missing modalities.

    Args:
        probabilities: (P, N, K) of ``evaluate_patterns``.
        mask: (N, M) bool, True where present.

    Returns:
        (N, K).
    """
    bits = 2 ** np.arange(mask.shape[1])
    codes = all_patterns(mask.shape[1]) @ bits
    order = np.argsort(codes)
    pattern = order[np.searchsorted(codes[order], mask @ bits)]
    return probabilities[pattern, np.arange(len(mask))]
