"""``routing`` of a network without a method: what each modality is worth to each class, beside the others."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.names import pattern_name
from mamol.evaluation.patterns import all_patterns, evaluate_patterns, natural_or_all, under_mask
from mamol.evaluation.trained import Trained


def contributions(
    trained: Trained, samples: NDArray[np.int64], *, progress: bool = False, batch: int, workers: int = 0
) -> pd.DataFrame:
    """How much of its own class's probability a sample loses when a modality is taken away, the mean over each class.

    That is what can be said of any network: how features that have been mixed go back to one modality cannot.

    Args:
        trained: The network and the table.
        samples: Only these.
        progress: Whether to show a progress bar, on stderr.
        batch: Samples at once.
        workers: Loading processes.

    Returns:
        A row per ``pattern`` of at least two modalities, ``class`` that has ``samples`` under it, and ``modality`` of
        the pattern, with the mean probability of the class, 0-1, ``with`` and ``without`` the modality, and ``lost``,
        their difference.

    Raises:
        MamolError: The samples are tiles.
    """
    names, table = trained.modalities, trained.table
    if trained.task.pixels:
        raise MamolError(
            f"network={trained.network.spec.network} has no routers, and what modalities are worth to it is measured "
            "on tables of windows, not of tiles; give such a data_root"
        )
    everything = evaluate_patterns(
        trained.network, table, names, trained.device, progress, batch=batch, workers=workers
    )[:, samples]
    natural, labels = natural_or_all(table, names)[samples], table.label[samples]
    rows = []
    for pattern in all_patterns(len(names)):
        able = (natural | ~pattern).all(1)  # samples that can be under this pattern
        for number, name in enumerate(trained.classes):
            chosen = able & trained.task.with_class(labels, number)
            if pattern.sum() < 2 or not chosen.any():
                continue
            there = everything[:, chosen, number : number + 1]

            def mean(mask: NDArray[np.bool_], of: NDArray[np.float32] = there) -> float:
                return float(under_mask(of, np.broadcast_to(mask, (of.shape[1], len(mask)))).mean(dtype=np.float64))

            for i in np.flatnonzero(pattern):
                fewer = pattern & (np.arange(len(names)) != i)
                both = mean(pattern), mean(fewer)
                rows.append((pattern_name(pattern, names), name, names[i], chosen.sum(), *both, both[0] - both[1]))
    return pd.DataFrame(rows, columns=["pattern", "class", "modality", "samples", "with", "without", "lost"])


def wide(found: pd.DataFrame) -> pd.DataFrame:
    """A row per pattern and class, a column per modality in points, for people.

    Args:
        found: Of ``contributions``.
    """
    keys = ["pattern", "class", "samples"]
    points = found.assign(lost=100 * found["lost"]).set_index([*keys, "modality"])["lost"].unstack()
    order = pd.MultiIndex.from_frame(found[keys].drop_duplicates())
    return points.loc[order, list(found["modality"].unique())].reset_index().rename_axis(columns=None)
