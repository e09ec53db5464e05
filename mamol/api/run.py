"""A trained run as an object: its scores, predictions on windows, maps of scenes, tests at any missing rate."""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from mamol.api.experiment import Experiment
from mamol.core.errors import MamolError
from mamol.core.plugins import load_plugins
from mamol.core.settings import Settings
from mamol.data.scenes import load_scene
from mamol.evaluation.grid import all_predictions, draw_masks, score_grid
from mamol.evaluation.maps import Map
from mamol.evaluation.predict import check_bands, draw_map, map_title, predictor, present_patterns
from mamol.evaluation.trained import open_trained
from mamol.network.network import Network
from mamol.training.checkpoints import checkpoint_file, read_checkpoint, restore, run_of
from mamol.training.machine import batch_on, device_of


class Run:
    """A checkpoint, and the run that it lies in.

    Attributes:
        checkpoint: The file.
        folder: The run's folder; None for a file by itself.
        settings: Options of what is done with it: ``clip_weights``, the machine.
    """

    def __init__(self, checkpoint: Path, settings: Settings) -> None:
        """Reads a checkpoint; see ``load``.

        Args:
            checkpoint: The file.
            settings: Where frozen weights are, and the machine.
        """
        self.checkpoint = checkpoint
        self.folder = run_of(checkpoint)
        self.settings = settings
        self._info, self._state = read_checkpoint(checkpoint)

    @property
    def modalities(self) -> dict[str, int]:
        """Modality to bands, in the order of the features."""
        return self._info.network.sizes

    @property
    def classes(self) -> list[str]:
        """Class names in label order."""
        return list(self._info.network.classes)

    @property
    def metrics(self) -> dict[str, Any]:
        """``metrics.json`` of the run.

        Raises:
            MamolError: The run is not finished, or the checkpoint lies in none.
        """
        path = None if self.folder is None else self.folder / "metrics.json"
        if path is None or not path.is_file():
            raise MamolError(f"{self.checkpoint} lies in no finished run, so there is no metrics.json; test it first")
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return content

    @cached_property
    def network(self) -> Network:
        """The network, in evaluation mode on its device."""
        network = restore(self._info, self._state, self.settings.network.clip_weights, self.checkpoint)
        return network.to(self._device).eval()

    @property
    def _device(self) -> torch.device:
        return device_of(self.settings.machine)

    @property
    def _batch(self) -> int:
        return batch_on(self._device, self.settings.training.per_gpu_batchsize)

    def predict(self, windows: Mapping[str, NDArray[np.floating[Any]]]) -> NDArray[np.float32]:
        """Class probabilities of samples.

        Args:
            windows: Modality to (N, C, P, P) in sensor units; modalities that are not given are absent.

        Returns:
            (N, K).

        Raises:
            MamolError: A modality is unknown, none is given, or shapes are not those that the network takes.
        """
        grid, samples = self._info.network.grid, {len(array) for array in windows.values()}
        if not windows or len(samples) != 1:
            raise MamolError(f"predict: give windows of one or more of {', '.join(self.modalities)}, N of each")
        for name, array in windows.items():
            wanted = (self.modalities.get(name), grid, grid)
            if name not in self.modalities or array.shape[1:] != wanted:
                known = ", ".join(f"{each} (N, {bands}, {grid}, {grid})" for each, bands in self.modalities.items())
                raise MamolError(f"predict: {name} has shape {array.shape}; this network takes {known}")
        probabilities = predictor(self.network, list(windows), self._device)
        arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in windows.items()}
        parts = [
            probabilities({name: array[start : start + self._batch] for name, array in arrays.items()})
            for start in range(0, samples.pop(), self._batch)
        ]
        return np.concatenate(parts)

    def map(self, scene: Path | str, present: str = "") -> Map:
        """The class of every pixel of a scene.

        Args:
            scene: Raw folder, or scene.json.
            present: Modalities to use, ``hsi+lidar``; "" takes all.

        Raises:
            MamolError: The scene cannot be read or does not fit.
        """
        (pattern,) = present_patterns(present, self._info)
        read = load_scene(self._info.data["dataset"], Path(scene), modalities=pattern, need_labels=False)
        check_bands(read, self._info, pattern)
        title = map_title(read.name, pattern, self._info)
        return draw_map(self.network, read, pattern, self._device, title, batch=self._batch)

    def evaluate(
        self, tables: Path | str, ratios: Sequence[float] = (0.0, 0.5, 0.7, 0.9), types: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Scores at every missing rate and type, and of each pattern in it.

        Args:
            tables: Folder of make_arrow.py.
            ratios: Missing rates, 0 to 1.
            types: Missing types; empty: all.

        Returns:
            Columns ``type``, ``ratio``, ``present``, ``n`` and the scores.

        Raises:
            MamolError: The tables do not fit the checkpoint.
        """
        given = {
            "load_path": str(self.checkpoint),
            "data_root": str(tables),
            "evaluate_ratios": list(ratios),
            "evaluate_types": list(types),
        }
        settings = Settings.of(self.settings.flat() | given)
        trained = open_trained(settings, "evaluate")
        masks = draw_masks(trained, settings.evaluate.evaluate_ratios, settings.evaluate.evaluate_types)
        return score_grid(all_predictions(trained), trained, masks)


def load(path: Path | str, **options: Any) -> Run:  # noqa: ANN401 - of any option
    """Opens a run or a checkpoint.

    Args:
        path: A run's folder (its best checkpoint), or a checkpoint.
        options: Of the command line, such as ``clip_weights``, ``num_gpus`` or ``plugins``.

    Raises:
        MamolError: There is none, or it cannot be read.
    """
    return Run(checkpoint_file(path), _settings(options))


def train(tables: Path | str, **options: Any) -> Run:  # noqa: ANN401 - of any option
    """Trains on tables and tests the best checkpoint, as ``python run.py`` does.

    Args:
        tables: Folder of make_arrow.py.
        options: Every option of the command line is a keyword: ``method="mamol"``, ``max_epoch=3`` …

    Returns:
        The run.

    Raises:
        MamolError: Something given does not fit; nothing is written then.
    """
    settings = _settings({**options, "data_root": str(tables)})
    experiment = Experiment(settings)
    folder = experiment.folder()
    experiment.run(folder)
    return Run(checkpoint_file(folder), settings.changed(resume_from="", load_path="", test_only=False))


def _settings(options: Mapping[str, Any]) -> Settings:
    """The settings of keywords, plugins loaded."""
    plugins = options.get("plugins", ())
    load_plugins([plugins] if isinstance(plugins, str) and plugins else [str(file) for file in plugins])
    return Settings.of(options)
