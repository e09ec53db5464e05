"""The class of every pixel of a scene, and the files that hold it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine
from rich.console import Console
from rich.progress import track
from scipy.io import savemat

from mamol.data.patches import WindowCutter
from mamol.data.scenes import GeoReference
from mamol.errors import MamolError
from mamol.evaluation.plots import class_colours, class_map, save_figure
from mamol.files import replacing

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]


def classify_scene(
    predict: Predict, cutters: Mapping[str, WindowCutter], height: int, width: int, *, batch: int, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Classifies all pixels of a scene, labelled or not; the memory needed grows with ``batch`` only.

    Args:
        predict: Maps the windows (B, C, P, P) of each modality to probabilities (B, K).
        cutters: Cuts a modality's windows out of its raster.
        height: Rows of the scene.
        width: Columns of the scene.
        batch: Pixels per call of ``predict``.
        progress: Whether to show a progress bar, on stderr.

    Returns:
        Class index (H, W) int16 from 0, and its probability (H, W) float32.

    Raises:
        MamolError: If a probability is NaN or infinite.
    """
    classified = np.empty(height * width, np.int16)
    confidence = np.empty(height * width, np.float32)
    console = Console(stderr=True)
    for start in track(range(0, height * width, batch), "classifying", console=console, disable=not progress):
        pixels = np.arange(start, min(start + batch, height * width))
        rows, cols = np.divmod(pixels, width)
        probabilities = predict({name: cutter.cut(rows, cols) for name, cutter in cutters.items()})
        broken = ~np.isfinite(probabilities).all(axis=1)
        if broken.any():
            row, col = rows[broken][0], cols[broken][0]
            raise MamolError(
                f"map: found a probability that is NaN or infinite at row {row}, column {col}, expected finite ones; "
                "look for invalid values in the scene there, or use precision=32"
            )
        classified[pixels] = probabilities.argmax(axis=1)
        confidence[pixels] = probabilities.max(axis=1)
    return classified.reshape(height, width), confidence.reshape(height, width)


def write_map(
    folder: Path,
    name: str,
    classified: np.ndarray,
    confidence: np.ndarray,
    classes: Sequence[str],
    georeference: GeoReference | None,
    title: str,
) -> list[Path]:
    """Writes a classified scene as picture, MATLAB file, NumPy array and, where its place is known, GeoTIFF.

    In every file the classes are coded as in a label map, 1-K. ``<name>.mat`` holds ``classified``, ``confidence`` and
    ``classes`` (a cell array); ``<name>.npy`` holds the codes; ``<name>.tif`` holds them with a colour table, the names
    as tags ``CLASS_1`` … and 0 for "no data".

    Args:
        folder: Where to write; it is created.
        name: File name without ending.
        classified: (H, W) class index from 0.
        confidence: (H, W) probability of that class, 0-1.
        classes: K names.
        georeference: Where the scene lies, if known.
        title: Title of the picture.

    Returns:
        The files written.
    """
    codes = (classified + 1).astype(np.uint8 if len(classes) <= 255 else np.uint16)
    stem = Path(folder) / name
    picture, matlab, array, geotiff = (stem.with_name(name + ending) for ending in (".png", ".mat", ".npy", ".tif"))
    save_figure(class_map(classified, classes, title=title), picture)
    with replacing(matlab) as temporary:
        content = {"classified": codes, "confidence": confidence, "classes": np.array(classes, dtype=object)}
        savemat(temporary, content, appendmat=False, do_compression=True)
    with replacing(array) as temporary, temporary.open("wb") as file:
        np.save(file, codes)
    if georeference is None:
        return [picture, matlab, array]
    _write_geotiff(geotiff, codes, classes, georeference)
    return [picture, matlab, array, geotiff]


def _write_geotiff(path: Path, codes: np.ndarray, classes: Sequence[str], georeference: GeoReference) -> None:
    height, width = codes.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": codes.dtype,
        "nodata": 0,
        "compress": "deflate",
        "crs": CRS.from_wkt(georeference.crs) if georeference.crs else None,
        "transform": Affine(*georeference.transform),
    }
    colours = {code: (*map(int, colour), 255) for code, colour in enumerate(class_colours(len(classes)), 1)}
    with replacing(path) as temporary, rasterio.open(temporary, "w", **profile) as file:
        file.write(codes, 1)
        file.write_colormap(1, colours)
        file.update_tags(**{f"CLASS_{code}": text for code, text in enumerate(classes, 1)})
