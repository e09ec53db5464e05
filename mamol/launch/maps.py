"""The blocks of maps shared among processes: each computes the blocks that are missing and nobody is at."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.evaluation.order import Order
from mamol.evaluation.predict import Begun, begin, draw, fill, undisturbed
from mamol.evaluation.progress import Told, watching
from mamol.launch import Launcher, launcher_named
from mamol.launch.job import run_program

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class MapWorker:
    """A process that computes blocks of the maps that another began.

    Attributes:
        number: From 1.
        config: Every option of the worker; paths are absolute.
        folder: Of its files that are no result.
    """

    number: int
    config: dict[str, Any]
    folder: Path

    @property
    def name(self) -> str:
        """For people."""
        return f"worker {self.number}"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / f"{self.number}.log"

    def do(self, environment: Mapping[str, str]) -> None:
        """Computes blocks until all are there.

        Args:
            environment: Variables for the process.

        Raises:
            MamolError: It failed.
        """
        run_program("predict", self.config, (self.folder / f"{self.number}.json", self.log), environment)


def predict(settings: Settings) -> list[Path]:
    """Draws maps as ``evaluation.predict.predict``, in several processes where ``jobs`` or ``launcher`` ask for it.

    Args:
        settings: As there, and ``jobs``, ``launcher``, ``slurm``; with ``worker`` only blocks are computed.

    Returns:
        The files written.

    Raises:
        MamolError: As there, or blocks are missing since workers failed.
    """
    asked, machine = settings.reproduce, settings.machine
    launcher = launcher_named(asked.launcher, jobs=asked.jobs, gpus=machine.num_gpus, slurm=asked.slurm or {})
    order = Order.of(settings)
    begun = begin(order)
    if settings.predict.worker:
        _help(begun)
        return []
    with undisturbed(begun):
        if asked.jobs > 1 or asked.launcher != "local":
            share(settings, launcher, begun)
        return draw(order, begun)


def share(settings: Settings, launcher: Launcher, begun: Sequence[Begun]) -> None:
    """Has the missing blocks of maps computed by processes; one that fails leaves its blocks to the others.

    Args:
        settings: Of the command.
        launcher: What starts the processes.
        begun: The maps.

    Raises:
        MamolError: Blocks are still missing.
    """
    left = [(one, made) for one, made in begun if not made.finished]
    blocks, total = _missing(left), sum(one.pixels for one, _ in left)
    if not blocks:
        return
    folder = left[0][1].folder / "jobs"
    folder.mkdir(exist_ok=True)
    config = worker_config(settings)
    workers = [MapWorker(number, config, folder) for number in range(1, min(settings.reproduce.jobs, blocks) + 1)]
    logger.info("%d blocks of %d maps are shared by %d workers", blocks, len(left), len(workers))

    def done() -> int:
        return total - sum(one.pixels_of(made.missing) for one, made in left)

    with Told("classifying", total, shown=settings.machine.progress_bar, done=done()) as told, watching(told, done):
        failed = [outcome for outcome in launcher.outcomes(workers) if outcome.error]
    for outcome in failed:
        logger.warning("%s failed: %s", outcome.job.name, outcome.error)
    if missing := _missing(left):
        reason = f"the first: {failed[0].error}" if failed else "none of them failed"
        raise MamolError(
            f"{missing} blocks of {len(left)} maps are missing: {len(failed)} of {len(workers)} workers failed, "
            f"{reason}; the same command goes on with the blocks that are there"
        )
    shutil.rmtree(folder)


def worker_config(settings: Settings) -> dict[str, Any]:
    """The options of a worker, which may start in another folder.

    Args:
        settings: Of the command.
    """
    run, wanted, weights = settings.run, settings.predict, Path(settings.network.clip_weights)
    paths = {"load_path": run.load_path, "scene": wanted.scene, "root": wanted.root, "polygon": wanted.polygon}
    return {
        **settings.flat(),
        **{name: str(Path(path).resolve()) for name, path in paths.items() if path},
        "plugins": [str(Path(file).resolve()) for file in run.plugins],
        "clip_weights": str(weights.resolve()) if weights.exists() else str(settings.network.clip_weights),
        "jobs": 1,
        "launcher": "local",
        "progress_bar": False,
        "worker": True,
    }


def _help(begun: Sequence[Begun]) -> None:
    """Computes blocks until none is missing."""
    for one, made in begun:
        with Told(f"classifying {one.path.name}", one.pixels, shown=one.order.settings.machine.progress_bar) as told:
            fill(one, made, told)


def _missing(begun: Sequence[Begun]) -> int:
    return sum(len(made.missing) for _, made in begun)
