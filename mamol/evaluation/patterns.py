"""Predictions of every sample under every missing pattern, from which any missing rate and type is a look-up."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from mamol.data.missing import Mask, incomplete_patterns
from mamol.data.tables import Table
from mamol.errors import MamolError
from mamol.evaluation.predict import BATCH, predictor
from mamol.models.network import Network


def all_patterns(modalities: int) -> Mask:
    """All 2^M - 1 non-empty patterns as (2^M - 1, M) bool, most complete first."""
    rows = np.concatenate([np.ones((1, modalities), bool), incomplete_patterns(modalities)])
    return rows[np.argsort(-rows.sum(1), kind="stable")]


def evaluate_patterns(
    network: Network,
    table: Table,
    modalities: Sequence[str],
    device: torch.device,
    progress: bool = False,
    *,
    batch: int = BATCH,
) -> NDArray[np.float32]:
    """Predicts every sample once per missing pattern; the windows are read once.

    What a network says of a sample depends on that sample and its pattern alone, so these are all predictions that any
    draw of missing modalities can ask for: see ``under_mask``. Call it inside ``torch.autocast`` for another precision.

    Args:
        network: In evaluation mode, on ``device``.
        table: The samples, N of them.
        modalities: Names in the order of the features.
        device: Where to compute.
        progress: Whether to show a progress bar, on stderr.
        batch: Samples at once.

    Returns:
        Class probabilities (P, N, K), patterns in the order of ``all_patterns``.

    Raises:
        MamolError: A probability is NaN or infinite.
    """
    present = [
        [name for name, there in zip(modalities, row, strict=True) if there] for row in all_patterns(len(modalities))
    ]
    predict = [predictor(network, pattern, device) for pattern in present]
    result = np.empty((len(present), len(table), len(network.spec.classes)), np.float32)
    starts = range(0, len(table), batch)
    for start in track(starts, "testing", console=Console(stderr=True), disable=not progress):
        index = np.arange(start, min(start + batch, len(table)))
        windows = {name: table.windows(name, index) for name in modalities}
        for p, pattern in enumerate(present):
            result[p, index] = predict[p]({name: windows[name] for name in pattern})
    broken = ~np.isfinite(result).all((0, 2))
    if broken.any():
        raise MamolError(
            f"{table.path}: the network's output for sample {broken.argmax()} is NaN or infinite; "
            "use precision=32, or look for extreme values in the table"
        )
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
