"""What commands have in common that make something else of a finished run: its tables, options, samples and scores."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mamol.core.files import write_json
from mamol.core.method import Batch
from mamol.core.seal import verify
from mamol.evaluation.grid import all_predictions, score_patterns
from mamol.evaluation.patterns import complete_batches, natural_or_all
from mamol.evaluation.trained import CONFIG, Trained, config_of
from mamol.network.network import Network
from mamol.training.checkpoints import DAMAGED
from mamol.training.machine import batch_on


def copy_config(checkpoint: Path, folder: Path, changed: Mapping[str, Any]) -> None:
    """Writes the run's options with what is otherwise now.

    Args:
        checkpoint: Of the run.
        folder: Where to.
        changed: Option to value.
    """
    if config := config_of(checkpoint):
        write_json(folder / CONFIG, {**config, **changed})


def source_of(trained: Trained) -> dict[str, Any]:
    """What something was made of, for its report.

    Args:
        trained: The run.
    """
    return {
        "path": str(trained.checkpoint),
        "sha256": verify(trained.checkpoint, DAMAGED),
        "backbone": trained.network.fingerprint,
        "table": trained.data.tables["train"].fingerprint,
    }


def samples_of(trained: Trained, split: str, most: int) -> Iterator[tuple[Batch, NDArray[np.bool_]]]:
    """Samples of a table, drawn with the seed, with what each has by nature.

    Args:
        trained: The run.
        split: Of which table.
        most: At most so many samples.

    Yields:
        A batch with all modalities present, and (B, M) which of them its samples have.
    """
    table, settings = trained.data.tables[split], trained.settings
    natural = natural_or_all(table, trained.modalities)
    drawn = np.random.default_rng(settings.run.seed).permutation(len(table))[:most]
    batches = complete_batches(
        trained.network,
        table,
        trained.device,
        "measuring",
        settings.machine.progress_bar,
        samples=np.sort(drawn),
        batch=batch_on(trained.device, settings.training.per_gpu_batchsize),
        workers=settings.machine.num_workers,
    )
    for content in batches:
        yield content, natural[content["index"].cpu().numpy()]


def scores_of_both(trained: Trained, left: Network, patterns: Sequence[str]) -> pd.DataFrame:
    """Of the test table under each pattern, before and after.

    Args:
        trained: The run.
        left: What was made of its network.
        patterns: Of modalities that both have.
    """
    kept, data = left.spec.names, copy(trained.data)
    data.modalities = kept  # samples without any of them, which tables of these alone must not have, are left out
    rows = []
    tables = [
        score_patterns(all_predictions(each, kept), each, kept).set_index("present")
        for each in (trained, replace(trained, network=left, data=data))
    ]
    for score in trained.task.scores:
        for pattern in patterns:
            before, after = (float(table[score].get(pattern, np.nan)) for table in tables)
            rows.append({"present": pattern, "score": score, "before": before, "after": after})
    return pd.DataFrame(rows)


def alternating(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """How long calls take, one after the other and again, so that what else the machine does hits all alike.

    Args:
        calls: Name to call.
        rounds: How often each is made, after one that does not count.

    Returns:
        Name to the median, in milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - begun)
    return {name: 1000 * float(np.median(own[1:])) for name, own in seconds.items()}
