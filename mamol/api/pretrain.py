"""``pretrain``: from scenes without labels to the folder of a backbone."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from mamol.api.calls import refuse_processes, settings_of
from mamol.api.made import Made
from mamol.backbones.mixture.folder import FOLDER, fill_pretrained
from mamol.backbones.mixture.tower import NAMED, Sizes
from mamol.core.backbone import chosen_blocks
from mamol.core.errors import MamolError
from mamol.core.files import replacing_folder, write_json
from mamol.core.seal import verify, write_sealed_json
from mamol.core.settings import Settings
from mamol.core.version import VERSION
from mamol.data.ground import Ground, grounds_of, sensors_of
from mamol.data.unlabelled import UnlabelledData
from mamol.evaluation.marking import marked
from mamol.evaluation.plots import save_figure, training_curves
from mamol.evaluation.reconstructions import picture_of, scores_of, table_of
from mamol.evaluation.results import METRICS
from mamol.network.masked import MaskedAutoencoder
from mamol.training.callbacks import History
from mamol.training.checkpoints import DAMAGED, read_pickle
from mamol.training.machine import decide_threads, devices_of, use_threads
from mamol.training.pretraining import SOURCES, KeepPretraining, Pretrainer
from mamol.training.quiet import as_a_guest
from mamol.training.resume import refuse_other_options, stored_settings
from mamol.training.runs import claim_folder, folder_to_continue, is_rank_zero, undisturbed, wanted_folder
from mamol.training.trainer import accumulation, make_trainer

logger = logging.getLogger(__name__)


class Pretraining:
    """One pre-training. Making it checks everything that can be checked and writes nothing."""

    def __init__(self, settings: Settings) -> None:
        """Opens the scenes and builds the network.

        Args:
            settings: The run.

        Raises:
            MamolError: Something the user gave does not fit.
        """
        self.settings, own = settings, settings.pretrain
        if settings.network.backbone not in NAMED:
            raise MamolError(f"backbone={settings.network.backbone}: pretrain makes {', '.join(NAMED)}; choose one")
        if settings.missing.availability:
            raise MamolError("availability: pretrain hides modalities by missing_ratio and missing_type; leave it out")
        self.accumulate = accumulation(settings)
        self.grounds = grounds_of(
            settings.data.data_root,
            settings.predict.scene,
            dataset=settings.data.dataset,
            modalities=settings.data.modalities,
            side=own.window,
        )
        self.sources = joined_sources(self.grounds)
        self.data = UnlabelledData(
            self.grounds,
            settings.missing,
            seed=settings.run.seed,
            batch_size=settings.training.per_gpu_batchsize,
            workers=settings.machine.num_workers,
            limit=settings.training.limit_batches,
        )
        self.sizes = self._sizes()
        self.network = MaskedAutoencoder(
            self.sizes,
            [each.sensors for each in self.grounds],
            own.mask_ratio,
            settings.run.seed,
            told=own.mixture_input == "modality",
        )
        self.resumed = self._resumed(Path(settings.run.resume_from)) if settings.run.resume_from else None

    def _sizes(self) -> Sizes:
        own, name = self.settings.pretrain, self.settings.network.backbone
        blocks = (
            None if own.mixture_blocks is None else chosen_blocks(own.mixture_blocks, NAMED[name][1], "mixture_blocks")
        )
        return Sizes.named(
            name,
            sensors_of(self.grounds),
            self.grounds[0].side,
            experts=own.mixture_experts,
            top_k=own.mixture_top_k,
            mixtures=blocks,
        )

    def _resumed(self, path: Path) -> Settings:
        """The options of the interrupted run.

        Raises:
            MamolError: It is no pre-training, is finished, or has other options or scenes.
        """
        folder_to_continue(path)
        content = read_pickle(path)
        if SOURCES not in content:
            raise MamolError(f"resume_from={path}: is no interrupted pre-training; leave out the word pretrain")
        verify(path, DAMAGED)
        stored = stored_settings(path)
        refuse_other_options(path, stored, self.settings, decisive)
        if json.loads(content[SOURCES]) != self.sources:
            raise MamolError(f"resume_from={path}: that run has other scenes, or their files changed; give its own")
        return stored

    def folder(self) -> Path:
        """Where everything goes: a new folder, or that of the run which is continued.

        Raises:
            MamolError: It cannot be made.
        """
        run = self.settings.run
        if run.resume_from:
            return folder_to_continue(Path(run.resume_from))
        wanted = wanted_folder(run.log_dir, run.exp_name, run.seed)
        return claim_folder(wanted) if is_rank_zero() else wanted

    @undisturbed
    def run(self, folder: Path) -> Made:
        """Trains and writes.

        Args:
            folder: Of ``folder()``.

        Returns:
            The backbone's folder. The report has the scores, and that folder in the last line; it is empty in all
            processes but the first.

        Raises:
            MamolError: It was stopped, or a loss is no finite number.
        """
        options = self.settings.flat() | {"threads": self._set_threads()}
        if is_rank_zero():
            write_json(folder / "config.json", {**options, "mamol_version": VERSION})
        for ground in self.grounds:
            sensors = ", ".join(f"{each.name} {each.size}" for each in ground.sensors)
            logger.info("%s: %s; %d windows, %d per epoch", ground.name, sensors, len(ground.natural), ground.windows)
        module = Pretrainer(self.network, self.data, self.settings.training, self.settings.pretrain)
        kept = KeepPretraining(folder / "checkpoints", options, self.sources)
        trainer = make_trainer(
            self.settings,
            folder,
            [kept, History(folder / "history.csv")],
            writes=True,
            accumulate_grad_batches=self.accumulate,
        )
        trainer.fit(module, ckpt_path=self.settings.run.resume_from or None, weights_only=True)
        if trainer.interrupted:
            raise MamolError(f"stopped; go on with resume_from={folder / 'checkpoints' / 'last.ckpt'}")
        return Made(folder / FOLDER, self._write(folder, trainer.global_step) if trainer.is_global_zero else "")

    def _set_threads(self) -> int:
        stored = self.resumed.flat().get("threads") if self.resumed else None
        threads, reason = decide_threads(self.settings.machine, stored)
        logger.info("threads: %d (%s)", threads, reason)
        use_threads(threads, devices_of(self.settings.machine)[0])
        return threads

    def _write(self, folder: Path, steps: int) -> str:
        """The scores, the pictures and the backbone; ``metrics.json`` comes last and marks the run as finished."""
        seed = self.settings.run.seed
        scores, information = scores_of(self.network, self.grounds, seed)
        title = self._title("reconstruction")
        save_figure(picture_of(self.network, self.grounds, seed, title), folder / "reconstructions.png")
        history = pd.read_csv(folder / "history.csv")
        save_figure(training_curves(history, title=self._title("pre-training")), folder / "curves.png")
        card = {
            "steps": steps,
            "scenes": [each.name for each in self.grounds],
            "synthetic": any(each.synthetic for each in self.grounds),
            "options": decisive(self.settings),
            "r2": [each._asdict() for each in scores],
            "mutual_information": information,
        }
        made = replace(self.network.pretrained(), sources=self.sources, card=card)
        if not (folder / FOLDER).exists():  # of a run that was stopped behind it, it is the same
            with replacing_folder(folder / FOLDER) as temporary:
                fill_pretrained(temporary, made)
        write_sealed_json(folder / METRICS, {"pretrain": card, "sources": self.sources})
        told = "" if information is None else f"\nmutual information of expert and modality: {information:.3f} nats"
        return (
            f"R² of hidden pixels, windows of the same scenes\n{table_of(scores)}{told}\n"
            f"use it with backbone=\n{folder / FOLDER}"
        )

    def _title(self, what: str) -> str:
        names = ", ".join(dict.fromkeys(each.name for each in self.grounds))
        dataset = "synthetic" if any(each.synthetic for each in self.grounds) else ""
        return marked(f"{what} on {names}", dataset, random_weights=False)


def joined_sources(grounds: Sequence[Ground]) -> dict[str, str]:
    """Raw file -> sha256, over all grounds; other files of the same name get a number behind it.

    Args:
        grounds: In order.
    """
    found: dict[str, str] = {}
    for number, ground in enumerate(grounds, 1):
        for name, sha256 in ground.sources.items():
            found[name if found.get(name, sha256) == sha256 else f"{name} ({number})"] = sha256
    return found


def decisive(settings: Settings) -> dict[str, Any]:
    """The options that decide the result of a pre-training.

    Args:
        settings: Of it.
    """
    run, training = settings.run, settings.training
    given: Sequence[Mapping[str, Any]] = (
        {"seed": run.seed, "backbone": settings.network.backbone, "modalities": settings.data.modalities},
        {name: getattr(settings.missing, name) for name in ("missing_ratio", "missing_type")},
        vars(settings.pretrain),
        vars(training),
    )
    return {name: value for each in given for name, value in each.items()}


def pretraining(settings: Settings) -> Made:
    """Trains a backbone without labels.

    Args:
        settings: ``scene`` or ``data_root``, ``backbone`` (a size), the group ``pretrain``, and those of any training.

    Returns:
        As of ``Pretraining.run``.

    Raises:
        MamolError: As of ``Pretraining``.
    """
    wanted = Pretraining(settings)
    return wanted.run(wanted.folder())


def pretrain(**options: Any) -> Made:  # noqa: ANN401 - of any option
    """Trains a backbone without labels, as ``python run.py pretrain`` does.

    Args:
        options: Every option of the command line is a keyword: ``scene="RAW"`` or ``data_root="tables"``,
            ``backbone="tiny"``, ``max_epoch=100`` …

    Returns:
        The backbone's folder, which ``backbone=`` takes.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    settings = settings_of(options)
    with as_a_guest():
        refuse_processes(devices_of(settings.machine)[0])
        return pretraining(settings)
