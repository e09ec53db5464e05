"""A synthetic three-sensor scene in the layout of the public releases, for the demo and for tests.

The scene is drawn in two steps: a land-cover map (Voronoi fields, towns of building blocks and streets, a river, trunk
roads), then what each sensor sees of it. No sensor tells all six classes apart:

* HSI: spectra are linear mixtures of a few materials, so grass, crops and trees overlap, as do buildings and roads.
* LiDAR: water, roads and grass are flat; trees are as tall as buildings.
* SAR: water, roads and the rough classes differ in backscatter, but speckle blurs neighbouring classes.

With holes, clouds hide a quarter of HSI, and the swath of the SAR ends inside the scene.

Command line: ``python -m mamol.data.synthetic --out DIR [--seed 0] [--holes]``.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import savemat
from scipy.ndimage import gaussian_filter, gaussian_filter1d, label
from scipy.spatial import cKDTree

from mamol.core.errors import MamolError
from mamol.core.files import replacing

CLASSES = ("water", "grass", "crops", "trees", "buildings", "roads")
BANDS = 48
SMALLEST_SIDE = 32
_WATER, _GRASS, _CROPS, _TREES, _BUILDINGS, _ROADS = range(6)


@dataclass(frozen=True)
class _Cover:
    """What a class looks like to the sensors.

    Attributes:
        materials: Mean share of vegetation, soil, water, asphalt, roofing and shade in a pixel; adds up to 1.
        metres: Mean height above ground.
        field_metres: Standard deviation of the height between fields, or between buildings.
        pixel_metres: Standard deviation of the height within a field.
        decibels: Mean backscatter of VV and VH.
    """

    materials: tuple[float, float, float, float, float, float]
    metres: float
    field_metres: float
    pixel_metres: float
    decibels: tuple[float, float]


# One row per class, in the order of CLASSES.
_COVERS = (
    _Cover((0.00, 0.06, 0.84, 0.00, 0.00, 0.10), 0.0, 0.00, 0.05, (-20.0, -27.0)),
    _Cover((0.62, 0.32, 0.00, 0.00, 0.00, 0.06), 0.2, 0.10, 0.10, (-12.5, -19.0)),
    _Cover((0.52, 0.40, 0.00, 0.00, 0.00, 0.08), 0.7, 0.30, 0.15, (-10.5, -16.5)),
    _Cover((0.66, 0.16, 0.00, 0.00, 0.00, 0.18), 7.5, 2.50, 2.00, (-8.5, -13.5)),
    _Cover((0.02, 0.06, 0.00, 0.34, 0.46, 0.12), 7.0, 2.50, 0.40, (-4.0, -11.5)),
    _Cover((0.04, 0.12, 0.00, 0.52, 0.24, 0.08), 0.1, 0.05, 0.10, (-16.0, -23.0)),
)
_MATERIAL_SPREAD = 0.13
_FIELD_DECIBELS = 1.2
_LOOKS = 4
CLOUDED, UNCOVERED = 0.25, 0.2
"""Shares of the scene that clouds hide from HSI, and that lie outside the SAR's swath."""
_CLOUD_PIXELS = 5.0
_SWATH_TILT = 0.25
"""Columns by which the edge of a swath moves from a row to the next."""


def write_synthetic_scene(
    root: Path, *, seed: int = 0, height: int = 96, width: int = 160, holes: bool = False
) -> Path:
    """Writes a scene as four MATLAB files, in the layout that the paper's README uses.

    ``HSI.mat['HSI']`` (H, W, 48) uint16, reflectance × 10 000 at 400-1000 nm; ``LiDAR.mat['LiDAR']`` (H, W) float32,
    metres above ground; ``SAR.mat['SAR']`` (H, W, 2) float32, VV and VH in dB; ``All_label.mat['All_label']`` (H, W)
    uint8, 1-6 in the order of ``CLASSES``, 0 where the ground truth has gaps.

    Args:
        root: Folder to write to; it is created, and files of these names in it are replaced.
        seed: Seed of everything random; the same seed gives the same bytes.
        height: Rows, at least ``SMALLEST_SIDE``.
        width: Columns, at least ``SMALLEST_SIDE``.
        holes: Whether HSI has clouds and the SAR ends at the edge of its swath. What they did not see is NaN, so HSI
            is then float32; all else is as without.

    Returns:
        ``root``.

    Raises:
        MamolError: If the seed is negative, a side is too small, or ``root`` is a file.
    """
    root = Path(root)
    _check(root, seed, height, width)
    layout_rng, hsi_rng, lidar_rng, sar_rng, label_rng, cloud_rng = np.random.default_rng(seed).spawn(6)
    cover, field = _land_cover(layout_rng, height, width)
    rasters = {
        "HSI": _hyperspectral(hsi_rng, cover),
        "LiDAR": _lidar(lidar_rng, cover, field),
        "SAR": _sar(sar_rng, cover, field),
        "All_label": _ground_truth(label_rng, cover),
    }
    if holes:
        rasters["HSI"] = rasters["HSI"].astype(np.float32)
        rasters["HSI"][cloud_blobs(cloud_rng, (height, width), CLOUDED)] = np.nan
        rasters["SAR"][beyond_swath((height, width), UNCOVERED)] = np.nan
    for name, raster in rasters.items():
        _save_mat(root / f"{name}.mat", name, raster)
    return root


def _check(root: Path, seed: int, height: int, width: int) -> None:
    if seed < 0:
        raise MamolError(f"seed: found {seed}, expected 0 or more; choose another seed")
    for key, side in (("height", height), ("width", width)):
        if side < SMALLEST_SIDE:
            raise MamolError(
                f"{key}: found {side} pixels, expected at least {SMALLEST_SIDE} to hold all six classes; choose more"
            )
    if root.exists() and not root.is_dir():
        raise MamolError(f"{root}: found a file, expected a folder for the scene's .mat files; choose another path")


def _save_mat(path: Path, name: str, raster: np.ndarray) -> None:
    buffer = io.BytesIO()
    savemat(buffer, {name: raster})
    # The first 116 bytes are free text, where scipy puts the time of day: with it no two files have equal sha256.
    header = b"MATLAB 5.0 MAT-file, synthetic scene of mamol".ljust(116)
    with replacing(path) as temporary:
        temporary.write_bytes(header + buffer.getvalue()[116:])


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """A random field with mean 0, standard deviation 1 and a correlation length of about ``scale`` pixels."""
    field = gaussian_filter(rng.standard_normal(shape), scale, mode="reflect", axes=(0, 1))
    return (field - field.mean()) / field.std()


def cloud_blobs(rng: np.random.Generator, shape: tuple[int, int], share: float) -> np.ndarray:
    """Pixels (H, W) under clouds of some pixels' width.

    Args:
        rng: Source of chance.
        shape: Rows and columns.
        share: Of the pixels that they hide.
    """
    field = _smooth(rng, shape, _CLOUD_PIXELS)
    return field > np.quantile(field, 1 - share)


def beyond_swath(shape: tuple[int, int], share: float) -> np.ndarray:
    """Pixels (H, W) to the right of a swath's slanting edge.

    Args:
        shape: Rows and columns.
        share: Of the pixels that lie there.
    """
    row, col = np.mgrid[: shape[0], : shape[1]]
    across = col + _SWATH_TILT * row
    return across > np.quantile(across, 1 - share)


def _land_cover(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws the class index (H, W) of every pixel and the number (H, W) of the field that it lies in."""
    row, col = np.mgrid[:height, :width].astype(float)
    down, across = max(3, round(height / 16)), max(4, round(width / 16))
    jitter = rng.uniform(0.1, 0.9, (down * across, 2))
    sites = (np.argwhere(np.ones((down, across))) + jitter) * (height / down, width / across)
    field = cKDTree(sites).query(np.stack([row, col], axis=-1))[1]
    uses = rng.permutation(np.resize([_GRASS, _CROPS, _TREES, _BUILDINGS], len(sites)))
    cover = uses[field]

    # Towns: square blocks, turned by each field's own angle, with streets between them.
    angle = rng.uniform(0, np.pi / 2, len(sites))[field]
    along, beside = row * np.cos(angle) + col * np.sin(angle), col * np.cos(angle) - row * np.sin(angle)
    block = (along % 8 < 6) & (beside % 8 < 6)
    cover[(cover == _BUILDINGS) & ~block] = _ROADS

    meander = gaussian_filter1d(rng.standard_normal(height), height / 8)
    middle = width * (rng.uniform(0.55, 0.75) + 0.06 * meander / np.abs(meander).max())
    cover[np.abs(col - middle[:, None]) < max(2.5, 0.045 * width)] = _WATER

    # Two trunk roads, one of them over the river; the other stays clear of it.
    west_east = height * rng.uniform(0.25, 0.75) + rng.uniform(-0.2, 0.2) * (col - width / 2)
    north_south = width * rng.uniform(0.15, 0.4) + rng.uniform(-0.15, 0.15) * (row - height / 2)
    cover[(np.abs(row - west_east) < 1.6) | (np.abs(col - north_south) < 1.6)] = _ROADS
    return cover, field


def _ground_truth(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """Labels 1-6 (H, W) with patches of 0: a quarter of the scene was never surveyed."""
    survey = _smooth(rng, cover.shape, 3)
    return np.where(survey < np.quantile(survey, 0.75), cover + 1, 0).astype(np.uint8)


def _material_spectra() -> np.ndarray:
    """Reflectance (6, BANDS) of the materials in the order of ``_Cover.materials``, shaped after field spectra."""
    nm = np.linspace(400, 1000, BANDS)
    ramp = (nm - 400) / 600
    red_edge = 1 / (1 + np.exp(-(nm - 715) / 15))
    vegetation = 0.04 + 0.07 * np.exp(-(((nm - 550) / 35) ** 2)) + 0.42 * red_edge
    soil = 0.08 + 0.26 * ramp
    water = 0.07 * np.exp(-2.5 * ramp)
    asphalt = 0.10 + 0.06 * ramp
    roofing = 0.12 + 0.14 * ramp**0.7
    shade = np.full(BANDS, 0.01)
    return np.stack([vegetation, soil, water, asphalt, roofing, shade])


def _hyperspectral(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """Linear mixtures of materials under uneven light, as reflectance × 10 000, (H, W, BANDS) uint16."""
    spectra = _material_spectra()
    means = np.array([kind.materials for kind in _COVERS])[cover]
    scatter = 0.8 * _smooth(rng, means.shape, 2.5) + 0.6 * rng.standard_normal(means.shape)
    # A material that a class does not contain does not appear by chance; its share scatters with its size.
    shares = np.clip(means + _MATERIAL_SPREAD * 2 * np.sqrt(means) * scatter, 0, None)
    shares = np.where(shares.any(axis=-1, keepdims=True), shares, means)  # chance may take all materials of a pixel
    shares /= shares.sum(axis=-1, keepdims=True)
    shares = gaussian_filter(shares, 0.6, axes=(0, 1))  # the point spread mixes neighbours
    light = 1 + 0.08 * _smooth(rng, cover.shape, 12)
    reflectance = shares @ spectra * light[..., None] + 0.006 * rng.standard_normal((*cover.shape, BANDS))
    return np.clip(np.rint(reflectance * 10_000), 0, 65_535).astype(np.uint16)


def _lidar(rng: np.random.Generator, cover: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Height above ground in metres, (H, W) float32, with a ranging noise of 0.1 m."""
    mean, between, within = (
        np.array([getattr(kind, key) for kind in _COVERS])[cover] for key in ("metres", "field_metres", "pixel_metres")
    )
    buildings, count = label(cover == _BUILDINGS)
    fields = int(field.max()) + 1
    owner = np.where(buildings > 0, fields + buildings - 1, field)
    height = mean + between * rng.uniform(-1.7, 1.7, fields + count)[owner] + within * _smooth(rng, cover.shape, 1)
    return (np.clip(height, 0, None) + 0.1 * rng.standard_normal(cover.shape)).astype(np.float32)


def _sar(rng: np.random.Generator, cover: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Backscatter of VV and VH in dB, (H, W, 2) float32, under multi-look (gamma-distributed) speckle."""
    decibels = np.array([kind.decibels for kind in _COVERS])[cover]
    decibels += _FIELD_DECIBELS * rng.standard_normal((int(field.max()) + 1, 2))[field]
    speckle = rng.gamma(_LOOKS, 1 / _LOOKS, decibels.shape)
    return (decibels + 10 * np.log10(speckle)).astype(np.float32)


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes a scene from the command line.

    Args:
        arguments: The command line without the program's name; ``None`` takes the process's own.

    Returns:
        The exit status: 0, or 1 after a mistake in the arguments, which is written to stderr as one line.
    """
    parser = argparse.ArgumentParser(prog="python -m mamol.data.synthetic", description="Write a synthetic scene.")
    parser.add_argument("--out", type=Path, required=True, help="folder for HSI.mat, LiDAR.mat, SAR.mat, All_label.mat")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    parser.add_argument("--height", type=int, default=96, help="rows (default: 96)")
    parser.add_argument("--width", type=int, default=160, help="columns (default: 160)")
    parser.add_argument("--holes", action="store_true", help="clouds over HSI, and a swath edge in SAR, as NaN")
    options = parser.parse_args(arguments)
    try:
        folder = write_synthetic_scene(
            options.out, seed=options.seed, height=options.height, width=options.width, holes=options.holes
        )
    except MamolError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"synthetic scene: {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
