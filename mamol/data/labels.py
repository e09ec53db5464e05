"""Label maps of a scene: all labelled pixels, the official training and test pixels, the class names."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mamol.core.errors import MamolError
from mamol.data.facts import Candidates, SceneFacts
from mamol.data.reading import RawFolder, as_labels

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelMaps:
    """The labels of a scene: (H, W) int64 each, 0 unlabelled, 1 … K; the official maps may be None.

    Of several scenes the labels are (N,): those of all pixels, counted through.

    Attributes:
        every: All labels.
        train: The official training pixels.
        test: The official test pixels.
        polygons: (H, W) uint32, the number of the polygon of each labelled pixel, 0 for none; None if the labels are
            no polygons.
        assigned: (H, W) uint8, the split that the polygon's file says for it: 1 train, 2 val, 3 test, 0 none; None if
            no column says it.
    """

    every: np.ndarray
    train: np.ndarray | None = None
    test: np.ndarray | None = None
    polygons: np.ndarray | None = None
    assigned: np.ndarray | None = None

    def masked(self, keep: np.ndarray) -> "LabelMaps":
        """The maps with pixels left out.

        Args:
            keep: (H, W), False where a pixel becomes unlabelled.
        """
        there = {name: np.where(keep, each, 0) for name, each in vars(self).items() if each is not None}
        return replace(self, **there)


def read_label_maps(facts: SceneFacts, folder: RawFolder, *, needed: bool) -> LabelMaps | None:
    """The label maps of a scene; without a map of all pixels it is the union of the official ones.

    Args:
        facts: Where they may lie.
        folder: The raw files.
        needed: Whether it is an error if there are none; otherwise the result is then None.

    Raises:
        MamolError: If a map is missing that is needed, cannot be read, or does not fit the others.
    """
    labels = _label_map(facts.labels, folder, "label map")
    train = _label_map(facts.train_labels, folder, "training label map")
    test = _label_map(facts.test_labels, folder, "test label map")
    if labels is not None:
        train = _indexed(facts.train_index, folder, labels) if train is None else _fitting(train, labels, "training")
        test = _indexed(facts.test_index, folder, labels) if test is None else _fitting(test, labels, "test")
        return LabelMaps(labels, train, test)
    if train is not None and test is not None:
        on_grid = _on_grid(test, train, "test")
        return LabelMaps(np.where(train > 0, train, on_grid), train, on_grid)
    if not needed:
        return None
    if train is not None or test is not None:
        raise MamolError(
            f"{folder.root}: only one of the training and test label maps is there; "
            f"add the other, or a map of all labels: {_listed(facts.labels)}"
        )
    raise MamolError(
        f"label map: no file for it in {folder.root}; expected {_listed(facts.labels)}, "
        f"or the official maps {_listed(facts.train_labels)} and {_listed(facts.test_labels)}"
    )


def _listed(places: Candidates) -> str:
    return " or ".join(map(str, places)) or "(none is named)"


def _label_map(places: Candidates, folder: RawFolder, what: str) -> np.ndarray | None:
    if not folder.has(places):
        return None
    found = folder.read(places, what)
    return as_labels(found.array, found.path)


def _indexed(places: Candidates, folder: RawFolder, labels: np.ndarray) -> np.ndarray | None:
    """The label map of the pixels that an index file lists."""
    if not folder.has(places):
        return None
    found = folder.read(places, "pixel index")
    pixels = found.array
    inside = pixels.ndim == 2 and pixels.shape[1] == 2 and ((pixels >= 0) & (pixels < labels.shape)).all()
    if not inside or (pixels != np.round(pixels)).any():
        raise MamolError(
            f"{found.path}: expected (n, 2) rows and columns from 0 inside {labels.shape[0]} x {labels.shape[1]}; "
            f"found shape {pixels.shape}, values {pixels.min()} to {pixels.max()}"
        )
    rows, cols = pixels.astype(np.int64).T
    result = np.zeros_like(labels)
    result[rows, cols] = labels[rows, cols]
    return result


def _on_grid(official: np.ndarray, labels: np.ndarray, what: str) -> np.ndarray:
    if official.shape == labels.shape:
        return official
    if official.T.shape == labels.shape:
        return official.T
    raise MamolError(
        f"the {what} label map is {official.shape[0]} x {official.shape[1]}, the label map "
        f"{labels.shape[0]} x {labels.shape[1]}; all files of a scene must lie on one grid"
    )


def _fitting(official: np.ndarray, labels: np.ndarray, what: str) -> np.ndarray:
    if official.max() > labels.max():
        raise MamolError(
            f"the {what} label map goes up to {official.max()}, the label map up to {labels.max()}; "
            "both must number the classes in the same way"
        )
    return _on_grid(official, labels, what)


def class_names(facts: SceneFacts, labels: np.ndarray, where: Path | str, *, alone: bool = True) -> tuple[str, ...]:
    """Names of the classes 1 … largest label; numbered names if the known ones are not as many.

    Args:
        facts: The known names, and the dataset's name for messages.
        labels: (H, W) int64, 0 unlabelled, classes from 1.
        where: They come from, for messages.
        alone: False for one of several scenes, which together have all classes; known names are then not given up.

    Raises:
        MamolError: If there is no labelled pixel at all, or none of some class; or labels beyond the known names.
    """
    pixels = np.bincount(labels.ravel())
    count = len(pixels) - 1
    if count < 1:
        raise MamolError(f"{where}: the label map has no labelled pixel; classes are numbered from 1")
    names = facts.classes
    if not alone and names:
        if count > len(names):
            raise MamolError(f"{where}: labels go up to {count}, and classes has {len(names)} names; name all of them")
        return names
    if len(names) != count:
        names = tuple(f"class {number}" for number in range(1, count + 1))
        if facts.classes:
            LOGGER.warning(
                "%s: %d class names are known, the largest label is %d; the classes are called 'class 1' … 'class %d'",
                *(facts.name, len(facts.classes), count, count),
            )
    empty = [names[index] for index in np.flatnonzero(pixels[1:] == 0)]
    if empty and alone:
        listed = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise MamolError(
            f"{where}: no pixel is labelled {listed}, although labels go up to {count}; "
            "number the classes 1 to K without gaps"
        )
    return names
