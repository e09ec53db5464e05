"""Which samples of a table are alike, because they were drawn together: they count as one unit of a calibration."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label as numbered
from scipy.ndimage import maximum_filter

from mamol.data.scenetable import SceneTable
from mamol.data.tables import AnyTable

TOGETHER = ("blocks", "polygons")
"""Protocols that deal regions of the scene, not pixels, among the splits."""
ALONE = np.diag([0, 1, 0])
"""Neighbours of a pixel that windows of one pixel have: none."""
SAMPLE, REGION, SCENE, TILE = "sample", "region", "scene", "tile"


def units_of(table: AnyTable) -> tuple[str, NDArray[np.int64]]:
    """What a table's samples are exchanged in.

    Pixels that were drawn one by one are units themselves. Of a protocol that deals regions, windows that share pixels
    are one unit; of whole scenes, a scene is; of tiles, which share no pixels, each is one.

    Args:
        table: N samples.

    Returns:
        The kind of units, and (N,) numbers of them.
    """
    every = np.arange(len(table))
    if not isinstance(table, SceneTable):
        return SAMPLE, every if table.group is None else table.group
    if table.info.protocol == "scenes" and table.scene is not None:
        return SCENE, table.scene.astype(np.int64)
    if table.info.tiled:
        return TILE, every
    if table.info.protocol in TOGETHER:
        scene = np.zeros(len(table), np.int64) if table.scene is None else table.scene
        return REGION, regions(scene, table.row, table.col, table.info.patch_size)
    return SAMPLE, every


def regions(
    scene: NDArray[np.integer], rows: NDArray[np.integer], cols: NDArray[np.integer], size: int
) -> NDArray[np.int64]:
    """Numbers of the regions that overlapping windows make, (n,).

    Windows of side P overlap where squares of side P - 1 touch, be it at a corner.

    Args:
        scene: (n,) number of each window's scene.
        rows: (n,) of the pixel in the middle.
        cols: (n,) likewise.
        size: Side P of the windows.
    """
    found, count = np.zeros(len(rows), np.int64), 0
    for number in np.unique(scene).tolist():
        own = np.flatnonzero(scene == number)
        corner = rows[own].min(), cols[own].min()
        place = rows[own] - corner[0], cols[own] - corner[1]
        painted = _painted(place, size)
        names, parts = numbered(painted, ALONE if size == 1 else np.ones((3, 3)))
        found[own] = names[place] + count
        count += parts
    return found


def _painted(place: Sequence[NDArray[np.integer]], size: int) -> NDArray[np.bool_]:
    """Where squares of side P - 1 around these pixels lie."""
    rows, cols = place
    image = np.zeros((int(rows.max()) + size, int(cols.max()) + size), bool)
    image[rows, cols] = True
    return image if size == 1 else np.asarray(maximum_filter(image, size - 1, mode="constant"))
