"""Which labelled pixels train, validate and test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mamol.core.errors import MamolError
from mamol.core.names import PROTOCOLS, SPLITS
from mamol.data.blocks import eligible_pixels
from mamol.data.extents import Extents
from mamol.data.labels import LabelMaps
from mamol.data.polygonsplit import called, polygon_pools
from mamol.data.scenesplit import scene_pools

DEFAULT_PER_CLASS = {"train": 100, "val": 50, "test": 300}
VAL_SHARE_OF_OFFICIAL = 0.1
"""At most this share of a class's official training pixels is held out for validation."""
ALL = "all"
"""Instead of a number of pixels per class: all that are left for the split."""
PerClass = Mapping[str, int | str | None]
"""Split -> pixels per class, or ``ALL``; None: the protocol's default."""
_ORDER = ("train", "test", "val")
"""Who is served first where a class has too few pixels."""


@dataclass(frozen=True)
class Pixels:
    """The samples of one split, in row-major order, scene after scene: pixels, or tiles by the pixel in their middle.

    Attributes:
        rows: (N,) int32.
        cols: (N,) int32.
        labels: (N,) int64, from 0; of tiles (N, P, P) int16, ``UNLABELLED`` where there is none.
        polygons: (N,) uint32, the polygon that each lies in; None if the labels are no polygons.
        scenes: (N,) int32, the scene that each lies in, from 0; None if there is one.
    """

    rows: np.ndarray
    cols: np.ndarray
    labels: np.ndarray
    polygons: np.ndarray | None = None
    scenes: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of pixels."""
        return len(self.labels)

    def of(self, chosen: np.ndarray) -> "Pixels":
        """Some of them.

        Args:
            chosen: (N,) bool.
        """
        return replace(self, **{name: column[chosen] for name, column in vars(self).items() if column is not None})


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
    protocol: str,
    maps: LabelMaps,
    per_class: PerClass,
    *,
    seed: int = 0,
    patch_size: int = 14,
    classes: Sequence[str] = (),
    extents: Extents | None = None,
) -> Split:
    """Draws a split.

    ``disjoint``: no pixel in two splits. ``paper``: train and test drawn independently of each other from all pixels,
    as in the released code, so that they share pixels; val from the rest. ``official``: the release's maps, all their
    pixels unless a number is given; val is what a given number left over of the training map, else up to a tenth of
    each class held out of it. ``blocks``: disjoint blocks of the scene, far enough apart that no windows of two splits
    share a pixel. ``polygons``: whole polygons, so that no field is in two splits. ``scenes``: whole scenes.

    Numbers per class are of all scenes together.

    Args:
        protocol: One of ``PROTOCOLS``.
        maps: The labels; of several scenes, of all pixels, counted through.
        per_class: Split -> pixels per class, or all; None or absent: 100 train, 50 val, 300 test (``official``: all
            of them).
        seed: The same seed gives the same split.
        patch_size: Side of the windows, for ``blocks``.
        classes: Names of the classes 1 … K, for messages.
        extents: The scenes; None: there is one, in the shape of the maps.

    Raises:
        MamolError: If the protocol is unknown or needs maps that are not there, a number is out of range, or a class
            gets no training pixel, or nothing is left to test.
    """
    check_request(protocol, per_class, seed)
    wanted = {split: _limit(per_class.get(split), DEFAULT_PER_CLASS[split]) for split in SPLITS}
    rng = np.random.default_rng(seed)
    extents = Extents.of_one(*maps.every.shape) if extents is None else extents
    if protocol == "official":
        chosen, shortfall = _official(maps, per_class, wanted, rng)
    else:
        if protocol == "polygons":
            pools = polygon_pools(maps, wanted, rng, classes)
        elif protocol == "scenes":
            pools = scene_pools(maps.every, extents, wanted, rng, classes)
        elif protocol == "blocks":
            pools = eligible_pixels(extents.parts(maps.every), wanted, patch_size, rng)
        else:
            pools = dict.fromkeys(SPLITS, maps.every.ravel())
        chosen, shortfall = _choose(pools, wanted, rng, independent=protocol == "paper")
    pixels = {split: _pixels(*chosen[split], maps, extents) for split in SPLITS}
    way_out = "choose another protocol or seed, or merge the class with another"
    refuse_untrained(protocol, int(maps.every.max()), pixels["train"].labels, classes, way_out)
    if not len(pixels["test"]):
        raise MamolError(
            f"protocol {protocol}: no pixel is left for testing; choose another protocol or seed, fewer training "
            "pixels, or smaller windows"
        )
    return Split(pixels, shortfall)


def refuse_untrained(protocol: str, most: int, trained: np.ndarray, classes: Sequence[str], way_out: str) -> None:
    """Refuses a split in which some class has no training pixel.

    Args:
        protocol: By which it was drawn.
        most: K.
        trained: Labels of training, from 0, of any shape.
        classes: Names of the classes, for messages.
        way_out: What to do about it.

    Raises:
        MamolError: Naming the classes.
    """
    if untrained := sorted(set(range(most)) - set(np.unique(trained).tolist())):
        names = ", ".join(called(index + 1, classes) for index in untrained)
        raise MamolError(f"protocol {protocol}: class {names} gets no training pixel; {way_out}")


def _limit(asked: int | str | None, default: int) -> int | None:
    """The most pixels per class; None: all."""
    if asked is None:
        return default
    return None if asked == ALL else int(asked)


def _lacking(limit: int | None, got: int) -> int:
    """How many pixels are missing; whoever wants all has too few only without any."""
    return max((1 if limit is None else limit) - got, 0)


def check_request(protocol: str, per_class: PerClass, seed: int) -> None:
    """Checks what can be checked before the labels are read.

    Args:
        protocol: One of ``PROTOCOLS``.
        per_class: Split -> pixels per class, at least 1 (``val``: 0), or all; None: the protocol's default.
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
        if number is None or number == ALL:
            continue
        if type(number) is not int:
            raise MamolError(f"{split}-per-class {number!r}: expected a whole number or '{ALL}'")
        if number < least:
            raise MamolError(f"{split}-per-class {number}: expected {least} or more")
    if protocol == "disjoint" and per_class.get("train") == ALL:
        raise MamolError(
            f"train-per-class {ALL}: protocol disjoint would leave no pixel to test; give a number, and {ALL} for test"
        )


Choice = tuple[np.ndarray, np.ndarray]
"""Flat pixel indices and their labels from 1."""


def _choose(
    pools: Mapping[str, np.ndarray], wanted: Mapping[str, int | None], rng: np.random.Generator, *, independent: bool
) -> tuple[dict[str, Choice], dict[str, dict[int, int]]]:
    """Draws from flat label maps, class by class: train, then test, then val.

    Args:
        pools: Split -> (H·W,) labels that it may use.
        wanted: Split -> pixels per class; None: all.
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
            if lacking := _lacking(wanted[split], len(drawn)):
                shortfall.setdefault(split, {})[number - 1] = lacking
    result = {}
    for split, parts in chosen.items():
        flat = np.sort(np.concatenate(parts))
        result[split] = flat, pools[split][flat]
    return result, shortfall


def _official(
    maps: LabelMaps, per_class: PerClass, wanted: Mapping[str, int | None], rng: np.random.Generator
) -> tuple[dict[str, Choice], dict[str, dict[int, int]]]:
    train_map, test_map = (each.ravel() for each in official_maps(maps))
    chosen: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    shortfall: dict[str, dict[int, int]] = {}
    for number in range(1, int(maps.every.max()) + 1):
        training = rng.permutation(np.flatnonzero(train_map == number))
        testing = rng.permutation(np.flatnonzero(test_map == number))
        held_out = len(training[: wanted["val"]][: int(len(training) * VAL_SHARE_OF_OFFICIAL)])
        train_size = _limit(per_class.get("train"), len(training) - held_out)
        train_size = len(training) if train_size is None else train_size
        parts = {
            "train": training[:train_size],
            "val": training[train_size:][: wanted["val"]],
            "test": testing[: _limit(per_class.get("test"), len(testing))],
        }
        for split, part in parts.items():
            chosen[split].append(part)
            if per_class.get(split) is not None and (lacking := _lacking(wanted[split], len(part))):
                shortfall.setdefault(split, {})[number - 1] = lacking
        if not len(testing):
            shortfall.setdefault("test", {}).setdefault(number - 1, 1)
    sources = {"train": train_map, "val": train_map, "test": test_map}
    result = {}
    for split, parts_of_split in chosen.items():
        flat = np.sort(np.concatenate(parts_of_split))
        result[split] = flat, sources[split][flat]
    return result, shortfall


def official_maps(maps: LabelMaps) -> tuple[np.ndarray, np.ndarray]:
    """The training and the test labels of a release.

    Args:
        maps: The labels.

    Raises:
        MamolError: They are not there.
    """
    if maps.train is None or maps.test is None:
        raise MamolError(
            "protocol official: there are no training and test label maps (such as TRLabel.mat, TSLabel.mat); "
            "add them, name them in a scene.json, or use --protocol disjoint"
        )
    return maps.train, maps.test


def _pixels(flat: np.ndarray, labels: np.ndarray, maps: LabelMaps, extents: Extents) -> Pixels:
    rows, cols, scenes = extents.places(flat)
    polygons = None if maps.polygons is None else maps.polygons.ravel()[flat]
    return Pixels(rows, cols, labels.astype(np.int64) - 1, polygons, scenes)
