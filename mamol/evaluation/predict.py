"""``predict``: the class of every pixel of scenes, each from the sensors that saw it."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import torch

from mamol.core.files import alone
from mamol.core.settings import Settings
from mamol.evaluation.blocks import READ_BYTES
from mamol.evaluation.mapfiles import MOST_IN_MEMORY, MapFiles
from mamol.evaluation.mosaic import write_mosaics
from mamol.evaluation.order import OneMap, Order
from mamol.evaluation.partial import PartialMap
from mamol.evaluation.progress import Told, duration
from mamol.training.machine import decide_threads, use_threads

logger = logging.getLogger(__name__)

TRIED = 3.0  # seconds in which the speed is measured

Begun = tuple[OneMap, PartialMap]


def predict(settings: Settings) -> list[Path]:
    """Draws the maps of a scene, or of all scenes of an area, block by block; a map that was stopped goes on.

    Dataset, modalities, classes and normalisation come from the checkpoint.

    Args:
        settings: ``load_path``, ``scene`` (raw folder, scene.json or an area of many), ``root``, ``present``
            (modalities that may be used, ``hsi+lidar``; empty: all; ``each``: a map for every pattern), ``bbox``,
            ``polygon``, ``probabilities``, ``abstain``, ``block``, ``batch``.

    Returns:
        The files written, into ``maps`` in the checkpoint's run folder.

    Raises:
        MamolError: Something is not given, not there, or does not fit the checkpoint.
    """
    order = Order.of(settings)
    begun = begin(order)
    with undisturbed(begun):
        return draw(order, begun)


@contextmanager
def undisturbed(begun: Sequence[Begun]) -> Iterator[None]:
    """Keeps other commands from drawing the same maps; workers of this one help.

    Args:
        begun: Of ``begin``.

    Raises:
        MamolError: Another command is drawing one of them, with these options or others.
    """
    with ExitStack() as held:
        for _, made in begun:
            held.enter_context(alone(made.folder))
            for other in made.others:
                with alone(other):
                    pass
        yield


def begin(order: Order) -> list[Begun]:
    """Begins the maps of an order, or goes on with those that were begun.

    Processes that share a map get as many threads each as there are for all of them.

    Args:
        order: What is asked for; a worker's maps must have been begun.

    Raises:
        MamolError: They cannot be begun.
    """
    machine, jobs = order.settings.machine, order.settings.reproduce.jobs
    threads = torch.get_num_threads()
    if jobs > 1:
        threads, _ = decide_threads(replace(machine, num_gpus=0, cpu_processes=jobs))
    begins = not order.settings.predict.worker
    begun = [(one, PartialMap.open(one.path, one.decides, one.starts, threads, begins=begins)) for one in order.maps]
    for other in {path: None for _, made in begun for path in made.others}:
        if other not in {made.folder for _, made in begun}:
            logger.warning("%s: blocks of another checkpoint, input or option; delete them if nobody needs them", other)
    return begun


def draw(order: Order, begun: Sequence[Begun]) -> list[Path]:
    """Computes what is missing and writes the files; what is finished is kept until all maps are.

    Args:
        order: What is asked for.
        begun: Of ``begin``.

    Returns:
        The files.

    Raises:
        MamolError: A map cannot be computed or written.
    """
    written = [path for one, made in begun for path in _draw(one, made)]
    written += write_mosaics(order)
    for _, made in begun:
        made.remove()
    return written


def _draw(one: OneMap, made: PartialMap) -> list[Path]:
    """One map."""
    if done := made.finished:
        logger.info("%s is finished", one.path.name)
        return done
    missing = made.missing
    there = len(made.starts) - len(missing)
    logger.info("classifying %s with %s", one.name, "+".join(one.pattern))
    if there:
        logger.info("going on: %d of %d blocks are there", there, len(made.starts))
    shown = one.order.settings.machine.progress_bar
    with Told("classifying", one.pixels, shown=shown, done=one.pixels - one.pixels_of(missing)) as told:
        fill(one, made, told)
    files = MapFiles(
        one.info, (one.frame.height, one.frame.width), made.blocks, one.order.settings.predict.probabilities
    )
    written = files.save_all(one.path.parent, one.path.name)
    if one.order.settings.predict.abstain is not None:
        shares = [f"{name} {100 * left / n:.1f} %" for name, (n, left) in files.undecided().items()]
        logger.info("left undecided: %s", ", ".join(shares) or "nothing was seen")
    made.finish(written)
    return written


def fill(one: OneMap, made: PartialMap, told: Told) -> None:
    """Computes the blocks that are missing; those that another process is at come last, in case it fails.

    Args:
        one: The map.
        made: Its blocks.
        told: Is told of pixels.

    Raises:
        MamolError: A block cannot be computed or written.
    """
    if made.finished or not made.missing:
        return
    use_threads(made.threads)
    classifier = one.classifier
    for wait in (False, True):
        for start in made.missing:
            with made.claim(start, wait=wait) as mine:
                if mine:
                    made.write(start, classifier.block(one.frame, start, one.end(start), told.advance))


def estimate(settings: Settings) -> str:
    """What ``predict`` would take: windows, time and memory, measured for some seconds in the middle of a scene.

    Args:
        settings: As of ``predict``.

    Returns:
        A line for each map; nothing is written. The speed is that of the first scene under each pattern.

    Raises:
        MamolError: As of ``predict``.
    """
    order = Order.of(settings)
    jobs, lines = settings.reproduce.jobs, []
    speeds: dict[str, float] = {}
    for one in order.maps:
        name = "+".join(one.pattern)
        if name not in speeds:
            speeds[name] = _seconds_per_pixel(one)
        held = READ_BYTES + one.rows * one.frame.width * (
            12 + (2 * len(order.info.network.classes) if settings.predict.probabilities else 0)
        )
        held += 12 * one.pixels if one.pixels <= MOST_IN_MEMORY else 0
        each = " each" if jobs > 1 else ""
        memory = f"{(psutil.Process().memory_info().rss + held) / 1e9:.1f} GB{each}"
        seconds = speeds[name] * one.pixels
        speed = duration(seconds) if seconds else "unknown, there are too few pixels to measure"
        speed += f", {duration(seconds / jobs)} at best with {jobs} jobs" if seconds and jobs > 1 else ""
        windows = one.classifier.windows(one.frame)
        lines.append(
            f"{one.path.name}: {windows:,} windows at most in {len(one.starts)} blocks of {one.rows} rows, batches of "
            f"{order.batch}; time {speed}; memory {memory}"
        )
    return "\n".join(lines)


def _seconds_per_pixel(one: OneMap) -> float:
    """Measured for some seconds; 0 where there are too few pixels."""
    middle = one.frame.height // 2 // one.rows * one.rows
    passed: list[tuple[int, float]] = []

    def advance(pixels: int) -> None:
        passed.append((pixels, time.monotonic()))

    for _ in one.classifier.batches(one.frame, middle, one.end(middle), advance):
        if passed and passed[-1][1] - passed[0][1] > TRIED:
            break
    seen = sum(pixels for pixels, _ in passed[1:])  # the first ones are slower
    return (passed[-1][1] - passed[0][1]) / seen if seen else 0
