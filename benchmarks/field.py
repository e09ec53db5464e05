"""``python -m benchmarks.field``: one model of whatever was seen, against the ways round the holes.

A scene gets holes from a seed: cloud blobs on its first modality, a swath edge on its second. The same pixels of it
train and test one model with natural holes, and what people do instead: leave incomplete pixels out, fill the holes,
or train a model for each pattern.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

import mamol
from benchmarks.field_page import write_page
from benchmarks.field_scene import Field, Model
from benchmarks.harness import quiet_and_repeatable
from benchmarks.pairs import parser_of, scene_of
from mamol.core.errors import MamolError
from mamol.core.files import write_json
from mamol.data.scenes import Scene
from mamol.evaluation.predictions import read_predictions

BATCH = 32
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
    with tempfile.TemporaryDirectory(dir=field.folder) as folder:
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
    parser = parser_of("python -m benchmarks.field", __doc__, modalities="under clouds, with a swath", epochs=4)
    parser.add_argument("--title", default="", help="what the page calls the scene (default: its name)")
    options = parser.parse_args(arguments)
    quiet_and_repeatable()
    try:
        scene = scene_of(options)
        run_all(scene, options.out, options.title or scene.name, options.seeds, options.epochs)
        sys.stdout.write(write_page(options.out))
    except MamolError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
