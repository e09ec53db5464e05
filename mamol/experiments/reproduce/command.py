"""``reproduce``: expand a table of the paper into runs, do what is left, collect, write."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mamol.core.errors import MamolError
from mamol.experiments.reproduce.collect import collect, summarise
from mamol.experiments.reproduce.differences import all_differences
from mamol.experiments.reproduce.estimate import estimate
from mamol.experiments.reproduce.figures import draw_figure
from mamol.experiments.reproduce.plan import Plan, make_plan
from mamol.experiments.reproduce.protocols import write_protocols
from mamol.experiments.reproduce.report import heading, write_table
from mamol.launch import Launcher, launcher_named
from mamol.launch.job import Job, Outcome

logger = logging.getLogger(__name__)


def reproduce(config: Mapping[str, Any]) -> str:
    """Reproduces a table or figure of the paper.

    Finished runs are skipped, interrupted ones continued; a failed one does not stop the others.

    Args:
        config: All options, as Sacred resolved them; ``reproduce`` names the table.

    Returns:
        The table for people and the folder of the files; with ``dry_run`` the list of runs.

    Raises:
        MamolError: Options do not fit; nothing is written then. Or runs failed; the table of the others is written.
    """
    plan = make_plan(config)
    asked, machine = plan.settings.reproduce, plan.settings.machine
    launcher = launcher_named(asked.launcher, jobs=asked.jobs, gpus=machine.num_gpus, slurm=asked.slurm or {})
    left = [job for job in plan.jobs if job.state != "finished"]
    if asked.dry_run:
        return _list(plan, left)
    logger.info("%s: %d runs, %d finished", heading(plan), len(plan.jobs), len(plan.jobs) - len(left))
    failed = _do(launcher, left)
    text = _write(plan, failed)
    if failed:
        raise MamolError(
            f"{len(failed)} of {len(plan.jobs)} runs failed, the first: {failed[0].job.name}: {failed[0].error}; the "
            f"table of the others and the list are in {plan.folder}; the same command tries them again"
        )
    return f"{text}\n\n{plan.folder}"


def _do(launcher: Launcher, jobs: Sequence[Job]) -> list[Outcome]:
    failed: list[Outcome] = []
    if not jobs:  # a cluster need not be started for nothing
        return failed
    for number, outcome in enumerate(launcher.outcomes(jobs), 1):
        logger.info("%d/%d %s: %s", number, len(jobs), outcome.job.name, outcome.error or "finished")
        if outcome.error:
            failed.append(outcome)
    return failed


def _write(plan: Plan, failed: list[Outcome]) -> str:
    runs = collect(plan)
    table = summarise(plan, runs)
    text = write_table(plan, table, runs, failed)
    if len(plan.settings.reproduce.protocols) > 1:
        text += "\n\n" + write_protocols(plan, runs)
    draw_figure(plan)
    return text


def _list(plan: Plan, left: Sequence[Job]) -> str:
    reasons = all_differences(plan)
    lines = [heading(plan), *([f"stand-in: {reasons}"] if reasons else [])]
    lines += [f"{job.state:<11}  {job.folder.name}  {job.name}" for job in plan.jobs]
    return "\n".join(
        [*lines, f"{len(left)} of {len(plan.jobs)} runs are left", estimate(left, plan.settings.reproduce.jobs)]
    )
