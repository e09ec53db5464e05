"""``standin``: every method on small stand-ins, with equal training, tested under several missing modalities.

The runs are those of a plan like the paper's tables: found again by what decides their results, done by a launcher,
continued where they stopped. ``evaluate`` on each trained network gives the numbers.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.core.method import METHODS
from mamol.core.settings import Settings
from mamol.data.tables import open_tables
from mamol.evaluation.grid import ALL
from mamol.evaluation.results import read_metrics, read_table
from mamol.experiments.reproduce.plan import Base, Source, fingerprint_of
from mamol.experiments.standin_page import page
from mamol.launch import launcher_named
from mamol.launch.job import Job

logger = logging.getLogger(__name__)

PAGE = "STANDIN.md"
PLACE = ("type", "ratio", "present")
"""Columns of ``grid.csv`` that say what was tested."""
NOT_OF_A_RUN = {"availability": None, "test_ratio": None, "test_type": None}
"""Options of a test by itself, which the runs of a comparison do not take."""


@dataclass(frozen=True, eq=False)
class StandIn:
    """One method on one scene with one seed."""

    source: Source
    method: str
    seed: int
    job: Job

    def result(self, conditions: Mapping[str, tuple[str, float]]) -> dict[str, Any] | None:
        """What the page shows of a run; None of one that is not finished or was evaluated otherwise since.

        Args:
            conditions: Of ``conditions``.
        """
        if self.job.state != "finished":
            return None
        metrics = read_metrics(self.job.folder)
        grid = read_table(self.job.folder / "evaluation" / "grid.csv", PLACE, ("OA",)).query(f"present == '{ALL}'")
        by_place = grid.set_index(["type", "ratio"])["OA"].to_dict()
        if not all(place in by_place for place in conditions.values()):
            return None
        return {
            "dataset": self.source.dataset,
            "method": self.method,
            "seed": self.seed,
            "tests": {name: by_place[place] for name, place in conditions.items()},
            "trainable": metrics["params"]["trainable"],
            "seconds": sum(metrics["seconds"].values()),
        }


def conditions(settings: Settings, modalities: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Under what a trained network is tested.

    Args:
        settings: Those of the command.
        modalities: Names in the order of the features.

    Returns:
        Heading to missing type and rate: as in training, each modality missing in all samples, and complete.
    """
    ratio, kind = settings.changed(**NOT_OF_A_RUN).missing.of("test")
    drawn = {f"{kind}, {100 * ratio:g} %": (kind, ratio)}
    return drawn | {f"no {name}": (name, 1.0) for name in modalities} | {"complete": (kind, 0.0)}


def standin(config: Mapping[str, Any]) -> str:
    """Trains and tests ``methods`` on ``datasets``, ``seeds`` times each; what is done already is skipped.

    Seeds come last, so that a comparison that was stopped has all methods with as many seeds as there was time for.

    Args:
        config: All options, as Sacred resolved them. ``data_root`` has a folder of tables for each name in
            ``datasets``. Empty ``methods`` means all. With ``dry_run`` nothing is run, and the page has what is done
            so far.

    Returns:
        The page, which is also in ``<log_dir>/STANDIN.md``.

    Raises:
        MamolError: Options do not fit, tables are missing, or runs failed; the page of the others is written then.
    """
    settings = Settings.of(config)
    asked = settings.reproduce
    sources = _sources(settings)
    runs = _runs(config, settings, sources)
    launcher = launcher_named(asked.launcher, jobs=asked.jobs, gpus=settings.machine.num_gpus, slurm=asked.slurm or {})
    tested = {run: conditions(settings, run.source.modalities) for run in runs}
    left = [] if asked.dry_run else [run.job for run in runs if run.result(tested[run]) is None]
    for job in left:
        job.beside("follow.json").unlink(missing_ok=True)  # evaluated by hand since, with other options
    logger.info("stand-in comparison: %d runs, %d to do now", len(runs), len(left))
    failed = []
    for number, outcome in enumerate(launcher.outcomes(left) if left else (), 1):
        logger.info("%d/%d %s: %s", number, len(left), outcome.job.name, outcome.error or "finished")
        failed += [outcome] if outcome.error else []
    results = [run.result(tested[run]) for run in runs]
    text = page(settings, sources, [result for result in results if result is not None])
    with replacing(Path(settings.run.log_dir) / PAGE) as temporary:
        temporary.write_text(text + "\n", "utf-8")
    if failed:
        raise MamolError(
            f"{len(failed)} of {len(runs)} runs failed, the first: {failed[0].job.name}: {failed[0].error}; the "
            f"page of the others is {Path(settings.run.log_dir) / PAGE}; the same command tries them again"
        )
    return text


def _sources(settings: Settings) -> list[Source]:
    asked, data = settings.reproduce, settings.data
    if not asked.datasets or not data.data_root:
        raise MamolError(
            "standin needs data_root=<folder> and datasets=<folders of tables in it>: trento_hybrid,idtrees"
        )
    unknown = [name for name in asked.methods if name not in METHODS]
    if unknown:
        raise MamolError(f"methods={','.join(asked.methods)}: unknown {', '.join(unknown)}; {', '.join(METHODS)}")
    sources = []
    for name in asked.datasets:
        tables = open_tables(Path(data.data_root) / name)
        info = tables["train"].info
        modalities = data.modalities or info.names
        if info.window is None:
            raise MamolError(f"datasets={name} holds no scene, and this command is for scenes; train with run.py")
        if len(modalities) < 2:
            raise MamolError(f"datasets={name} has one modality; standin needs at least 2")
        absent = [each for each in modalities if each not in info.names]
        if absent:
            raise MamolError(f"modalities={','.join(modalities)}: datasets={name} has only {', '.join(info.names)}")
        root = (Path(data.data_root) / name).resolve()
        sources.append(Source(name, root, info, tuple(modalities), fingerprint_of(tables)))
    return sources


def _runs(config: Mapping[str, Any], settings: Settings, sources: Sequence[Source]) -> list[StandIn]:
    base = Base.of(config, settings)
    runs = []
    for seed in range(settings.run.seed, settings.run.seed + settings.reproduce.seeds):
        for source in sources:
            tested = conditions(settings, source.modalities).values()
            follow = {
                "evaluate_types": list(dict.fromkeys(kind for kind, _ in tested)),
                "evaluate_ratios": list(dict.fromkeys(ratio for _, ratio in tested)),
            }
            for method in dict.fromkeys(settings.reproduce.methods or METHODS):
                name = f"{method} on {source.dataset}, seed {seed}"
                job = base.job(name, source, {"method": method}, seed, "evaluate", follow)
                runs.append(StandIn(source, method, seed, job))
    return runs
