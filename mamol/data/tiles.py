"""Tiles: samples with a label for every pixel, on a regular grid without overlap, so that no pixel is in two of them.

A tile is a window whose middle pixel is (row, col). Where a side of a scene is no multiple of the tiles' side, the grid
reaches as far beyond both of its borders: so the middle of every tile lies in the scene. What is beyond is filled as
windows are, and unlabelled.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.names import SPLITS, UNLABELLED
from mamol.data import holes
from mamol.data.area import Area
from mamol.data.drawing import Drawn
from mamol.data.extents import Extents
from mamol.data.labels import LabelMaps
from mamol.data.overlap import Overlap, percent
from mamol.data.patches import inside_scene, window_numbers
from mamol.data.scenesplit import scene_pools
from mamol.data.splits import Pixels, Split, official_maps, refuse_untrained

DEFAULT_SIDE = 64
SHARES = (0.6, 0.1, 0.3)
"""Of the tiles, that train, validate and test."""
PROTOCOLS = ("disjoint", "official", "scenes")
"""Those that can deal tiles."""
TRIES = 32
WAY_OUT = "use a smaller --tile or another --seed, or merge the class with another"


class Grid(NamedTuple):
    """The tiles of all scenes, T of them.

    Attributes:
        rows: (T,), of the pixel in the middle of each.
        cols: (T,).
        scenes: (T,), or None where there is one.
        numbers: (T, P, P), the pixels that it shows, those of all scenes counted through.
        inside: (T, P, P), False at what lies beyond the border of the scene.
    """

    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    scenes: NDArray[np.int32] | None
    numbers: NDArray[np.int64]
    inside: NDArray[np.bool_]

    @classmethod
    def of(cls, extents: Extents, size: int) -> "Grid":
        """The grid over some scenes.

        Args:
            extents: The scenes.
            size: Side P of the tiles.
        """
        places = []
        for number, each in enumerate(extents.each):
            across = np.meshgrid(middles(each.height, size), middles(each.width, size), indexing="ij")
            places.append([*(axis.ravel() for axis in across), np.full(across[0].size, number)])
        rows, cols, scenes = (np.concatenate(axis).astype(np.int32) for axis in zip(*places, strict=True))
        place = rows, cols, scenes if extents.several else None
        return cls(*place, window_numbers(extents, size, *place), inside_scene(extents, size, *place))

    def tiles(self, labels: NDArray[np.integer], owned: NDArray[np.bool_] | None = None) -> Pixels:
        """The tiles that have a label.

        Args:
            labels: (N,) of all pixels, 0 unlabelled, classes from 1.
            owned: (T,), which tiles may be taken; None: all.

        Returns:
            Their middles, and (n, P, P) labels from 0, ``UNLABELLED`` where there is none.
        """
        shown = np.where(self.inside, labels[self.numbers], 0)
        there = (shown > 0).any((1, 2)) & (True if owned is None else owned)
        kept = shown[there].astype(np.int16)
        scenes = None if self.scenes is None else self.scenes[there]
        return Pixels(self.rows[there], self.cols[there], np.where(kept > 0, kept - 1, UNLABELLED), None, scenes)


def middles(length: int, size: int) -> NDArray[np.int64]:
    """Where the middles of tiles stand along an axis.

    Args:
        length: Of the axis.
        size: Side P of the tiles.
    """
    count = -(-length // size)
    return np.arange(count) * size - (count * size - length + 1) // 2 + size // 2


def check_tiles(protocol: str, shares: Sequence[float]) -> None:
    """Checks what can be checked before the labels are read.

    Args:
        protocol: One of ``PROTOCOLS``.
        shares: Of the tiles, that train, validate and test.

    Raises:
        MamolError: The protocol cannot deal tiles, or the shares are none.
    """
    if protocol not in PROTOCOLS:
        raise MamolError(
            f"protocol {protocol}: draws pixels, and tiles are dealt as a whole and share no pixel; use "
            f"{', '.join(PROTOCOLS)}"
        )
    fits = len(shares) == len(SPLITS) and min(shares) >= 0 and min(shares[0], shares[-1]) > 0
    if not fits or abs(sum(shares) - 1) > 1e-6:
        raise MamolError(
            f"shares {','.join(f'{share:g}' for share in shares)}: expected those of train, val and test, which add up "
            "to 1, such as 0.6,0.1,0.3"
        )
    if protocol == "scenes" and tuple(shares) != SHARES:
        raise MamolError("shares: protocol scenes deals whole scenes; leave it out, or name splits in the list")


def draw_tiles(area: Area, protocol: str, shares: Sequence[float], *, seed: int, size: int, min_valid: float) -> Drawn:
    """Samples that are tiles, of which each split has those with a label for it.

    ``disjoint`` deals the tiles at random by their shares; of several deals it keeps the one in which the fewest
    classes lack training, or test, pixels, and in which the classes are shared out best. ``official``: the release's
    maps; a tile of training has the training labels alone, of test the test labels alone, and some of the training
    tiles validate. ``scenes``: all tiles of whole scenes.

    Args:
        area: The scenes.
        protocol: One of ``PROTOCOLS``.
        shares: Of the tiles, that train, validate and test; not looked at by ``scenes``.
        seed: Of the draw.
        size: Side P of the tiles.
        min_valid: Share of a tile that a sensor must have seen, for the tile to have it.

    Raises:
        MamolError: There are no label maps that the protocol needs, too few tiles, or a class without training pixels.
    """
    grid = Grid.of(area.extents, size)
    maps, there = area.maps(protocol), area.natural(size, min_valid, middle=False)
    left_out = 0
    if there is not None:
        maps, left_out = holes.without_unseen(maps, (_seen(grid, area, there),))
    rng = np.random.default_rng(seed)
    pools = _pools(protocol, maps, grid, area, shares, rng)
    for split in ("train", "test"):
        if not len(pools[split]):
            raise MamolError(
                f"protocol {protocol}: no tile of {size} × {size} pixels is left to {split}; use a smaller --tile, "
                "other --shares or another protocol"
            )
    refuse_untrained(protocol, int(maps.every.max()), pools["train"].labels, area.classes, WAY_OUT)
    return Drawn(Split(pools, {}), there, left_out, _overlap(pools["train"], pools["test"]))


def _seen(grid: Grid, area: Area, there: tuple[holes.Valid, ...]) -> holes.Valid:
    """(N,), which pixels were seen by a sensor that their tile has."""
    has = holes.natural_at(there, len(there), area.extents.numbers(grid.rows, grid.cols, grid.scenes))
    valid = area.natural(1, 1.0) or there
    anything = np.zeros(len(there[0]), bool)
    for own, pixels in zip(has.T, valid, strict=True):
        here = grid.numbers[own][grid.inside[own]]
        anything[here] |= pixels[here]
    return anything


def _pools(
    protocol: str, maps: LabelMaps, grid: Grid, area: Area, shares: Sequence[float], rng: np.random.Generator
) -> dict[str, Pixels]:
    """Split -> tiles."""
    if protocol == "scenes":
        pools = scene_pools(maps.every, area.extents, dict.fromkeys(SPLITS), rng, area.classes)
        return {split: grid.tiles(labels) for split, labels in pools.items()}
    classes = int(maps.every.max())
    if protocol == "official":
        train, test = official_maps(maps)
        tiles = grid.tiles(train.ravel())
        held_out = min(round(len(tiles) * shares[1] / (shares[0] + shares[1])), max(len(tiles) - 1, 0))
        dealt = _dealt(tiles, (len(tiles) - held_out, held_out, 0), classes, rng)
        return {**dealt, "test": grid.tiles(test.ravel())}
    tiles = grid.tiles(maps.every.ravel())
    return _dealt(tiles, _numbers(len(tiles), shares), classes, rng)


def _numbers(tiles: int, shares: Sequence[float]) -> tuple[int, int, int]:
    """How many tiles train, validate and test: one of each of the first and last where there are two."""
    test = min(max(1, round(tiles * shares[2])), max(tiles - 1, 0))
    val = min(round(tiles * shares[1]), max(tiles - test - 1, 0))
    return tiles - val - test, val, test


def _dealt(tiles: Pixels, numbers: Sequence[int], classes: int, rng: np.random.Generator) -> dict[str, Pixels]:
    """So many tiles for each of ``SPLITS``."""
    counts = class_counts(tiles.labels, classes)
    stock = np.repeat(np.arange(len(SPLITS)), numbers)
    deals = [rng.permutation(stock) for _ in range(TRIES)]
    owners = min(deals, key=lambda deal: _lacking(counts, deal, numbers))
    return {split: tiles.of(owners == number) for number, split in enumerate(SPLITS)}


def class_counts(labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """How many pixels of each class tiles have.

    Args:
        labels: (n, P, P) from 0, or ``UNLABELLED``.
        classes: K.

    Returns:
        (n, K).
    """
    return np.stack([(labels == number).sum((1, 2)) for number in range(classes)], axis=1)


def _lacking(counts: NDArray[np.int64], deal: NDArray[np.int64], numbers: Sequence[int]) -> tuple[int, int, float]:
    """How bad a deal is: classes without a training pixel, without a test pixel, how unlike the shares classes are."""
    got = np.stack([counts[deal == number].sum(0) for number in range(len(SPLITS))])
    there = counts.sum(0) > 0
    wanted = np.array(numbers) / max(sum(numbers), 1)
    unlike = np.abs(got[:, there] / counts.sum(0)[there] - wanted[:, None]).sum()
    needs_test = there if numbers[-1] else np.zeros_like(there)
    return int((there & (got[0] == 0)).sum()), int((needs_test & (got[-1] == 0)).sum()), float(unlike)


def _overlap(train: Pixels, test: Pixels) -> Overlap:
    """Tiles share no pixel, but with ``official`` the same tile can train and test, with other labels."""
    place = {at: number for number, at in enumerate(_places(train))}
    pairs = [(mine, place[at]) for mine, at in enumerate(_places(test)) if at in place]
    labelled = int((test.labels != UNLABELLED).sum())
    identical, same_class = 0, 0
    for mine, own in pairs:
        here, theirs = test.labels[mine], train.labels[own]
        identical += int(((here != UNLABELLED) & (theirs != UNLABELLED)).sum())
        same_class += bool(set(np.unique(here)) & set(np.unique(theirs)) - {UNLABELLED})
    return Overlap(
        identical_pixels=identical,
        identical_percent=percent(identical, labelled),
        shared_window_percent=percent(len(pairs), len(test)),
        same_class_window_percent=percent(same_class, len(test)),
    )


def _places(tiles: Pixels) -> list[tuple[int, ...]]:
    columns = [tiles.rows, tiles.cols, *([] if tiles.scenes is None else [tiles.scenes])]
    return list(zip(*(column.tolist() for column in columns), strict=True))


def labelled_pixels(tiles: Pixels, extents: Extents, size: int) -> Pixels:
    """The labelled pixels of tiles, one by one.

    Args:
        tiles: The tiles.
        extents: The scenes.
        size: Side P of the tiles.
    """
    labelled = tiles.labels != UNLABELLED
    numbers = window_numbers(extents, size, tiles.rows, tiles.cols, tiles.scenes)[labelled]
    rows, cols, scenes = extents.places(numbers)
    return Pixels(rows, cols, tiles.labels[labelled].astype(np.int64), None, scenes)
