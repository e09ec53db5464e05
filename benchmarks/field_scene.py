"""A scene with holes from a seed, and tables of the same pixels for every model of ``benchmarks.field``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import mamol
from mamol.core.files import write_json
from mamol.core.names import pattern_name
from mamol.data.scenes import Scene
from mamol.data.scenetable import SceneTable
from mamol.evaluation.patterns import natural_or_all

CLOUDY, BEYOND = 0.25, 0.20
"""Shares of the pixels that the first modality misses under clouds, and the second outside its swath."""
BLOB = 12.0
"""Size of the clouds: standard deviation, in pixels, of what smooths the noise."""
PATCH = 8
TRAIN, TEST = 100, 300
"""Pixels per class."""
Holes = NDArray[np.bool_]


@dataclass(frozen=True)
class Model:
    """A model to train.

    Attributes:
        name: Of its files.
        modalities: What it is trained on.
        own: Whether it sees only pixels that have all its modalities, and answers only for those that have no others.
        filled: Whether holes were filled with the mean before.
    """

    name: str
    modalities: tuple[str, ...]
    own: bool = False
    filled: bool = False


def clouds(shape: tuple[int, int], share: float, seed: int) -> Holes:
    """Blobs that cover a share of the pixels: smoothed noise above its quantile.

    Args:
        shape: Height and width.
        share: Of the pixels, 0 to 1.
        seed: The same seed gives the same clouds.

    Returns:
        (H, W), True under a cloud.
    """
    noise = gaussian_filter(np.random.default_rng([seed, 0]).normal(size=shape), BLOB)
    return noise >= np.quantile(noise, 1 - share)


def beyond_swath(shape: tuple[int, int], share: float, seed: int) -> Holes:
    """What lies beyond a straight edge of any direction.

    Args:
        shape: Height and width.
        share: Of the pixels beyond it, 0 to 1.
        seed: The same seed gives the same edge.

    Returns:
        (H, W), True outside the swath.
    """
    angle = np.random.default_rng([seed, 1]).uniform(0, 2 * np.pi)
    rows, cols = np.indices(shape)
    along = np.cos(angle) * rows + np.sin(angle) * cols
    return along >= np.quantile(along, 1 - share)


def with_holes(scene: Scene, seed: int) -> dict[str, NDArray[np.float32]]:
    """The rasters of a scene of two modalities, NaN where they now miss it.

    Args:
        scene: The scene, in memory.
        seed: Of the holes.
    """
    shape, holed = (scene.height, scene.width), {}
    masks = clouds(shape, CLOUDY, seed), beyond_swath(shape, BEYOND, seed)
    for (name, raster), mask in zip(scene.rasters.items(), masks, strict=True):
        holed[name] = raster.astype(np.float32)
        holed[name][mask] = np.nan
    return holed


def filled(raster: NDArray[np.float32], mean: Sequence[float]) -> NDArray[np.float32]:
    """A raster without holes.

    Args:
        raster: (H, W, C), NaN where nothing was seen.
        mean: C numbers that stand there then.
    """
    return np.where(np.isnan(raster), np.asarray(mean, np.float32), raster)


class Field:
    """The tables of all models on one scene with the holes of one seed: the same pixels for all.

    Attributes:
        folder: Of the files.
        modalities: Names, the cloudy one first.
        classes: How many there are.
        seed: Of holes, split and weights.
        samples: ``train`` and ``test`` to place, label and natural pattern of each pixel.
    """

    def __init__(self, folder: Path, scene: Scene, seed: int) -> None:
        """Writes the scene as files, and draws its pixels.

        Args:
            folder: Of the files; those that are there are replaced.
            scene: Of two modalities, without holes, with labels.
            seed: Of the holes and the split.
        """
        folder.mkdir(parents=True, exist_ok=True)
        assert scene.labels is not None
        self.modalities, self.classes, self.seed = tuple(scene.rasters), len(scene.classes), seed
        self.folder, self._labels = folder, scene.labels
        self._scene = {"name": scene.name, "classes": list(scene.classes), "note": f"holes drawn from seed {seed}"}
        holed = with_holes(scene, seed)
        for name, array in {"labels": scene.labels, **holed}.items():
            np.save(folder / f"{name}.npy", array)
        drawn = self._build("drawn", self.modalities)
        tables = {split: SceneTable.open(drawn.folder / f"{split}.arrow") for split in ("train", "test")}
        for name, raster in holed.items():
            np.save(folder / f"{name}_filled.npy", filled(raster, tables["train"].info.mean[name]))
        self.samples = {split: _samples(table, self.modalities) for split, table in tables.items()}

    def chosen(self, split: str, model: Model) -> pd.DataFrame:
        """The pixels that a model trains on, or answers for.

        Args:
            split: ``train`` or ``test``.
            model: The model.
        """
        samples = self.samples[split]
        if not model.own:
            return samples
        if split == "test":
            return samples[samples["pattern"] == "+".join(model.modalities)]
        return samples[[set(model.modalities) <= set(pattern.split("+")) for pattern in samples["pattern"]]]

    def tables(self, model: Model) -> mamol.Tables:
        """Builds the tables of a model.

        Args:
            model: The model.
        """
        maps = {}
        for split in ("train", "test"):
            chosen, drawn = self.chosen(split, model), np.zeros_like(self._labels)
            drawn[chosen["row"], chosen["col"]] = chosen["label"] + 1
            maps[f"{split}_labels"] = {"file": f"{model.name}_{split}.npy"}
            np.save(self.folder / f"{model.name}_{split}.npy", drawn)
        return self._build(model.name, model.modalities, "_filled" * model.filled, maps)

    def _build(
        self, name: str, modalities: Sequence[str], suffix: str = "", maps: Mapping[str, Any] | None = None
    ) -> mamol.Tables:
        """Tables of some of the files, which a scene.json names; of drawn pixels, or of those of label maps."""
        files = {"modalities": {each: {"file": f"{each}{suffix}.npy"} for each in modalities}}
        path = self.folder / f"{name}.json"
        write_json(path, self._scene | files | {"labels": {"file": "labels.npy"}} | dict(maps or {}))
        return mamol.build_tables(
            path,
            out=self.folder / "tables" / name,
            protocol="official" if maps else "disjoint",
            seed=self.seed,
            patch_size=PATCH,
            train_per_class=None if maps else TRAIN,
            test_per_class=None if maps else TEST,
            val_per_class=0,
            layout="scene",
        )


def _samples(table: SceneTable, modalities: Sequence[str]) -> pd.DataFrame:
    """Place, label and natural pattern of the samples of a table."""
    natural = natural_or_all(table, modalities)
    patterns = [pattern_name(row, modalities) for row in natural]
    return pd.DataFrame({**table.keys, "label": table.label, "pattern": patterns})
