"""Spatial blocks: splits that lie apart on the ground."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from mamol.data.extents import joined

SHARES = {"train": 0.4, "val": 0.2, "test": 0.4}
"""Share of the blocks that each split gets."""
WINDOWS_PER_BLOCK = (6, 4, 3, 2)
"""Block sides that are tried, in windows."""
TRIES = 32


def eligible_pixels(
    labels: Sequence[np.ndarray], wanted: Mapping[str, int | None], patch_size: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The labelled pixels that each split may use so that windows of two splits never share a pixel.

    Each scene is cut into square blocks, and every block goes to one split at random. A pixel may be used if all pixels
    within half a window of it belong to its split; two usable pixels of different splits are then at least a window
    apart in row or column. Several block sides and draws are tried; the one in which classes lack the fewest pixels is
    kept.

    Args:
        labels: (H, W) of each scene, 0 unlabelled.
        wanted: Split -> pixels per class; None: all.
        patch_size: Side of the windows.
        rng: Source of chance.

    Returns:
        Split -> (N,) labels, scene after scene, 0 where the split may not use the pixel.
    """
    shapes, classes = [each.shape for each in labels], max(int(each.max()) for each in labels)
    numbers = {split: 1 if number is None else number for split, number in wanted.items()}
    best: dict[str, np.ndarray] = {}
    least = (np.inf, np.inf)
    for windows in WINDOWS_PER_BLOCK:
        for _ in range(TRIES):
            owners = _assign(shapes, windows * patch_size, rng)
            margin = 2 * (patch_size // 2) + 1
            inside = [minimum_filter(each, margin) == maximum_filter(each, margin) for each in owners]
            usable = [np.where(safe, each, -1) for safe, each in zip(inside, owners, strict=True)]
            pools = {
                split: joined([np.where(own == number, each, 0) for own, each in zip(usable, labels, strict=True)])
                for number, split in enumerate(SHARES)
            }
            lacking = _lacking(pools, numbers, classes)
            if lacking < least:
                best, least = pools, lacking
            if lacking == (0, 0):
                return best
    return best


def _assign(shapes: Sequence[tuple[int, ...]], side: int, rng: np.random.Generator) -> list[np.ndarray]:
    """(H, W) int8 of each scene: the split of each pixel's block; at least one block for each where there are three."""
    grids = [(-(-height // side), -(-width // side)) for height, width in shapes]
    counts = [down * across for down, across in grids]
    ends = np.round(np.cumsum(list(SHARES.values())) * sum(counts))
    owners = rng.permutation(np.searchsorted(ends, np.arange(sum(counts)), side="right").clip(max=len(SHARES) - 1))
    result = []
    for (height, width), grid, own in zip(shapes, grids, np.split(owners, np.cumsum(counts)[:-1]), strict=True):
        blocks = own.reshape(grid).astype(np.int8)
        result.append(np.repeat(np.repeat(blocks, side, axis=0), side, axis=1)[:height, :width])
    return result


def _lacking(pools: Mapping[str, np.ndarray], wanted: Mapping[str, int], classes: int) -> tuple[float, float]:
    """How bad a draw is: classes without any training or test pixel, then the lacking share of the wanted pixels."""
    empty, share = 0.0, 0.0
    for split, pool in pools.items():
        counts = np.bincount(pool, minlength=classes + 1)[1:]
        share += float(np.maximum(wanted[split] - counts, 0).sum() / max(wanted[split], 1))
        empty += 0 if split == "val" else float((counts == 0).sum())
    return empty, share
