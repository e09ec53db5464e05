"""A checkpoint and the test table it is tried on, as ``evaluate`` and ``routing`` need them."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mamol.core.errors import MamolError
from mamol.core.network import AnyNetwork
from mamol.core.settings import Settings
from mamol.core.task import TASKS, Task
from mamol.data.datamodules import MultimodalData
from mamol.data.tables import AnyTable
from mamol.evaluation.marking import is_transductive, marked
from mamol.network.building import check_answers, chosen_inputs
from mamol.training.calibrations import calibration_of
from mamol.training.checkpoints import checkpoint_file, data_identity, read_checkpoint, run_of
from mamol.training.machine import device_of
from mamol.training.restoring import check_same_network, restore, warn_of_other_pixels
from mamol.training.runs import claim_folder, wanted_folder

CONFIG = "config.json"


@dataclass(frozen=True)
class Trained:
    """A network with trained weights, in evaluation mode on its device, and the data.

    Attributes:
        settings: Of the command, with the tables' folder.
        checkpoint: The file that ``load_path`` means.
        network: The network.
        data: Tables and modalities, in the checkpoint's order.
        device: Where the network is.
    """

    settings: Settings
    checkpoint: Path
    network: AnyNetwork
    data: MultimodalData
    device: torch.device

    @property
    def task(self) -> Task:
        """What the labels are."""
        return TASKS.find(self.table.info.task)

    @property
    def table(self) -> AnyTable:
        """The test table."""
        return self.data.tables["test"]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names in the order of the features."""
        return self.data.modalities

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.table.info.classes

    def title(self, what: str) -> str:
        """A title with the method, the dataset, and what a reader must know of them.

        Args:
            what: What was done, such as ``test``.
        """
        info = self.table.info
        text = f"{what} of {self.network.spec.label} on {info.shown}"
        transductive = is_transductive(self.network, info.sources)
        return marked(text, info.dataset, self.network.random_weights, transductive)

    def folder(self, name: str) -> Path:
        """Where the results go: a folder in the checkpoint's run, or in a new run for a checkpoint outside any run.

        Args:
            name: Of that folder.
        """
        run = self.settings.run
        own = run_of(self.checkpoint) or claim_folder(wanted_folder(run.log_dir, run.exp_name, run.seed))
        return own / name


def open_trained(settings: Settings, command: str) -> Trained:
    """Restores the network of ``load_path`` and opens the tables of ``data_root``, or else those it was trained on.

    Method, modalities, classes and normalisation come from the checkpoint, and so does a calibration. Nothing is
    written.

    Args:
        settings: ``load_path``, ``data_root``, ``clip_weights`` and the machine.
        command: Named in the message where ``load_path`` is not given.

    Returns:
        The network and the data.

    Raises:
        MamolError: Something is not given, not there, or table and checkpoint do not fit.
    """
    if not settings.run.load_path:
        raise MamolError(f"{command} needs load_path=<checkpoint or run folder>, and data_root=<tables> if they moved")
    settings = _with_tables(settings, command)
    run, data_root = settings.run, settings.data.data_root
    checkpoint = checkpoint_file(run.load_path)
    info, state = read_checkpoint(checkpoint)
    data = MultimodalData(data_root, info.network.names, settings.missing, seed=run.seed, dataset=settings.data.dataset)
    table = data.info
    here = replace(
        info.network,
        modalities=tuple(chosen_inputs(table, data.modalities)),
        classes=table.classes,
        grid=info.network.grid if table.window is None else table.window,
    )
    check_same_network(info.network, here, checkpoint)
    identity = data_identity(table, data.tables["train"].fingerprint)
    warn_of_other_pixels(info, identity, run.load_path, data_root)
    network = restore(info, state, settings.network.clip_weights, run.load_path)
    check_answers(network, table)
    device = device_of(settings.machine)
    network.calibration = calibration_of(network, settings)
    network.to(device).eval()
    return Trained(settings, checkpoint, network, data, device)


def _with_tables(settings: Settings, command: str) -> Settings:
    """The settings with the tables that the run was trained on, where none are given."""
    if settings.data.data_root:
        return settings
    path = settings.run.load_path
    root = config_of(checkpoint_file(path)).get("data_root")
    if not isinstance(root, str) or not root:
        raise MamolError(f"{command}: {path} does not say which tables it was trained on; give data_root")
    return replace(settings, data=replace(settings.data, data_root=root))


def config_of(checkpoint: Path) -> dict[str, Any]:
    """The options of the checkpoint's run; none of a file by itself.

    Args:
        checkpoint: The file.
    """
    try:
        content = json.loads((run_of(checkpoint) or checkpoint.parent).joinpath(CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
