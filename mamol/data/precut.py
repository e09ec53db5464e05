"""Releases that hold samples (spectra, windows) instead of a scene."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mamol.core.errors import MamolError
from mamol.data.facts import PrecutFacts, PrecutPart, SceneFacts
from mamol.data.labels import LabelMaps
from mamol.data.reading import RawFolder, as_labels
from mamol.data.validity import marked, not_finite


@dataclass(frozen=True)
class Samples:
    """The samples of a pre-cut release, in the form of a scene of one column.

    Attributes:
        windows: Modality -> (N, 1, C, P, P), NaN in all bands of an invalid pixel; a spectrum is repeated over its
            window without taking memory.
        window_size: P.
        maps: The labels, (N, 1) each; the official ones are None where the release has one part only.
    """

    windows: dict[str, np.ndarray]
    window_size: int
    maps: LabelMaps


def find_precut(facts: SceneFacts, folder: RawFolder) -> PrecutFacts | None:
    """The pre-cut release that lies in a folder; None if the folder holds none.

    Args:
        facts: Which pre-cut releases the dataset has.
        folder: The raw files.
    """
    return next((release for release in facts.precut if _is_there(release.train, folder)), None)


def _is_there(part: PrecutPart, folder: RawFolder) -> bool:
    return all(folder.has((place,)) for place in (*part.modalities.values(), part.labels))


def read_precut(release: PrecutFacts, folder: RawFolder, modalities: Sequence[str], dataset: str) -> Samples:
    """Reads the training samples, followed by the test samples where all of them are there.

    Args:
        release: Which release.
        folder: Where it lies.
        modalities: Which to read, in this order.
        dataset: For messages.

    Raises:
        MamolError: If the release lacks a modality, or arrays do not fit together.
    """
    missing = [name for name in modalities if name not in release.train.modalities]
    if missing:
        raise MamolError(
            f"modalities: the pre-cut release of {dataset} in {folder.root} has no {', '.join(missing)}; "
            f"it has {', '.join(release.train.modalities)}"
        )
    parts = [part for part in (release.train, release.test) if _is_there(part, folder)]
    labels = [_labels(part, folder) for part in parts]
    windows = {}
    for name in modalities:
        arrays = [
            _as_windows(part, name, folder, release.bands[name], len(label))
            for part, label in zip(parts, labels, strict=True)
        ]
        windows[name] = np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    size = _common_size(windows, folder)
    every = np.concatenate(labels)
    is_train = np.arange(len(every))[:, None] < len(labels[0])
    return Samples(
        windows={
            name: np.broadcast_to(array, (*array.shape[:2], size, size))[:, None] for name, array in windows.items()
        },
        window_size=size,
        maps=LabelMaps(every, np.where(is_train, every, 0), np.where(is_train, 0, every))
        if len(parts) > 1
        else LabelMaps(every),
    )


def _labels(part: PrecutPart, folder: RawFolder) -> np.ndarray:
    found = folder.read((part.labels,), "labels")
    labels = found.array.reshape(-1, 1)
    if labels.min() < 1:
        raise MamolError(f"{found.path}: labels of samples start at 1; found {labels.min()}")
    return as_labels(labels, found.path)


def _as_windows(part: PrecutPart, name: str, folder: RawFolder, bands: int, count: int) -> np.ndarray:
    """(N, C, P, P); P is 1 where there is one vector per sample."""
    found = folder.read((part.modalities[name],), f"modality {name}")
    array = found.array
    if array.shape[:1] != (count,):
        samples = len(array) if array.ndim else 1
        raise MamolError(f"{found.path}: {samples} samples, but there are {count} labels; take both of one release")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim == 4:
        windows = np.moveaxis(array, -1, 1)
    else:
        pixels = array[0].size / bands
        side = math.isqrt(int(pixels))
        if array.ndim != 2 or side < 1 or side * side != pixels:
            raise MamolError(
                f"{found.path}: shape {array.shape} is neither (N, {bands}) nor (N, {bands}·P·P) nor (N, P, P, C)"
            )
        windows = array.reshape(count, bands, side, side)
    return _with_holes(windows)


def _with_holes(windows: np.ndarray) -> np.ndarray:
    """The windows, (N, C, P, P), with NaN in all bands of an invalid pixel; as they are where there is none."""
    pixels = np.moveaxis(windows, 1, -1)
    listed = pixels.reshape(len(pixels), -1, pixels.shape[-1])
    invalid = not_finite(listed)
    return np.moveaxis(marked(listed, invalid).reshape(pixels.shape), -1, 1) if invalid.any() else windows


def _common_size(windows: dict[str, np.ndarray], folder: RawFolder) -> int:
    sizes = {name: array.shape[2:] for name, array in windows.items()}
    size = max(array.shape[2] for array in windows.values())
    if any(shape not in ((1, 1), (size, size)) for shape in sizes.values()):
        found = ", ".join(f"{name} {shape[0]} x {shape[1]}" for name, shape in sizes.items())
        raise MamolError(f"{folder.root}: windows of different sizes ({found}); all modalities need one window size")
    return size
