"""Spatial blocks: splits that lie apart on the ground."""

from collections.abc import Mapping

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

SHARES = {"train": 0.4, "val": 0.2, "test": 0.4}
"""Share of the blocks that each split gets."""
WINDOWS_PER_BLOCK = (6, 4, 3, 2)
"""Block sides that are tried, in windows."""
TRIES = 32


def eligible_pixels(
    labels: np.ndarray, wanted: Mapping[str, int], patch_size: int, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The labelled pixels that each split may use so that windows of two splits never share a pixel.

    The scene is cut into square blocks, and every block goes to one split at random. A pixel may be used if all pixels
    within half a window of it belong to its split; two usable pixels of different splits are then at least a window
    apart in row or column. Several block sides and draws are tried; the one in which classes lack the fewest pixels is
    kept.

    Args:
        labels: (H, W), 0 unlabelled.
        wanted: Split -> pixels per class.
        patch_size: Side of the windows.
        rng: Source of chance.

    Returns:
        Split -> (H·W,) labels, 0 where the split may not use the pixel.
    """
    best: dict[str, np.ndarray] = {}
    least = (np.inf, np.inf)
    for windows in WINDOWS_PER_BLOCK:
        for _ in range(TRIES):
            owner = _assign(labels.shape, windows * patch_size, rng)
            margin = 2 * (patch_size // 2) + 1
            inside = minimum_filter(owner, margin) == maximum_filter(owner, margin)
            pools = {
                split: np.where(inside & (owner == number), labels, 0).ravel() for number, split in enumerate(SHARES)
            }
            lacking = _lacking(pools, wanted, int(labels.max()))
            if lacking < least:
                best, least = pools, lacking
            if lacking == (0, 0):
                return best
    return best


def _assign(shape: tuple[int, ...], side: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W) int8: the split of each pixel's block; at least one block for each where there are three."""
    down, across = (-(-length // side) for length in shape)
    count = down * across
    ends = np.round(np.cumsum(list(SHARES.values())) * count)
    owners = rng.permutation(np.searchsorted(ends, np.arange(count), side="right").clip(max=len(SHARES) - 1))
    blocks = owners.reshape(down, across).astype(np.int8)
    return np.repeat(np.repeat(blocks, side, axis=0), side, axis=1)[: shape[0], : shape[1]]


def _lacking(pools: Mapping[str, np.ndarray], wanted: Mapping[str, int], classes: int) -> tuple[float, float]:
    """How bad a draw is: classes without any training or test pixel, then the lacking share of the wanted pixels."""
    empty, share = 0.0, 0.0
    for split, pool in pools.items():
        counts = np.bincount(pool, minlength=classes + 1)[1:]
        share += float(np.maximum(wanted[split] - counts, 0).sum() / max(wanted[split], 1))
        empty += 0 if split == "val" else float((counts == 0).sum())
    return empty, share
