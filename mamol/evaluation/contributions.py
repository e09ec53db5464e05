"""``routing`` of a network that weighs modalities: how much each counts for each class, under each missing pattern."""

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mamol.core.names import pattern_name
from mamol.evaluation.patterns import all_patterns, complete_batches, natural_or_all
from mamol.evaluation.trained import Trained


@torch.inference_mode()
def contributions(
    trained: Trained, samples: NDArray[np.int64], *, progress: bool = False, batch: int, workers: int = 0
) -> pd.DataFrame:
    """The mean over the samples of a class, every sample under every pattern that it can be under.

    Args:
        trained: A network that weighs modalities, and the table.
        samples: Only these.
        progress: Whether to show a progress bar, on stderr.
        batch: Samples at once.
        workers: Loading processes.

    Returns:
        A row per ``pattern``, ``class`` that has samples, and ``modality``, with ``present`` (whether the pattern has
        it; otherwise something stands in for it), ``samples`` and ``share`` (0-1, of sum one over the modalities).
    """
    names, classes, table, network = trained.modalities, trained.classes, trained.table, trained.network
    patterns = all_patterns(len(names))
    natural = natural_or_all(table, names)
    sums = np.zeros((len(patterns), len(classes), len(names)))
    counts = np.zeros((len(patterns), len(classes)), np.int64)
    for content in complete_batches(
        network, table, trained.device, "routing", progress, samples=samples, batch=batch, workers=workers
    ):
        index = content["index"].cpu().numpy()
        has = np.stack([trained.task.with_class(table.label[index], k) for k in range(len(classes))], 1)
        for p, pattern in enumerate(patterns):
            able = (natural[index] | ~pattern).all(1)  # samples that can be under this pattern
            if not able.any():
                continue
            chosen = torch.from_numpy(able).to(trained.device)
            some = {name: values[chosen] for name, values in content.items()}
            some["available"] = torch.from_numpy(pattern).to(trained.device).expand_as(some["available"])
            shares = network.contributions(some).double().cpu().numpy()  # (n, K, M)
            sums[p] += np.einsum("nk,nkm->km", has[able], shares)
            counts[p] += has[able].sum(0)
    rows = [
        (pattern_name(pattern, names), name, names[m], bool(pattern[m]), counts[p, k], sums[p, k, m] / counts[p, k])
        for p, pattern in enumerate(patterns)
        for k, name in enumerate(classes)
        for m in range(len(names))
        if counts[p, k]
    ]
    return pd.DataFrame(rows, columns=["pattern", "class", "modality", "present", "samples", "share"])


def wide(found: pd.DataFrame) -> pd.DataFrame:
    """A row per pattern and class, a column per modality in percent, for people.

    Args:
        found: Of ``contributions``.
    """
    keys = ["pattern", "class", "samples"]
    shares = found.assign(share=100 * found["share"]).set_index([*keys, "modality"])["share"].unstack()
    order = pd.MultiIndex.from_frame(found[keys].drop_duplicates())
    return shares.loc[order, list(found["modality"].unique())].reset_index().rename_axis(columns=None)
