"""Why a network says what it says: which experts are used, and what each sensor is worth."""

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from mamol.evaluation.patterns import natural_or_all, under_mask
from mamol.evaluation.report.predicted import Predicted
from mamol.evaluation.report.shapley import MOST, shapley
from mamol.evaluation.routing import ALL, information, usage
from mamol.network.network import Network
from mamol.training.machine import arithmetic, batch_on

SAMPLES = 200
"""Of the test table, whose routing is looked at."""


class Routing(TypedDict):
    """Which experts the routers use.

    Attributes:
        samples: How many were looked at.
        rows: Blocks, from above: ``block 6``, with the tower's name where there are two.
        shares: Pattern to (rows, experts), the parts of the sum of gates.
        bits: Of each row, how much the first choice of an expert tells of the pattern.
    """

    samples: int
    rows: list[str]
    shares: dict[str, list[list[float]]]
    bits: list[float]


class Worth(TypedDict):
    """What each sensor is worth.

    Attributes:
        none: The share of right samples without any sensor, in percent.
        all: OA with every sensor that saw.
        sensors: Of each, in points: of OA, then of the recall of each class (None where it does not occur).
    """

    none: float
    all: float
    sensors: dict[str, list[float | None]]


def routing(predicted: Predicted) -> Routing | None:
    """How the routers choose under each pattern.

    Args:
        predicted: Of the run.

    Returns:
        None of a network without routers.
    """
    trained = predicted.trained
    network, settings = trained.network, trained.settings
    if not isinstance(network, Network) or not network.method.routers():
        return None
    drawn = np.random.default_rng(settings.run.seed).permutation(len(trained.table))[:SAMPLES]
    with arithmetic(settings.training.precision, trained.device):
        used = usage(
            network,
            trained.table,
            trained.modalities,
            trained.device,
            settings.machine.progress_bar,
            samples=np.sort(drawn),
            batch=batch_on(trained.device, settings.training.per_gpu_batchsize),
            workers=settings.machine.num_workers,
        )
    bits = information(used)
    keys = [name for name in ("tower", "layer") if name in used]
    rows = [tuple(row) for row in bits[keys].to_numpy()]
    every = used[used["modality"] == ALL]
    shares = {}
    for pattern, of_pattern in every.groupby("pattern", sort=False):
        wide = of_pattern.pivot(index=keys, columns="expert", values="gate_share")
        by_row = {
            (key if isinstance(key, tuple) else (key,)): part
            for key, part in zip(wide.index, wide.to_numpy(), strict=True)
        }
        nothing = [0.0] * wide.shape[1]
        shares[str(pattern)] = [np.nan_to_num(by_row[row]).tolist() if row in by_row else nothing for row in rows]
    names = [f"block {row[-1]}" + (f", {row[0]}" if len(row) > 1 else "") for row in rows]
    return {"samples": len(drawn), "rows": names, "shares": shares, "bits": bits["bits"].astype(float).tolist()}


def worth(predicted: Predicted) -> Worth | None:
    """Shapley values of OA and of each class's recall, over all patterns, on all test samples.

    A sample that a sensor did not see gains nothing from it. Without any sensor every class is guessed equally often.

    Args:
        predicted: Of the run.

    Returns:
        None where there are too many sensors, or samples have no single class.
    """
    trained = predicted.trained
    names, classes, label = trained.modalities, len(trained.classes), trained.table.label
    if not predicted.single or len(names) > MOST:
        return None
    natural, whole = natural_or_all(trained.table, names), predicted.probabilities
    groups = [np.ones(len(label), bool), *(label == number for number in range(classes))]

    def value(some: frozenset[int]) -> NDArray[np.float64]:
        there = natural & np.isin(np.arange(len(names)), sorted(some))
        blind = np.asarray(~there.any(axis=1))
        said = under_mask(whole, np.where(blind[:, None], natural, there))
        right = np.where(blind, 1 / classes, said.argmax(1) == label)
        return np.array([100 * right[group].mean() if group.any() else np.nan for group in groups])

    found = shapley(len(names), value)
    return {
        "none": float(value(frozenset())[0]),
        "all": float(value(frozenset(range(len(names))))[0]),
        "sensors": {
            name: [None if np.isnan(each) else float(each) for each in row]
            for name, row in zip(names, found, strict=True)
        },
    }
