"""What belongs to a map besides its pixels: names, colours, place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import cos, pi, sin, sqrt

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine

from mamol.data.scenes import GeoReference
from mamol.evaluation.plots import class_colours

UNDECIDED, UNDECIDED_COLOUR = "undecided", (224, 224, 224)
RADIUS, ECCENTRICITY = 6378137.0, 0.00669437999014  # of WGS 84: metres at the equator, and squared


@dataclass(frozen=True)
class MapInfo:
    """What belongs to a map besides its pixels.

    Attributes:
        names: K class names.
        title: Of its picture.
        georeference: Where it lies, if known.
        colours: ``#rrggbb`` of each class; empty: the palette.
        modalities: Those of the network; modality i is bit i of the sensors. Empty: nobody knows the sensors.
        undecided: Code of pixels that are left undecided; None: there are none.
        coverage: Of the sets whose sizes the map has; None: it has none.
    """

    names: tuple[str, ...]
    title: str
    georeference: GeoReference | None = None
    colours: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    undecided: int | None = None
    coverage: float | None = None

    @property
    def painted(self) -> dict[int, tuple[int, int, int]]:
        """Code to RGB."""
        left = {} if self.undecided is None else {self.undecided: UNDECIDED_COLOUR}
        return _numbered(class_colours(len(self.names), self.colours)) | left

    @property
    def texts(self) -> dict[int, str]:
        """Code to what it means, 0 left out."""
        left = {} if self.undecided is None else {self.undecided: UNDECIDED}
        return dict(enumerate(self.names, 1)) | left

    @cached_property
    def transform(self) -> Affine | None:
        """From column and row to coordinates."""
        return Affine(*self.georeference.transform) if self.georeference else None

    @cached_property
    def crs(self) -> CRS | None:
        """The coordinate reference system, if there is one."""
        place = self.georeference
        return CRS.from_wkt(place.crs) if place and place.crs else None

    def pattern(self, code: int) -> str:
        """The modalities of a pixel, ``hsi+lidar``.

        Args:
            code: Its sensors.
        """
        return "+".join(name for bit, name in enumerate(self.modalities) if code >> bit & 1) or "none"

    def patterns(self, codes: Sequence[int]) -> dict[int, tuple[int, int, int]]:
        """Code of the sensors to RGB, the most sensors first; a pattern has one colour in all maps of a network.

        Args:
            codes: Those that are wanted, 0 is left out.
        """
        count = 2 ** len(self.modalities) - 1
        colours = _numbered(class_colours(count)) if count < 2**16 else {}
        order = sorted((code for code in codes if code), key=lambda code: (-code.bit_count(), code))
        return {code: colours.get(code, (128, 128, 128)) for code in order}

    def metres(self, row: float, col: float) -> tuple[float, float, float] | None:
        """How large a pixel is.

        Args:
            row: Of the map.
            col: Of the map.

        Returns:
            Metres across, metres down, square metres; None where no coordinate reference system says it.
        """
        crs, transform = self.crs, self.transform
        if crs is None or transform is None:
            return None
        along_x = along_y = crs.linear_units_factor[1] if crs.is_projected else 1.0
        if crs.is_geographic:
            latitude = (transform @ (col + 0.5, row + 0.5))[1] * pi / 180
            bent = 1 - ECCENTRICITY * sin(latitude) ** 2
            along_x = RADIUS * cos(latitude) / sqrt(bent) * pi / 180
            along_y = RADIUS * (1 - ECCENTRICITY) / bent**1.5 * pi / 180
        elif not crs.is_projected:
            return None
        a, b, _, d, e, _ = tuple(transform)[:6]
        across = sqrt((a * along_x) ** 2 + (d * along_y) ** 2)
        down = sqrt((b * along_x) ** 2 + (e * along_y) ** 2)
        return across, down, abs(transform.determinant) * along_x * along_y


def chosen_colours(names: Sequence[str], known: Mapping[str, str]) -> tuple[str, ...]:
    """The colours of classes; none unless every class has one.

    Args:
        names: Class names.
        known: Class name -> ``#rrggbb``.
    """
    return tuple(known[name] for name in names) if set(names) <= set(known) else ()


def _numbered(colours: np.ndarray) -> dict[int, tuple[int, int, int]]:
    return {code: (int(r), int(g), int(b)) for code, (r, g, b) in enumerate(colours, 1)}
