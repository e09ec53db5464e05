"""Where the arrays of a scene lie and how their numbers are to be read, as data."""

from dataclasses import dataclass
from typing import Literal, get_args

Resampled = Literal["nearest", "bilinear", "cubic", "average"]
RESAMPLINGS: tuple[str, ...] = get_args(Resampled)
RuleName = Literal["invalid", "valid", "bits"]
RULES: tuple[str, ...] = get_args(RuleName)


@dataclass(frozen=True)
class ArrayFile:
    """One place where an array may lie.

    Attributes:
        file: File name relative to the root, any letter case; without suffix, ``.mat``, ``.npy``, ``.tif`` are tried.
        variable: Variable in a ``.mat`` file (a dotted path into a struct), or None: the variable called like the
            file, else the only one.
        exact: Whether no other variable will do; releases differ in the names of theirs, a scene.json means its own.
    """

    file: str
    variable: str | None = None
    exact: bool = False

    def __str__(self) -> str:
        """The place as messages show it."""
        return self.file if self.variable is None else f"{self.file}[{self.variable!r}]"


Candidates = tuple[ArrayFile, ...]


def files(*specs: str) -> Candidates:
    """Candidates from texts.

    Args:
        specs: ``file`` or ``file:variable`` each, in the order in which they are tried.
    """
    return tuple(ArrayFile(file, variable or None) for file, _, variable in (spec.partition(":") for spec in specs))


@dataclass(frozen=True)
class Values:
    """How the numbers in a file become the numbers of a modality.

    Attributes:
        bands: Numbers of the bands that are read, from 1; empty: all.
        nodata: The number that stands where nothing was seen, beside what the file says itself; None: no other.
        scale: Factor of the stored numbers.
        offset: What is added after that.
    """

    bands: tuple[int, ...] = ()
    nodata: float | None = None
    scale: float = 1.0
    offset: float = 0.0

    @property
    def scaled(self) -> bool:
        """Whether the numbers change."""
        return (self.scale, self.offset) != (1.0, 0.0)


@dataclass(frozen=True)
class MaskPlace:
    """A quality raster, such as Sentinel-2's SCL, that says which pixels of a modality are invalid.

    Attributes:
        files: One for the modality, or one for each of its mosaic's files.
        rule: What ``values`` lists: the invalid values, the valid ones, or the bits that make a pixel invalid.
        values: The values or bits.
    """

    files: Candidates
    rule: RuleName
    values: tuple[int, ...]


@dataclass(frozen=True)
class RasterPlace:
    """How the raster of a modality is put together.

    Attributes:
        parts: Several files, each of which must be there; empty: the first candidate that is there.
        stacked: Whether the parts are the modality's bands, one after the other, and not a mosaic.
        values: How the numbers in the files are read.
        mask: A quality raster; None: there is none.
        resampling: How it is brought onto another grid.
    """

    parts: Candidates = ()
    stacked: bool = False
    values: Values = Values()
    mask: MaskPlace | None = None
    resampling: Resampled = "bilinear"


@dataclass(frozen=True)
class GridPlace:
    """A grid that no file has.

    Attributes:
        crs: Coordinate reference system, ``EPSG:32633`` or WKT.
        resolution: Width and height of a pixel in the units of ``crs``.
        bounds: Left, bottom, right and top; the grid begins at left and top and covers them.
    """

    crs: str
    resolution: tuple[float, float]
    bounds: tuple[float, float, float, float]
