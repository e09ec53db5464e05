"""``python -m benchmarks.field``: one model of whatever was seen, against the ways round the holes.

A scene gets holes from a seed: cloud blobs on its first modality, a swath edge on its second. The same pixels of it
train and test one model with natural holes, and what people do instead: leave incomplete pixels out, fill the holes,
or train a model for each pattern.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import mamol
from benchmarks.field_page import write_page
from benchmarks.harness import quiet_and_repeatable
from mamol.core.errors import MamolError
from mamol.core.files import write_json
from mamol.core.names import pattern_name
from mamol.core.options import listed
from mamol.data.scenes import Scene, load_scene
from mamol.data.scenetable import SceneTable
from mamol.evaluation.patterns import natural_or_all
from mamol.evaluation.predictions import read_predictions

CLOUDY, BEYOND = 0.25, 0.20
"""Shares of the pixels that the first modality misses under clouds, and the second outside its swath."""
BLOB = 12.0
"""Size of the clouds: standard deviation, in pixels, of what smooths the noise."""
PATCH, BATCH = 8, 32
TRAIN, TEST = 100, 300
"""Pixels per class."""
TRAINING = {
    "backbone": "tiny",
    "missing_ratio": 0.0,  # only the holes take modalities
    "precision": "bf16-mixed",
    "batch_size": BATCH,
    "per_gpu_batchsize": BATCH,
    "num_gpus": 0,
    "threads": 1,
    "progress_bar": False,
}
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


def models(first: str, second: str) -> tuple[Model, ...]:
    """The models whose answers make up the ways of ``field_page.WAYS``.

    Args:
        first: The modality under clouds.
        second: The modality with a swath edge.
    """
    both = (first, second)
    return (
        Model("ours", both),
        Model("complete", both, own=True),
        Model("filled", both, filled=True),
        Model("first", (first,), own=True),
        Model("second", (second,), own=True),
    )


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
        self._folder, self._labels = folder, scene.labels
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
            np.save(self._folder / f"{model.name}_{split}.npy", drawn)
        return self._build(model.name, model.modalities, "_filled" * model.filled, maps)

    def _build(
        self, name: str, modalities: Sequence[str], suffix: str = "", maps: Mapping[str, Any] | None = None
    ) -> mamol.Tables:
        """Tables of some of the files, which a scene.json names; of drawn pixels, or of those of label maps."""
        files = {"modalities": {each: {"file": f"{each}{suffix}.npy"} for each in modalities}}
        path = self._folder / f"{name}.json"
        write_json(path, self._scene | files | {"labels": {"file": "labels.npy"}} | dict(maps or {}))
        return mamol.build_tables(
            path,
            out=self._folder / "tables" / name,
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


def right_by_pattern(test: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, int]:
    """How many test pixels of each natural pattern a model gets right.

    Args:
        test: All test pixels, with ``row``, ``col``, ``label`` and ``pattern``.
        predictions: Of a model, with ``row``, ``col`` and ``prediction``; of all or of some of these pixels.

    Returns:
        The patterns that the model answers for.
    """
    joined = predictions[["row", "col", "prediction"]].merge(test, on=["row", "col"], validate="1:1")
    right = (joined["prediction"] == joined["label"]).groupby(joined["pattern"]).sum()
    return {str(pattern): int(count) for pattern, count in right.items()}


def run(field: Field, model: Model, epochs: int, title: str) -> dict[str, Any]:
    """Trains and tests a model.

    Args:
        field: Its tables.
        model: The model.
        epochs: How often ``ours`` sees its training pixels; all models make as many steps.
        title: Of the scene, for readers.

    Returns:
        What the page needs, as plain values.
    """
    steps, test = epochs * -(-len(field.samples["train"]) // BATCH), field.samples["test"]
    tables = field.tables(model)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        trained = mamol.train(tables, log_dir=folder, seed=field.seed, max_epoch=steps, max_steps=steps, **TRAINING)
        spent = time.process_time() - began
        assert trained.folder is not None
        metrics, predictions = trained.metrics, read_predictions(trained.folder)
    return {
        "model": model.name,
        "title": title,
        "seed": field.seed,
        "epochs": epochs,
        "steps": steps,
        "classes": field.classes,
        "modalities": list(field.modalities),
        "trained_on": len(field.chosen("train", model)),
        "tested": {str(pattern): int(count) for pattern, count in test["pattern"].value_counts().items()},
        "right": right_by_pattern(test, predictions),
        "parameters": metrics["params"]["trainable"],
        "seconds": metrics["seconds"]["train"],
        "processor_seconds": round(spent, 2),
    }


def run_all(scene: Scene, out: Path, title: str, seeds: int, epochs: int) -> None:
    """Makes the results that are missing; a result of other epochs is made anew.

    Args:
        scene: Of two modalities, without holes.
        out: Folder of everything that is written.
        title: Of the scene, for readers.
        seeds: How many.
        epochs: As in ``run``.
    """
    for seed in range(seeds):
        left = {
            path: model
            for model in models(*scene.rasters)
            if epochs_of(path := out / "results" / f"{scene.name}_{model.name}_seed{seed}.json") != epochs
        }
        field = Field(out / scene.name / f"seed{seed}", scene, seed) if left else None
        for path, model in left.items():
            assert field is not None
            result = run(field, model, epochs, title)
            write_json(path, result)
            sys.stderr.write(f"{path.stem}: {result['right']} of {result['tested']}, {result['seconds']} s\n")


def epochs_of(path: Path) -> int | None:
    """How many epochs a result is of.

    Args:
        path: The result; it need not be there.
    """
    return json.loads(path.read_text("utf-8"))["epochs"] if path.is_file() else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the results that are missing, then the page of all that are there."""
    parser = argparse.ArgumentParser("python -m benchmarks.field", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the raw files, without holes")
    parser.add_argument("--dataset", default="scene", help="as for make_arrow.py (default: scene)")
    parser.add_argument("--scene", type=Path, help="scene.json of dataset scene")
    parser.add_argument("--modalities", default="hsi,lidar", help="under clouds, with a swath (default: hsi,lidar)")
    parser.add_argument("--title", default="", help="what the page calls the scene (default: its name)")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of results, table and figure; of several scenes"
    )
    parser.add_argument("--seeds", type=int, default=3, help="of holes, split and weights (default: 3)")
    parser.add_argument("--epochs", type=int, default=6, help="of the one model; all make its steps (default: 6)")
    options = parser.parse_args(arguments)
    quiet_and_repeatable()
    try:
        scene = load_scene(
            options.dataset, options.root, modalities=listed(options.modalities), scene_file=options.scene
        )
        if len(scene.rasters) != 2:
            raise MamolError(f"modalities={options.modalities}: expected two, one under clouds and one with a swath")
        run_all(scene, options.out, options.title or scene.name, options.seeds, options.epochs)
        sys.stdout.write(write_page(options.out))
    except MamolError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
