"""A classified scene in memory."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mamol.data.scenes import GeoReference
from mamol.evaluation.blocks import Block, code_type, sensor_type
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.mapinfo import MapInfo, chosen_colours


@dataclass(frozen=True)
class Map:
    """A classified scene.

    Attributes:
        classes: (H, W) codes 1-K as in a label map; 0 where no sensor saw.
        confidence: (H, W) float32, probability of that class, 0-1; NaN where no sensor saw.
        names: K class names.
        title: Of its picture.
        georeference: Where it lies, if known.
        colours: ``#rrggbb`` of each class; empty: the palette.
        sensors: (H, W); bit i says whether modality i was used. None: nobody knows.
        modalities: Their names.
        undecided: Code of pixels that are left undecided; None: there are none.
        set_size: (H, W), classes in the set of a pixel, 0 where no sensor saw; None: there are no sets.
        coverage: Of those sets.
    """

    classes: np.ndarray
    confidence: np.ndarray
    names: tuple[str, ...]
    title: str
    georeference: GeoReference | None = None
    colours: tuple[str, ...] = ()
    sensors: np.ndarray | None = None
    modalities: tuple[str, ...] = ()
    undecided: int | None = None
    set_size: np.ndarray | None = None
    coverage: float | None = None

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
            classified: (H, W) class index from 0; -1 where no sensor saw.
            confidence: (H, W) probability of that class, 0-1.
            names: K class names.
            title: Of its picture.
            georeference: Where it lies, if known.
            colours: Class name -> ``#rrggbb``; the palette is taken unless every class has one.
        """
        codes = (classified + 1).astype(code_type(len(names)))
        return cls(codes, confidence, tuple(names), title, georeference, chosen_colours(names, colours or {}))

    @classmethod
    def of_block(cls, block: Block, info: MapInfo) -> "Map":
        """The map of one block that holds all rows.

        Args:
            block: Its pixels.
            info: What belongs to it.
        """
        place = info.names, info.title, info.georeference, info.colours
        left = info.undecided, block.set_size, info.coverage
        return cls(block.classes, block.confidence, *place, block.sensors, info.modalities, *left)

    @property
    def files(self) -> MapFiles:
        """What writes it."""
        known = self.modalities, self.undecided, self.coverage
        info = MapInfo(self.names, self.title, self.georeference, self.colours, *known)
        sensors = np.zeros(self.classes.shape, sensor_type(0)) if self.sensors is None else self.sensors
        block = Block(self.classes, self.confidence, sensors, set_size=self.set_size)
        return MapFiles(info, (self.classes.shape[0], self.classes.shape[1]), lambda: [block])

    def plot(self) -> Figure:
        """The picture, with a legend."""
        return self.files.picture()

    def _repr_png_(self) -> bytes:
        """The picture, where a notebook shows the map."""
        with io.BytesIO() as file:
            self.plot().savefig(file, format="png")
            return file.getvalue()

    def save(self, path: Path | str) -> Path:
        """Writes the map, atomically, in the format that the file's ending says.

        ``.mat`` holds ``classified``, ``confidence`` and ``classes`` (a cell array), and ``sensors`` and
        ``modalities``; ``.npy`` holds the codes; ``.tif`` holds them with a colour table, the names as tags
        ``CLASS_1`` …, 0 for "no data" and the place if it is known; ``.png`` is the picture, ``.csv`` the area of each
        class. Confidence and sensors lie beside ``.npy`` and ``.tif``.

        Args:
            path: The file; its folder is created.

        Returns:
            The file.

        Raises:
            MamolError: The ending is none of these.
        """
        return self.files.save(Path(path))[0]

    def save_all(self, folder: Path, name: str) -> list[Path]:
        """Writes the map in every format that it can have.

        Args:
            folder: Where to write; it is created.
            name: File name without ending.

        Returns:
            The files written.
        """
        return self.files.save_all(Path(folder), name)
