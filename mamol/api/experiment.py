"""A run from settings to results: data, network, training, test, files; as a command, and from Python."""

import logging
import time
from collections.abc import Callable, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from mamol.api.calls import refuse_processes, settings_of
from mamol.api.run import Run
from mamol.core.errors import MamolError
from mamol.core.files import write_json
from mamol.core.seal import verify
from mamol.core.settings import Settings
from mamol.core.version import VERSION
from mamol.data.arrowfiles import REBUILD
from mamol.data.datamodules import MultimodalData
from mamol.evaluation.marking import TRANSDUCTIVE, is_transductive
from mamol.evaluation.results import write_results
from mamol.evaluation.text import as_text
from mamol.network import parameters
from mamol.network.building import network_for
from mamol.training.calibrations import calibration_of
from mamol.training.callbacks import History, KeepBest, KeepLast
from mamol.training.checkpoints import DAMAGED, checkpoint_file, data_identity, read_checkpoint
from mamol.training.machine import decide_threads, devices_of, use_threads
from mamol.training.module import Classifier
from mamol.training.quiet import as_a_guest
from mamol.training.restoring import load_into, warn_of_other_pixels
from mamol.training.resume import resumable
from mamol.training.runs import claim_folder, is_rank_zero, undisturbed, wanted_folder
from mamol.training.trainer import accumulation, make_trainer

logger = logging.getLogger(__name__)


def _as_stored(settings: Settings) -> Settings:
    """The settings with what prune and merge left in a checkpoint, unless the user says otherwise."""
    path = settings.run.load_path
    if not path:
        return settings
    file = checkpoint_file(path)
    if file.suffix != ".safetensors":
        return settings
    stored = read_checkpoint(file)[0].network
    left = {
        "experts_per_block": stored.method_options.get("experts_per_block"),
        "merged_ranks": stored.options.get("merged_ranks"),
    }
    given = settings.flat()
    return settings.changed(**{name: own for name, own in left.items() if own is not None and given[name] is None})


class Experiment:
    """One run. Making it checks everything that can be checked and writes nothing."""

    def __init__(self, settings: Settings) -> None:
        """Opens the data and builds the network.

        Args:
            settings: The run.

        Raises:
            MamolError: Something the user gave does not fit.
        """
        self.settings = settings
        run, data = settings.run, settings.data
        self.devices, self.accelerator = devices_of(settings.machine)
        self.data = MultimodalData(
            data.data_root,
            data.modalities,
            settings.missing,
            seed=run.seed,
            dataset=data.dataset,
            batch_size=settings.training.per_gpu_batchsize,
            workers=settings.machine.num_workers,
            limit=settings.training.limit_batches,
        )
        self.settings = settings = _as_stored(settings)
        self.accumulate = 1 if run.test_only else accumulation(settings)
        self.network = network_for(
            self.data.info, self.data.modalities, data, settings.network, settings.method, run.seed
        )
        self.data.image_size = self.network.image_size
        self.data.complete = self.network.needs_complete
        self._serve_pixels(data.window_shift, data.augment)
        self.checksums = {split: verify(table.path, REBUILD) for split, table in self.data.tables.items()}
        self.identity = data_identity(self.data.info, self.data.tables["train"].fingerprint)
        if run.load_path:
            stored = load_into(self.network, run.load_path)
            warn_of_other_pixels(stored, self.identity, run.load_path, data.data_root)
        if run.test_only:
            self.network.calibration = calibration_of(self.network, settings)
        self.resumed = (
            resumable(Path(run.resume_from), settings, self.network, self.identity) if run.resume_from else None
        )

    def _serve_pixels(self, shift: int | None, augment: Sequence[str]) -> None:
        """Training batches as the head needs them."""
        if self.network.dense:
            self.data.serve_pixels(shift, augment)
        elif shift or augment:
            given = f"window_shift={shift}" if shift else f"augment={','.join(augment)}"
            raise MamolError(
                f"{given}: goes with a head that classifies all pixels of a window, such as head=pixels; "
                f"head={self.network.spec.head} classifies the one in the middle"
            )

    def folder(self) -> Path:
        """Where the results go: a new folder, or that of the run which is continued.

        Only the process of global rank 0 makes one; what the others get is not used.

        Raises:
            MamolError: It cannot be made.
        """
        if self.resumed:
            return self.resumed.folder
        run = self.settings.run
        wanted = wanted_folder(run.log_dir, run.exp_name, run.seed)
        return claim_folder(wanted) if is_rank_zero() else wanted

    @undisturbed
    def run(self, folder: Path) -> str:
        """Trains, unless ``test_only``, then tests the best checkpoint.

        Args:
            folder: Of ``folder()``.

        Returns:
            The result table for people.

        Raises:
            MamolError: It was stopped, or a loss or an output is no finite number.
        """
        options = self.settings.flat() | {"threads": self._set_threads()}
        if is_rank_zero():
            write_json(folder / "config.json", {**options, "mamol_version": VERSION})
        logger.info("%s", self._missing_as_text())
        module = Classifier(self.network, self.settings.training, self.data, self.settings.run.seed)
        best = KeepBest(folder / "checkpoints", self.identity, module.task.selection)
        training = not self.settings.run.test_only
        trainer = self._trainer(folder, [best, *self._records(folder, options)] if training else [])
        seconds = {}
        if training:
            seconds["train"] = _timed(
                lambda: trainer.fit(module, ckpt_path=self.settings.run.resume_from or None, weights_only=True)
            )
            if trainer.interrupted:
                raise MamolError(f"stopped; go on with resume_from={folder / 'checkpoints' / 'last.ckpt'}")
            trainer.strategy.barrier("best checkpoint is written")
            if best.path is not None:
                load_into(self.network, best.path)
        seconds["test"] = _timed(lambda: trainer.test(module, verbose=False))
        if trainer.is_global_zero and module.predictions is not None:
            facts, calibration = self._facts(seconds, best), self.network.calibration
            write_results(folder, module.task, module.result, module.predictions, self.data, facts, calibration)
        remarks = self._limited_as_text(module.result["n"]) + self._seen_as_text()
        return as_text(module.result, module.task.shares) + remarks

    def _set_threads(self) -> int:
        """Decides on the threads, once: a continued run keeps those that it began with."""
        stored = self.resumed.options.get("threads") if self.resumed else None
        threads, reason = decide_threads(self.settings.machine, stored)
        logger.info("threads: %d (%s)", threads, reason)
        use_threads(threads, self.devices)
        return threads

    def _facts(self, seconds: dict[str, float], best: KeepBest) -> dict[str, Any]:
        network = self.network
        return {
            "missing": self.data.realised_missing(),
            "params": parameters.count(network),
            "seconds": seconds,
            "data": {**self.identity, **self.data.info.about(), "sha256": self.checksums},
            "backbone": {
                "name": network.spec.backbone,
                "weights": network.origin,
                "sha256": network.fingerprint,
                "random": network.random_weights,
                TRANSDUCTIVE: is_transductive(network, self.data.info.sources),
            },
            "method": network.spec.label,
            "checkpoint": self.settings.run.load_path if best.path is None else str(best.path.name),
            "checkpoint_sha256": self._tested_weights(best),
            "limit_batches": self.settings.training.limit_batches,
            **({"calibration_sha256": used} if (used := network.calibration.fingerprint) else {}),
        }

    def _tested_weights(self, best: KeepBest) -> str:
        """The checksum of the tested checkpoint; "" of one without."""
        path = best.path or self.settings.run.load_path
        return verify(checkpoint_file(path), DAMAGED) if path else ""

    def _limited_as_text(self, tested: int) -> str:
        """What a reader of the scores must know of a run with ``limit_batches``; nothing of any other."""
        limit = self.settings.training.limit_batches
        if limit is None:
            return ""
        samples = len(self.data.tables["test"])
        return (
            f"\nlimited run: limit_batches={limit} leaves at most {limit} batches per epoch and split; tested on "
            f"{tested} of {samples} samples{', drawn over the whole table' if tested < samples else ''}"
        )

    def _seen_as_text(self) -> str:
        """What a reader of the scores must know of a backbone that saw the windows of the test."""
        if not is_transductive(self.network, self.data.info.sources):
            return ""
        return f"\n{TRANSDUCTIVE}: the backbone was pre-trained on this scene, test windows too, without labels"

    def _missing_as_text(self) -> str:
        lines = ["missing modalities, as drawn:"]
        for split, real in self.data.realised_missing().items():
            patterns = ", ".join(f"{name} {count}" for name, count in real["patterns"].items())
            percent = ", ".join(f"{name} {value:.1f} %" for name, value in real["available_percent"].items())
            lines.append(f"  {split:<5} {real['n']} samples: {patterns} | available: {percent}")
        return "\n".join(lines)

    def _records(self, folder: Path, options: dict[str, Any]) -> list[pl.Callback]:
        """What a training leaves beside its best checkpoint."""
        return [KeepLast(folder / "checkpoints", self.identity, options), History(folder / "history.csv")]

    def _trainer(self, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
        training = self.settings.training
        return make_trainer(
            self.settings,
            folder,
            callbacks,
            writes=not self.settings.run.test_only,
            accumulate_grad_batches=self.accumulate,
            val_check_interval=self.batches_between_validations(),
            check_val_every_n_epoch=max(1, int(training.val_check_interval)),
            limit_val_batches=None if len(self.data.tables["val"]) else 0,
        )

    def batches_between_validations(self) -> int | None:
        """Batches of one process from validation to validation; None where a validation comes after whole epochs.

        They are at least those of one optimiser step, unless an epoch has fewer.
        """
        s = self.settings.training
        if s.val_check_interval >= 1:
            return None
        mine = -(-len(self.data.tables["train"]) // (self.devices * self.settings.machine.num_nodes))
        batches = min(-(-mine // s.per_gpu_batchsize), s.limit_batches or mine)
        return min(max(self.accumulate, int(batches * s.val_check_interval)), batches)


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return round(time.perf_counter() - start, 2)


def train(tables: PathLike[str] | str, **options: Any) -> Run:  # noqa: ANN401 - of any option
    """Trains on tables and tests the best checkpoint, as ``python run.py`` does.

    Args:
        tables: Folder of make_arrow.py, or what ``build_tables`` gave.
        options: Every option of the command line is a keyword: ``method="mamol"``, ``max_epoch=3`` …

    Returns:
        The run.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    settings = settings_of({**options, "data_root": fspath(tables)})
    if settings.run.test_only:
        raise MamolError("test_only=True: nothing would be trained; use mamol.load(…).evaluate(…)")
    with as_a_guest():
        experiment = Experiment(settings)
        refuse_processes(experiment.devices)
        folder = experiment.folder()
        experiment.run(folder)
    return Run(checkpoint_file(folder), settings.changed(resume_from="", load_path=""))
