"""The three tables of a folder as a training takes them: the same batches on any number of workers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mamol.core.errors import MamolError
from mamol.core.groups import MissingSettings
from mamol.core.names import SPLITS
from mamol.data import missing
from mamol.data.batches import Batches, Masks
from mamol.data.dense import Poses, Shifts
from mamol.data.imagetext.registry import canonical_name
from mamol.data.scenetable import SceneTable
from mamol.data.serving import dataset_of
from mamol.data.tables import open_tables


class MultimodalData:
    """The three tables of a folder with their missing patterns.

    Attributes:
        tables: Split to table.
        info: What the training table says about itself.
        modalities: Names in the order of the features.
        masks: Split to missing patterns.
    """

    def __init__(
        self,
        data_root: Path | str,
        modalities: Sequence[str] = (),
        missing: MissingSettings | None = None,
        *,
        seed: int = 0,
        dataset: str = "",
        batch_size: int = 128,
        workers: int = 0,
        image_size: int = 0,
        complete: bool = False,
        limit: int | None = None,
    ) -> None:
        """Opens the tables and draws the patterns.

        Args:
            data_root: Folder that make_arrow.py wrote.
            modalities: Those to use, in this order; empty: all.
            missing: What goes missing; None is the paper's setting.
            seed: Of order and missing patterns.
            dataset: Name of the dataset that the tables have to be of; empty: any.
            batch_size: Samples per batch of one process.
            workers: Loading processes.
            image_size: Side of images in pixels, where there are images.
            complete: Whether training batches hold what is missing, too.
            limit: Batches of one process per epoch and split at most; None: all.

        Raises:
            MamolError: Tables missing, unreadable, of another dataset or without a modality asked for.
        """
        if not str(data_root):
            raise MamolError("data_root is not set: data_root=<folder that make_arrow.py wrote>")
        self.tables = open_tables(Path(data_root))
        self.info = self.tables["train"].info
        self.seed, self.batch_size, self.workers = seed, batch_size, workers
        self.image_size, self.complete, self.limit = image_size, complete, limit
        if dataset and canonical_name(dataset) != self.info.dataset:
            raise MamolError(
                f"data_root={data_root} holds {self.info.dataset}, not dataset={dataset}; "
                "give the other folder, or dataset='' to take any"
            )
        self.modalities = tuple(modalities) or self.info.names
        absent = [name for name in self.modalities if name not in self.info.names]
        if absent:
            raise MamolError(
                f"modalities={list(self.modalities)}: {data_root} has only "
                f"{', '.join(self.info.names)}; make the table with --modalities {','.join(self.modalities)}"
            )
        settings = MissingSettings() if missing is None else missing
        self.masks = {s: Masks(self.tables[s], self.modalities, s, settings, seed) for s in SPLITS}
        self.shifts: Shifts | None = None
        self.poses: Poses | None = None

    def serve_pixels(self, shift: int | None, augment: Sequence[str] = ()) -> None:
        """Makes the training batches those of a dense head: shifted windows, and the labels of all their pixels.

        Args:
            shift: Pixels by which windows may be shifted; None: as far as the table allows.
            augment: Some of ``flips`` and ``turns``.

        Raises:
            MamolError: The tables are not of scenes, or do not allow it.
        """
        table = self.tables["train"]
        if not isinstance(table, SceneTable):
            raise MamolError(f"{table.path.parent}: holds no windows of scenes, whose pixels a head could classify")
        self.shifts = Shifts.wanted(table, shift)
        self.poses = Poses.of(augment) if augment else None

    def realised_missing(self) -> dict[str, Any]:
        """Split to counts of its missing patterns as drawn; see ``mamol.data.missing.realised``."""
        return {s: missing.realised(m.first, self.modalities, m.natural, m.spared) for s, m in self.masks.items()}

    def loader(self, split: str, rank: int = 0, ranks: int = 1) -> DataLoader[dict[str, Tensor]]:
        """Batches of a table, of the training table in random order.

        Args:
            split: Of the table.
            rank: Of the process among those that share the table.
            ranks: How many there are.
        """
        training = split == "train"
        batches = Batches(
            self.masks[split],
            len(self.tables[split]),
            self.batch_size,
            seed=self.seed,
            shuffle=training,
            rank=rank,
            ranks=ranks,
            limit=self.limit,
            shifts=self.shifts if training else None,
            poses=self.poses if training else None,
        )
        return DataLoader(
            dataset_of(
                self.tables[split],
                self.modalities,
                image_size=self.image_size,
                complete=self.complete and training,
                dense=self.shifts is not None and training,
            ),
            sampler=batches,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )
