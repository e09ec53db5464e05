"""Which labelled pixels train, validate and test."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.names import PROTOCOLS, SPLITS
from mamol.data.blocks import eligible_pixels
from mamol.data.labels import LabelMaps

DEFAULT_PER_CLASS = {"train": 100, "val": 50, "test": 300}
VAL_SHARE_OF_OFFICIAL = 0.1
"""At most this share of a class's official training pixels is held out for validation."""
_ORDER = ("train", "test", "val")
"""Who is served first where a class has too few pixels."""


@dataclass(frozen=True)
class Pixels:
    """The pixels of one split, in row-major order.

    Attributes:
        rows: (N,) int32.
        cols: (N,) int32.
        labels: (N,) int64, from 0.
    """

    rows: np.ndarray
    cols: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        """Number of pixels."""
        return len(self.labels)

    def of(self, chosen: np.ndarray) -> "Pixels":
        """Some of them.

        Args:
            chosen: (N,) bool.
        """
        return Pixels(self.rows[chosen], self.cols[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Split:
    """A drawn split.

    Attributes:
        pixels: ``train``, ``val``, ``test`` -> pixels.
        shortfall: Split -> {class index from 0: number of pixels that were asked for and not there}.
    """

    pixels: dict[str, Pixels]
    shortfall: dict[str, dict[int, int]]


def draw(
    protocol: str, maps: LabelMaps, per_class: Mapping[str, int | None], *, seed: int = 0, patch_size: int = 14
) -> Split:
    """Draws a split.

    ``disjoint``: no pixel in two splits. ``paper``: train and test drawn independently of each other from all pixels,
    as in the released code, so that they share pixels; val from the rest. ``official``: the release's maps, all their
    pixels unless a number is given; val is what a given number left over of the training map, else up to a tenth of
    each class held out of it. ``blocks``: disjoint blocks of the scene, far enough apart that no windows of two splits
    share a pixel.

    Args:
        protocol: One of ``PROTOCOLS``.
        maps: The labels.
        per_class: Split -> pixels per class; None or absent: 100 train, 50 val, 300 test (``official``: all of them).
        seed: The same seed gives the same split.
        patch_size: Side of the windows, for ``blocks``.

    Raises:
        MamolError: If the protocol is unknown or needs maps that are not there, a number is out of range, or a class
            gets no training pixel.
    """
    check_request(protocol, per_class, seed)
    if protocol == "official" and (maps.train is None or maps.test is None):
        raise MamolError(
            "protocol official: there are no training and test label maps (such as TRLabel.mat, TSLabel.mat); "
            "add them, name them in a scene.json, or use --protocol disjoint"
        )
    wanted = {split: _or(per_class.get(split), DEFAULT_PER_CLASS[split]) for split in SPLITS}
    rng = np.random.default_rng(seed)
    labels = maps.every.ravel()
    if protocol == "official":
        chosen, shortfall = _official(maps, per_class, wanted, rng)
    else:
        if protocol == "blocks":
            pools = eligible_pixels(maps.every, wanted, patch_size, rng)
        else:
            pools = dict.fromkeys(SPLITS, labels)
        chosen, shortfall = _choose(pools, wanted, rng, independent=protocol == "paper")
    width = maps.every.shape[1]
    pixels = {split: _pixels(*chosen[split], width) for split in SPLITS}
    untrained = sorted(set(range(labels.max())) - set(pixels["train"].labels))
    if untrained:
        raise MamolError(
            f"protocol {protocol}: class {', '.join(str(k + 1) for k in untrained)} (counted from 1) gets no training "
            "pixel; choose another protocol or seed, or merge the class with another"
        )
    return Split(pixels, shortfall)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def check_request(protocol: str, per_class: Mapping[str, int | None], seed: int) -> None:
    """Checks what can be checked before the labels are read.

    Args:
        protocol: One of ``PROTOCOLS``.
        per_class: Split -> pixels per class, at least 1 (``val``: 0); None: the protocol's default.
        seed: 0 or more.

    Raises:
        MamolError: If the protocol is unknown or a number is out of range.
    """
    if protocol not in PROTOCOLS:
        raise MamolError(f"protocol {protocol!r} is unknown; known: {', '.join(PROTOCOLS)}")
    if seed < 0:
        raise MamolError(f"seed {seed}: expected 0 or more")
    for split, number in per_class.items():
        least = 0 if split == "val" else 1
        if number is not None and number < least:
            raise MamolError(f"{split}-per-class {number}: expected {least} or more")


Choice = tuple[np.ndarray, np.ndarray]
"""Flat pixel indices and their labels from 1."""


def _choose(
    pools: Mapping[str, np.ndarray], wanted: Mapping[str, int], rng: np.random.Generator, *, independent: bool
) -> tuple[dict[str, Choice], dict[str, dict[int, int]]]:
    """Draws from flat label maps, class by class: train, then test, then val.

    Args:
        pools: Split -> (H·W,) labels that it may use.
        wanted: Split -> pixels per class.
        rng: The only source of chance.
        independent: Test may take what train has, as in the released code.
    """
    classes = range(1, max(int(pool.max()) for pool in pools.values()) + 1)
    chosen: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    shortfall: dict[str, dict[int, int]] = {}
    for number in classes:
        taken = np.empty(0, np.int64)
        for split in _ORDER:
            pool = np.flatnonzero(pools[split] == number)
            if not (independent and split == "test"):
                pool = np.setdiff1d(pool, taken, assume_unique=True)
            drawn = rng.permutation(pool)[: wanted[split]]
            taken = np.union1d(taken, drawn)
            chosen[split].append(drawn)
            if len(drawn) < wanted[split]:
                shortfall.setdefault(split, {})[number - 1] = wanted[split] - len(drawn)
    result = {}
    for split, parts in chosen.items():
        flat = np.sort(np.concatenate(parts))
        result[split] = flat, pools[split][flat]
    return result, shortfall


def _official(
    maps: LabelMaps, per_class: Mapping[str, int | None], wanted: Mapping[str, int], rng: np.random.Generator
) -> tuple[dict[str, Choice], dict[str, dict[int, int]]]:
    train_map, test_map = (np.zeros(0, np.int64) if each is None else each.ravel() for each in (maps.train, maps.test))
    chosen: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    shortfall: dict[str, dict[int, int]] = {}
    for number in range(1, int(maps.every.max()) + 1):
        training = rng.permutation(np.flatnonzero(train_map == number))
        testing = rng.permutation(np.flatnonzero(test_map == number))
        held_out = min(wanted["val"], int(len(training) * VAL_SHARE_OF_OFFICIAL))
        train_size = _or(per_class.get("train"), len(training) - held_out)
        parts = {
            "train": training[:train_size],
            "val": training[train_size:][: wanted["val"]],
            "test": testing[: _or(per_class.get("test"), len(testing))],
        }
        for split, part in parts.items():
            chosen[split].append(part)
            asked = per_class.get(split)
            if asked is not None and len(part) < asked:
                shortfall.setdefault(split, {})[number - 1] = asked - len(part)
        if not len(testing):
            shortfall.setdefault("test", {}).setdefault(number - 1, _or(per_class.get("test"), 1))
    sources = {"train": train_map, "val": train_map, "test": test_map}
    result = {}
    for split, parts_of_split in chosen.items():
        flat = np.sort(np.concatenate(parts_of_split))
        result[split] = flat, sources[split][flat]
    return result, shortfall


def _pixels(flat: np.ndarray, labels: np.ndarray, width: int) -> Pixels:
    rows, cols = np.divmod(flat, width)
    return Pixels(rows.astype(np.int32), cols.astype(np.int32), labels.astype(np.int64) - 1)
