"""The files of a map: rasters, picture, arrays, the area of each class."""

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from matplotlib.figure import Figure
from rasterio.transform import Affine
from scipy.io import savemat

from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.evaluation.blocks import Block
from mamol.evaluation.layers import Blocks, Layer, layers_of, write_layer
from mamol.evaluation.mapinfo import UNDECIDED, MapInfo
from mamol.evaluation.plots import save_figure
from mamol.evaluation.plots_map import map_figure

MAT_HEADER = b"MATLAB 5.0 MAT-file, written by mamol".ljust(116)
"""In place of scipy's, which has the time in it: equal maps are equal files."""
MOST_IN_MEMORY = 25_000_000  # pixels of a map that is also written as arrays
MOST_SHOWN = 1500  # rows or columns of the picture


@dataclass(frozen=True)
class MapFiles:
    """What writes a map; the memory needed is that of a block, but for ``.mat`` and ``.npy``.

    Attributes:
        info: What belongs to it.
        shape: Rows and columns.
        blocks: Its pixels.
        probabilities: Whether the blocks have all probabilities.
    """

    info: MapInfo
    shape: tuple[int, int]
    blocks: Blocks
    probabilities: bool = False

    def save(self, path: Path) -> list[Path]:
        """Writes the files of one kind, each atomically.

        ``.mat`` holds ``classified``, ``confidence``, ``classes``, ``sensors`` and ``modalities``; ``.npy`` holds the
        codes, ``_confidence.npy`` and ``_sensors.npy`` beside it the others; ``.tif`` likewise, with ``.qml`` for QGIS;
        ``.png`` is the picture, ``.csv`` the area of each class. ``set_size`` is there where the network has sets, and
        ``_undecided.csv``, by the sensors, where pixels were left undecided.

        Args:
            path: The file; its folder is created.

        Returns:
            The files, ``path`` first.

        Raises:
            MamolError: The ending is none of these, or the file cannot be written.
        """
        writers: dict[str, Callable[[Path], list[Path]]] = {
            ".png": self._save_png,
            ".mat": self._save_mat,
            ".npy": self._save_npy,
            ".tif": self._save_tif,
            ".csv": self._save_csv,
        }
        if path.suffix not in writers:
            raise MamolError(f"map {path}: a file of this ending cannot be written; use one of {', '.join(writers)}")
        try:
            return writers[path.suffix](path)
        except OSError as error:
            raise MamolError(f"{path}: cannot be written ({error.strerror}); is the disk full?") from error

    def save_all(self, folder: Path, name: str) -> list[Path]:
        """Writes the map in every format that it can have.

        Args:
            folder: Where to write; it is created.
            name: File name without ending.

        Returns:
            The files written.
        """
        small = self.shape[0] * self.shape[1] <= MOST_IN_MEMORY
        endings = [".png", *([".mat", ".npy"] if small else [])]
        endings += [".tif"] if self.info.georeference or not small else []
        return [path for ending in (*endings, ".csv") for path in self.save(folder / f"{name}{ending}")]

    def picture(self) -> Figure:
        """Classes, confidence, sizes of sets and sensors side by side; every n-th pixel of a large map."""
        step = -(-max(self.shape) // MOST_SHOWN)
        names = ["classes", "confidence", "sensors", *(["set_size"] if self.info.coverage is not None else [])]
        parts, row = [], 0
        for block in self.blocks():
            chosen = slice(-row % step, None, step), slice(None, None, step)
            # Copies: views would keep all blocks in memory.
            parts.append(Block(**{name: getattr(block, name)[chosen].copy() for name in names}))
            row += len(block.classes)
        place = self.info.transform
        transform = place @ Affine.scale(step) if place is not None else None
        return map_figure(Block.joined(parts), self.info, transform, self.shape)

    def _joined(self, part: str) -> np.ndarray:
        """One array of the whole map."""
        return np.concatenate([getattr(block, part) for block in self.blocks()])

    def _save_png(self, path: Path) -> list[Path]:
        save_figure(self.picture(), path)
        return [path]

    def _save_mat(self, path: Path) -> list[Path]:
        content = {
            "classified": self._joined("classes"),
            "confidence": self._joined("confidence"),
            "classes": np.array(self.info.names, dtype=object),
        }
        if self.info.modalities:
            content |= {"sensors": self._joined("sensors"), "modalities": np.array(self.info.modalities, dtype=object)}
        if self.info.coverage is not None:
            content |= {"set_size": self._joined("set_size"), "coverage": np.array(self.info.coverage)}
        with replacing(path) as temporary:
            savemat(temporary, content, appendmat=False, do_compression=True)
            with temporary.open("r+b") as file:
                file.write(MAT_HEADER)
        return [path]

    def _save_npy(self, path: Path) -> list[Path]:
        parts = {"": "classes", "_confidence": "confidence"} | ({"_sensors": "sensors"} if self.info.modalities else {})
        parts |= {} if self.info.coverage is None else {"_set_size": "set_size"}
        written = []
        for suffix, part in parts.items():
            written.append(path.with_stem(path.stem + suffix))
            with replacing(written[-1]) as temporary, temporary.open("wb") as file:
                np.save(file, self._joined(part))
        return written

    def _save_tif(self, path: Path) -> list[Path]:
        written = []
        for layer in layers_of(self.info, self.probabilities):
            written.append(path.with_name(f"{path.stem}{layer.suffix}.tif"))
            write_layer(written[-1], layer, self.blocks, self.shape, self.info)
            if layer.labels:
                written.append(written[-1].with_suffix(".qml"))
                with replacing(written[-1]) as temporary:
                    temporary.write_text(style_of(layer), "utf-8")
        return written

    def _save_csv(self, path: Path) -> list[Path]:
        pixels, area = self.areas()
        known = self.info.metres(0, 0) is not None
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("code", "class", "pixels", "percent", "area_m2", "area_ha"))
            for code, name in {0: "no sensor", **self.info.texts}.items():
                share = f"{100 * pixels[code] / max(pixels[1:].sum(), 1):.2f}" if code else ""
                size = (f"{area[code]:.1f}", f"{area[code] / 1e4:.4f}") if known else ("", "")
                writer.writerow((code, name, pixels[code], share, *size))
        return [path, *self._save_undecided(path.with_stem(f"{path.stem}_{UNDECIDED}"))]

    def _save_undecided(self, path: Path) -> list[Path]:
        if self.info.undecided is None:
            return []
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("present", "pixels", UNDECIDED, "percent"))
            writer.writerows((name, n, left, f"{100 * left / n:.2f}") for name, (n, left) in self.undecided().items())
        return [path]

    def undecided(self) -> dict[str, tuple[int, int]]:
        """Pixels that some sensors saw, and how many of them are left undecided, by those sensors."""
        found: Counter[int] = Counter()
        left: Counter[int] = Counter()
        for block in self.blocks():
            found.update(_counted(block.sensors))
            left.update(_counted(block.sensors[block.classes == self.info.undecided]))
        return {self.info.pattern(code): (found[code], left[code]) for code in self.info.patterns(list(found))}

    def areas(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and square metres of each code, no sensor first.

        In degrees the size of a pixel is that of its row's middle; without a coordinate reference system it is 0.
        """
        count, row = max(self.info.texts) + 1, 0
        pixels, area = np.zeros(count, np.int64), np.zeros(count)
        for block in self.blocks():
            for line in block.classes:
                found = np.bincount(line, minlength=count)
                size = self.info.metres(row, self.shape[1] / 2 - 0.5)
                pixels += found
                area += found * (size[2] if size else 0)
                row += 1
        return pixels, area


def _counted(codes: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(codes, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def style_of(layer: Layer) -> str:
    """A style for QGIS, which reads it beside the raster and shows names and colours at once.

    Args:
        layer: With labels and colours.
    """
    entries = "\n".join(
        f'        <paletteEntry value="{value}" label={quoteattr(text)} alpha="255" '
        f'color="#{bytes(layer.colours[value]).hex()}"/>'
        for value, text in layer.labels.items()
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22" styleCategories="Symbology">
  <pipe>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <colorPalette>
{entries}
      </colorPalette>
    </rasterrenderer>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""
