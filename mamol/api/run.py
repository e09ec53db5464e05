"""A trained run as an object: its scores, predictions on windows, maps of scenes, tests at any missing rate."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from mamol.api.adapter import save_adapter
from mamol.api.calls import settings_of
from mamol.api.made import Made
from mamol.core.errors import MamolError
from mamol.core.network import AnyNetwork
from mamol.core.settings import Settings
from mamol.data.arrays import georeference_of, scene_of
from mamol.data.holes import seen, valid_pixels
from mamol.data.scenes import load_scene
from mamol.evaluation.blocks import among_all
from mamol.evaluation.fitting import check_abstain, check_bands, check_stride, map_title, min_valid_of, present_patterns
from mamol.evaluation.grid import all_predictions, draw_masks, score_grid
from mamol.evaluation.mapper import Mapper, draw_map, predictor, windows_at_once
from mamol.evaluation.maps import Map
from mamol.evaluation.marking import is_transductive
from mamol.evaluation.report.command import report
from mamol.evaluation.results import METRICS, read_metrics
from mamol.evaluation.trained import open_trained
from mamol.training.calibrations import calibration_of, calibration_path
from mamol.training.checkpoints import checkpoint_file, read_checkpoint, run_of
from mamol.training.machine import batch_on, decide_threads, device_of, use_threads
from mamol.training.quiet import as_a_guest
from mamol.training.restoring import restore


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
        content = self._tested()
        if content is None:
            raise MamolError(f"{self.checkpoint} lies in no finished run, so there is no metrics.json; test it first")
        return content

    def _tested(self) -> dict[str, Any] | None:
        """``metrics.json``, if there is one."""
        folder = self.folder or self.checkpoint.parent
        return read_metrics(folder) if (folder / METRICS).is_file() else None

    @cached_property
    def network(self) -> AnyNetwork:
        """The network, in evaluation mode on its device, with its calibration if there is one."""
        network = restore(self._info, self._state, self.settings.network.clip_weights, self.checkpoint)
        network.calibration = calibration_of(network, self.settings.changed(load_path=str(self.checkpoint)))
        return network.to(self._device).eval()

    @cached_property
    def _threads(self) -> int:
        return decide_threads(self.settings.machine)[0]

    @contextmanager
    def _computing(self) -> Iterator[None]:
        with as_a_guest():
            use_threads(self._threads)
            yield

    @property
    def _device(self) -> torch.device:
        return device_of(self.settings.machine)

    @property
    def _batch(self) -> int:
        return batch_on(self._device, self.settings.training.per_gpu_batchsize)

    def predict(self, windows: Mapping[str, NDArray[np.floating[Any]]]) -> NDArray[np.float32]:
        """Class probabilities of samples.

        Args:
            windows: Modality to (N, C, P, P) in sensor units, NaN where the sensor saw nothing; modalities that are not
                given are absent.

        Returns:
            (N, K).

        Raises:
            MamolError: A modality is unknown, none is given, shapes are not those that the network takes, or a sample
                was seen by no sensor.
        """
        self._needs_windows("predict")
        grid, samples = self._info.network.grid, {len(array) for array in windows.values()}
        if not windows or len(samples) != 1:
            raise MamolError(f"predict: give windows of one or more of {', '.join(self.modalities)}, N of each")
        for name, array in windows.items():
            wanted = (self.modalities.get(name), grid, grid)
            if name not in self.modalities or array.shape[1:] != wanted:
                known = ", ".join(f"{each} (N, {bands}, {grid}, {grid})" for each, bands in self.modalities.items())
                raise MamolError(f"predict: {name} has shape {array.shape}; this network takes {known}")
        arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in windows.items()}
        present = self._present(arrays)
        with self._computing():
            probabilities = predictor(self.network, list(windows), self._device, self.settings.training.precision)
            parts = [
                probabilities({name: array[part] for name, array in arrays.items()}, present[part])
                for part in (slice(start, start + self._batch) for start in range(0, len(present), self._batch))
            ]
        names = list(self.modalities)
        available = among_all(present, [names.index(name) for name in windows], len(names))
        return self.network.calibration.calibrated(np.concatenate(parts), available)

    def _present(self, windows: Mapping[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
        """Which modalities the windows show, (N, M): those that saw the pixel and enough of its window."""
        grid, least = self._info.network.grid, min_valid_of(self._info)
        valid = [valid_pixels(array[:, None]) for array in windows.values()]
        samples = len(next(iter(windows.values())))
        present = np.ones((samples, len(windows)), bool)
        for column, each in enumerate(valid):
            if each is not None:
                present[:, column] = seen(each, grid, least)[:, 0]
        nothing = np.flatnonzero(present.sum(1) == 0)
        if len(nothing):
            raise MamolError(f"predict: no sensor saw sample {nothing[0]}; leave it out")
        return present

    def map(
        self,
        scene: Mapping[str, ArrayLike] | Path | str,
        present: str = "",
        *,
        name: str = "arrays",
        crs: str = "",
        transform: Sequence[float] | None = None,
        stride: int | None = None,
        abstain: float | None = None,
    ) -> Map:
        """The class of every pixel of a scene.

        Args:
            scene: Modality to array (H, W, C) or (H, W) in sensor units; or a raw folder; or its scene.json.
            present: Modalities that may be used, ``hsi+lidar``; "" allows all that are given. Each pixel uses those of
                them that saw it: arrays have NaN where a sensor did not.
            name: Of arrays, for the title.
            crs: Of arrays: coordinate reference system, ``EPSG:32632`` or WKT.
            transform: Of arrays: the six affine numbers (a, b, c, d, e, f) from column and row to coordinates.
            stride: Of a head that classifies all pixels: from window to window, 1 to their side, which is None.
            abstain: Accepted share of wrong pixels, after ``calibrate``: those that are not sure enough stay undecided.

        Raises:
            MamolError: The scene cannot be read or does not fit.
        """
        self._needs_windows("map")
        if isinstance(scene, Mapping):
            read = scene_of(scene, name=name, georeference=georeference_of(crs, transform))
            (pattern,) = present_patterns(present or "+".join(read.rasters), self._info)
            missing = [each for each in pattern if each not in read.rasters]
            if missing:
                raise MamolError(f"present={present}: there is no array of {', '.join(missing)}; give it")
        else:
            (pattern,) = present_patterns(present, self._info)
            read = load_scene(self._info.dataset, Path(scene), modalities=pattern, need_labels=False)
        check_bands(read, self._info, pattern)
        title = map_title(read.name, pattern, self._info, is_transductive(self.network, read.sources))
        progress = self.settings.machine.progress_bar
        with self._computing():
            check_stride(stride, self.network)
            check_abstain(abstain, self.network, self.checkpoint)
            least = min_valid_of(self._info)
            training, device = self.settings.training, self._device
            batch = windows_at_once(self.network, device, training.per_gpu_batchsize)
            mapper = Mapper(
                self.network, device, batch, least, stride=stride, abstain=abstain, precision=training.precision
            )
            return draw_map(mapper, read, pattern, title, progress=progress)

    def evaluate(
        self, tables: PathLike[str] | str, ratios: Sequence[float] = (0.0, 0.5, 0.7, 0.9), types: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Scores at every missing rate and type, and of each pattern in it.

        Args:
            tables: Folder of make_arrow.py, or what ``build_tables`` gave.
            ratios: Missing rates, 0 to 1.
            types: Missing types; empty: all.

        Returns:
            Columns ``type``, ``ratio``, ``present``, ``n`` and the scores.

        Raises:
            MamolError: The tables do not fit the checkpoint.
        """
        given = {
            "load_path": str(self.checkpoint),
            "data_root": fspath(tables),
            "evaluate_ratios": list(ratios),
            "evaluate_types": list(types),
        }
        settings = Settings.of(self.settings.flat() | given)
        with self._computing():
            trained = open_trained(settings, "evaluate")
            masks = draw_masks(trained, settings.evaluate.evaluate_ratios, settings.evaluate.evaluate_types)
            return score_grid(all_predictions(trained), trained, masks)

    def report(self, scene: PathLike[str] | str = "", **options: Any) -> Made:  # noqa: ANN401 - of any option
        """Writes the page of the run, to be opened in a browser.

        Args:
            scene: Raw folder or scene.json to draw maps of; "": a page without maps.
            options: Of the command line: ``data_root``, ``compare``, ``patterns``, ``preview``, ``stride`` …

        Returns:
            The folder, with ``report.html``.

        Raises:
            MamolError: Something given does not fit; nothing is written then.
        """
        own = {"load_path": str(self.checkpoint), "scene": fspath(scene)}
        settings = settings_of(self.settings.flat() | options | own)
        with self._computing():
            return Made(*report(settings))

    def save(self, folder: Path | str) -> Path:
        """Writes the trained part alone, to hand on: weights, calibration, a description, the scores, a model card.

        Args:
            folder: A new one. ``mamol.load`` reads it; the frozen weights are not in it.

        Returns:
            The folder.

        Raises:
            MamolError: There is something in it, or it cannot be written.
        """
        save_adapter(Path(folder), self._info, self._state, self._tested(), calibration_path(self.checkpoint))
        return Path(folder)

    def _needs_windows(self, what: str) -> None:
        if not self._info.network.takes_windows:
            raise MamolError(f"{what}: this network takes {' and '.join(self.modalities)}, no windows; use evaluate")

    def __repr__(self) -> str:
        """What it is, in one line."""
        bands = ", ".join(f"{name} {size}" for name, size in self.modalities.items())
        where = self.folder or self.checkpoint
        return f"Run({where}: {self._info.network.label} on {bands}; {len(self.classes)} classes)"


def load(path: Path | str, **options: Any) -> Run:  # noqa: ANN401 - of any option
    """Opens a run or a checkpoint.

    Args:
        path: A run's folder (its best checkpoint), a checkpoint, or the folder of a saved adapter.
        options: Of the command line, such as ``clip_weights``, ``num_gpus`` or ``plugins``.

    Raises:
        MamolError: There is none, or it cannot be read.
    """
    return Run(checkpoint_file(path), settings_of(options))
