"""A checkpoint and the test table it is tried on, as ``evaluate`` and ``routing`` need them."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mamol.data.datamodules import MultimodalData
from mamol.data.tableinfo import TableInfo
from mamol.data.tables import AnyTable
from mamol.errors import MamolError
from mamol.evaluation.predict import device_of, restore
from mamol.evaluation.results import marked
from mamol.evaluation.tasks import TASKS, Task
from mamol.models.network import Network
from mamol.settings import Settings
from mamol.training.checkpoints import (
    check_same_network,
    checkpoint_file,
    data_identity,
    read_checkpoint,
    run_of,
    warn_of_other_pixels,
)
from mamol.training.experiment import precision_of
from mamol.training.runs import run_folder

_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Trained:
    """A network with trained weights, in evaluation mode on its device, and the data.

    Attributes:
        settings: Of the command.
        checkpoint: The file that ``load_path`` means.
        network: The network.
        data: Tables and modalities, in the checkpoint's order.
        device: Where the network is.
    """

    settings: Settings
    checkpoint: Path
    network: Network
    data: MultimodalData
    device: torch.device

    @property
    def task(self) -> Task:
        """What the labels are."""
        return TASKS[self.table.info.task]

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
        """``what`` of which method on which data, and what a reader must know of them."""
        dataset = self.table.info.dataset
        return marked(f"{what} of {self.network.spec.method} on {dataset}", dataset, self.network.origin)

    def precision(self) -> AbstractContextManager[None]:
        """The arithmetic of a test of the same settings."""
        dtype = _AUTOCAST.get(precision_of(self.settings, "gpu" if self.device.type == "cuda" else "cpu"))
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    def folder(self, name: str) -> Path:
        """Where the results go: ``name`` in the checkpoint's run, or in a new run's folder for a file by itself."""
        return (run_of(self.checkpoint) or run_folder(self.settings)) / name


def open_trained(settings: Settings, command: str) -> Trained:
    """Restores the network of ``load_path`` and opens the tables of ``data_root``.

    Method, modalities, classes and normalisation come from the checkpoint. Nothing is written.

    Args:
        settings: ``load_path``, ``data_root``, ``clip_weights`` and the machine.
        command: Named in the message where ``load_path`` is not given.

    Returns:
        The network and the data.

    Raises:
        MamolError: Something is not given, not there, or table and checkpoint do not fit.
    """
    if not settings.load_path:
        raise MamolError(f"{command} needs load_path=<checkpoint or run folder> and data_root=<tables>")
    checkpoint = checkpoint_file(settings.load_path)
    info, state = read_checkpoint(checkpoint)
    data = MultimodalData(replace(settings, modalities=tuple(info.network.modalities)))
    table = data.info
    bands = {name: table.modalities[name] for name in data.modalities}
    here = replace(
        info.network,
        modalities=bands,
        classes=list(table.classes),
        patch_size=table.patch_size if isinstance(table, TableInfo) else info.network.patch_size,
        inputs={name: kind for name, kind in table.inputs.items() if name in bands},
    )
    check_same_network(info.network, here, checkpoint)
    warn_of_other_pixels(info, data_identity(table, data.tables["train"].fingerprint), settings)
    network = restore(info, settings)
    network.load_trainable_state(state)
    device = device_of(settings)
    network.to(device).eval()
    return Trained(settings, checkpoint, network, data, device)
