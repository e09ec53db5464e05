"""The class of every pixel of a scene, and the files that hold it."""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.figure import Figure
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import Affine
from rich.console import Console
from rich.progress import track
from scipy.io import savemat

from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.data.patches import WindowCutter
from mamol.data.scenes import GeoReference
from mamol.evaluation.plots import class_colours, class_map, save_figure

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


@dataclass(frozen=True)
class Map:
    """A classified scene.

    Attributes:
        classes: (H, W) codes 1-K as in a label map.
        confidence: (H, W) float32, probability of that class, 0-1.
        names: K class names.
        title: Of its picture.
        georeference: Where it lies, if known.
        colours: ``#rrggbb`` of each class; empty: the palette.
    """

    classes: np.ndarray
    confidence: np.ndarray
    names: tuple[str, ...]
    title: str
    georeference: GeoReference | None = None
    colours: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        classified: np.ndarray,
        confidence: np.ndarray,
        names: Sequence[str],
        title: str,
        georeference: GeoReference | None = None,
        colours: Mapping[str, str] | None = None,
    ) -> "Map":
        """The map of class indices.

        Args:
            classified: (H, W) class index from 0.
            confidence: (H, W) probability of that class, 0-1.
            names: K class names.
            title: Of its picture.
            georeference: Where it lies, if known.
            colours: Class name -> ``#rrggbb``; the palette is taken unless every class has one.
        """
        known = colours or {}
        chosen = tuple(known[name] for name in names) if set(names) <= set(known) else ()
        codes = (classified + 1).astype(np.uint8 if len(names) <= 255 else np.uint16)
        return cls(codes, confidence, tuple(names), title, georeference, chosen)

    def plot(self) -> Figure:
        """The picture, with a legend."""
        return class_map(self.classes.astype(np.int32) - 1, self.names, title=self.title, colours=self.colours)

    def _repr_png_(self) -> bytes:
        """The picture, where a notebook shows the map."""
        with io.BytesIO() as file:
            self.plot().savefig(file, format="png")
            return file.getvalue()

    def save(self, path: Path | str) -> Path:
        """Writes the map, atomically, in the format that the file's ending says.

        ``.mat`` holds ``classified``, ``confidence`` and ``classes`` (a cell array); ``.npy`` holds the codes; ``.tif``
        holds them with a colour table, the names as tags ``CLASS_1`` …, 0 for "no data" and the place if it is known;
        ``.png`` is the picture.

        Args:
            path: The file; its folder is created.

        Returns:
            The file.

        Raises:
            MamolError: The ending is none of these.
        """
        path = Path(path)
        writers = {".png": self._save_png, ".mat": self._save_mat, ".npy": self._save_npy, ".tif": self._save_tif}
        if path.suffix not in writers:
            raise MamolError(f"map {path}: a file of this ending cannot be written; use one of {', '.join(writers)}")
        writers[path.suffix](path)
        return path

    def save_all(self, folder: Path, name: str) -> list[Path]:
        """Writes the map in every format that it can have.

        Args:
            folder: Where to write; it is created.
            name: File name without ending.

        Returns:
            The files written.
        """
        endings = (".png", ".mat", ".npy", *([".tif"] if self.georeference else []))
        return [self.save(Path(folder) / f"{name}{ending}") for ending in endings]

    def _save_png(self, path: Path) -> None:
        save_figure(self.plot(), path)

    def _save_mat(self, path: Path) -> None:
        with replacing(path) as temporary:
            content = {
                "classified": self.classes,
                "confidence": self.confidence,
                "classes": np.array(self.names, dtype=object),
            }
            savemat(temporary, content, appendmat=False, do_compression=True)

    def _save_npy(self, path: Path) -> None:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, self.classes)

    def _save_tif(self, path: Path) -> None:
        place = self.georeference
        height, width = self.classes.shape
        profile = {
            "driver": "GTiff",
            "height": height,
            "width": width,
            "count": 1,
            "dtype": self.classes.dtype,
            "nodata": 0,
            "compress": "deflate",
            "crs": CRS.from_wkt(place.crs) if place and place.crs else None,
            "transform": Affine(*place.transform) if place else None,
        }
        painted = class_colours(len(self.names), self.colours)
        colours = {code: (*map(int, colour), 255) for code, colour in enumerate(painted, 1)}
        with warnings.catch_warnings(), replacing(path) as temporary:
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(temporary, "w", **profile) as file:
                file.write(self.classes, 1)
                file.write_colormap(1, colours)
                file.update_tags(**{f"CLASS_{code}": text for code, text in enumerate(self.names, 1)})
