"""``standin``: every method on small stand-ins, with equal training, tested under several missing modalities."""

import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mamol.data.missing import Mask
from mamol.data.tables import Table, scene_tables
from mamol.errors import MamolError
from mamol.evaluation.grid import score
from mamol.evaluation.patterns import evaluate_patterns
from mamol.evaluation.predict import device_of
from mamol.evaluation.standin_page import page
from mamol.evaluation.trained import Trained
from mamol.files import replacing, write_json
from mamol.methods import METHODS
from mamol.reproduce.plan import FRESH, NOT_OF_THE_RESULT
from mamol.settings import Settings
from mamol.training.experiment import Experiment

logger = logging.getLogger(__name__)

PAGE = "STANDIN.md"


@dataclass(frozen=True)
class Run:
    """One method on one scene with one seed.

    Attributes:
        dataset: Name of the folder of tables in ``data_root``.
        settings: Of the training.
        file: Where its result is kept.
        key: What decides the result; a kept result with another key is not this run's.
    """

    dataset: str
    settings: Settings
    file: Path
    key: dict[str, Any]

    def result(self) -> dict[str, Any] | None:
        """What ``do`` wrote; None if it is still to do.

        Raises:
            MamolError: The file is of a run with other options or tables.
        """
        if not self.file.is_file():
            return None
        content: dict[str, Any] = json.loads(self.file.read_text("utf-8"))
        differing = sorted(name for name in self.key if content["key"].get(name) != self.key[name])
        if differing:
            raise MamolError(
                f"{self.file} is of a run with other {', '.join(differing)}; give another log_dir, or delete its folder"
            )
        return content

    def do(self) -> None:
        """Trains, takes the best checkpoint, tests it under every condition, and writes the result."""
        start = time.perf_counter()
        experiment = Experiment(self.settings)
        with tempfile.TemporaryDirectory() as folder:
            experiment.run(Path(folder))
        device = device_of(self.settings)
        network = experiment.network.to(device).eval()
        trained = Trained(self.settings, self.file, network, experiment.data, device)
        with trained.precision():
            probabilities = evaluate_patterns(network, trained.table, trained.modalities, device)
        tests = {
            name: score(probabilities, trained.table, trained.modalities, mask)
            for name, mask in conditions(experiment.data.masks["test"].first, self.settings, trained.modalities).items()
        }
        content = {
            "dataset": self.dataset,
            "method": self.settings.method,
            "seed": self.settings.seed,
            "tests": {name: {key: result[key] for key in trained.task.scores} for name, result in tests.items()},
            "trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
            "seconds": round(time.perf_counter() - start, 1),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
            "key": self.key,
        }
        write_json(self.file, content)


def conditions(drawn: Mask, settings: Settings, modalities: tuple[str, ...]) -> dict[str, Mask]:
    """Under what a trained network is tested.

    Args:
        drawn: The missing patterns of the settings' test, (N, M) bool.
        settings: Those of the run.
        modalities: Names in the order of the features, M of them.

    Returns:
        Name to (N, M) bool: as drawn, each modality missing in all samples, and complete.
    """
    ratio, kind = settings.missing("test")
    masks = {f"{kind}, {100 * ratio:g} %": drawn}
    for i, name in enumerate(modalities):
        masks[f"no {name}"] = np.arange(len(modalities))[None, :].repeat(len(drawn), 0) != i
    return masks | {"complete": np.ones_like(drawn)}


def standin(config: Mapping[str, Any]) -> str:
    """Trains and tests ``methods`` on ``datasets``, ``seeds`` times each; what is done already is skipped.

    Seeds come last, so that a comparison that was stopped has all methods with as many seeds as there was time for.

    Args:
        config: All options, as Sacred resolved them. ``data_root`` holds a folder of tables per name in ``datasets``;
            no ``methods`` are all; with ``dry_run`` the page is written of what is done so far.

    Returns:
        The page, which is also in ``<log_dir>/STANDIN.md``.

    Raises:
        MamolError: Options do not fit, tables are missing, or ``log_dir`` holds results of other options.
    """
    settings = Settings.of(config)
    tables = _tables(settings)
    runs = _runs(config, settings, tables)
    results = {run.file: run.result() for run in runs}
    left = [] if settings.dry_run else [run for run in runs if results[run.file] is None]
    logger.info("stand-in comparison: %d runs, %d to do now", len(runs), len(left))
    for number, run in enumerate(left, 1):
        run.do()
        results[run.file] = run.result()
        logger.info("%d/%d %s", number, len(left), run.file.stem)
    text = page(settings, tables, [result for result in results.values() if result is not None])
    with replacing(Path(settings.log_dir) / PAGE) as temporary:
        temporary.write_text(text + "\n", "utf-8")
    return text


def _tables(settings: Settings) -> dict[str, dict[str, Table]]:
    if not settings.datasets or not settings.data_root:
        raise MamolError(
            "standin needs data_root=<folder> and datasets=<folders of tables in it>: trento_hybrid,idtrees"
        )
    unknown = [name for name in settings.methods if name not in METHODS]
    if unknown:
        raise MamolError(f"methods={','.join(settings.methods)}: unknown {', '.join(unknown)}; {', '.join(METHODS)}")
    tables = {name: scene_tables(Path(settings.data_root) / name) for name in settings.datasets}
    for name, found in tables.items():
        if len(settings.modalities or found["test"].info.modalities) < 2:
            raise MamolError(f"datasets={name} has one modality; standin needs at least 2")
    return tables


def _runs(config: Mapping[str, Any], settings: Settings, tables: Mapping[str, Mapping[str, Table]]) -> list[Run]:
    runs = []
    for seed in range(settings.seed, settings.seed + settings.seeds):
        for dataset, splits in tables.items():
            fingerprints = {split: table.fingerprint for split, table in splits.items()}
            for method in settings.methods or METHODS:
                data_root = str(Path(settings.data_root) / dataset)
                given = {**config, **FRESH, "data_root": data_root, "method": method, "seed": seed}
                own = Settings.of(given)
                decisive = {name: value for name, value in asdict(own).items() if name not in NOT_OF_THE_RESULT}
                key = json.loads(json.dumps({**decisive, "clip_weights": own.clip_weights, "tables": fingerprints}))
                file = Path(settings.log_dir) / "results" / f"{dataset}_{method}_seed{seed}.json"
                runs.append(Run(dataset, own, file, key))
    return runs
