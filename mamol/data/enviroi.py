"""Label maps from ENVI's region-of-interest text, the form of the Houston 2013 contest's samples."""

import re
from pathlib import Path

import numpy as np

from mamol.core.errors import MamolError
from mamol.data.opening import check_memory, unreadable, why


def read_roi_text(path: Path) -> np.ndarray:
    """A label map from ENVI ROI text.

    The header names the size (``File Dimension: 1905 x 349``, width first) and the points of every region
    (``ROI npts``); then follow the points, region by region: number, x, y from 1, and values that are not needed.

    Args:
        path: The text file.

    Returns:
        (H, W) int64; 0 outside the regions, the k-th region is class k.

    Raises:
        MamolError: If header and points do not fit together.
    """
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError as error:
        raise unreadable(path, "text file", error) from error
    header = "\n".join(line for line in lines if line.lstrip().startswith(";"))
    size = re.search(r"File Dimension:\s*(\d+)\s*x\s*(\d+)", header)
    points_per_class = [int(number) for number in re.findall(r"ROI npts:\s*(\d+)", header)]
    points = [line.split()[1:3] for line in lines if line.strip() and not line.lstrip().startswith(";")]
    if size is None or not points_per_class or sum(points_per_class) != len(points):
        raise MamolError(
            f"{path}: not ENVI ROI text: the header promises {sum(points_per_class)} points, {len(points)} follow; "
            "expected 'File Dimension', 'ROI npts' and one line per point"
        )
    width, height = int(size[1]), int(size[2])
    try:
        x, y = np.array(points, dtype=np.int64).reshape(-1, 2).T - 1
        if min(x.min(), y.min()) < 0 or x.max() >= width or y.max() >= height:
            raise ValueError("they are counted from 1")
    except (ValueError, OverflowError) as error:
        raise MamolError(f"{path}: a point is not inside {width} x {height} pixels ({why(error)})") from error
    check_memory(path, (height, width), np.dtype(np.int64))
    labels = np.zeros((height, width), np.int64)
    labels[y, x] = np.repeat(np.arange(1, len(points_per_class) + 1), points_per_class)
    return labels
