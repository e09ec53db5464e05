"""``python -m benchmarks.neighbours``: networks that see whole windows, beside MaMOL with a head for every pixel.

All are trained on the same windows for as many optimiser steps, with the same missing patterns, and scored at the pixel
in the middle of each test window under every pattern. None is tuned: all have the options that they have by default.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mamol
from benchmarks.dense import oa_of_map, training
from benchmarks.harness import quiet_and_repeatable
from benchmarks.pairs import finished, given_of, in_one_line, parser_of, scene_of, show, spread
from mamol.core.errors import MamolError
from mamol.core.names import pattern_name
from mamol.data.scenes import Scene
from mamol.data.scenetable import SceneTable
from mamol.data.tables import open_tables
from mamol.evaluation.markdown import markdown
from mamol.evaluation.patterns import all_patterns

SIDE = 16
TRAIN, TEST = 100, 150
"""Pixels per class."""
BATCH = 16
WAYS: dict[str, dict[str, Any]] = {
    "unet": {"network": "unet"},
    "dis2": {"network": "dis2"},
    "perceiver": {"network": "perceiver"},
    "perceiver volumetric": {"network": "perceiver", "volumetric": True},
    "mamol pixels": {"head": "pixels"},
    "mamol pixels compensate": {"head": "pixels", "compensate": True},
}
"""What is compared, and the options that make it."""


def tables_of(options: Any, folder: Path, seed: int) -> Path:  # noqa: ANN401 - parsed arguments
    """Tables of ``SIDE`` × ``SIDE`` windows in blocks that share no pixel.

    Args:
        options: Of the command line.
        folder: Of all tables.
        seed: Of the split.
    """
    out: Path = folder / f"seed{seed}"
    given = {**given_of(options), "seed": seed}
    wanted = {"protocol": options.protocol, "layout": "scene", "patch_size": SIDE, "margin": SIDE // 2}
    if options.protocol != "blocks":
        wanted.pop("margin")
    mamol.build_tables(options.root, out=out, train_per_class=TRAIN, test_per_class=TEST, **wanted, **given)
    return out


def oa_by_pattern(run: mamol.Run, test: SceneTable) -> dict[str, float]:
    """OA in percent at the pixels in the middle of the test windows, under every pattern of all of them.

    Args:
        run: The run.
        test: The test table.
    """
    names, samples = list(run.modalities), np.arange(len(test))
    windows = {name: test.windows(name, samples) for name in names}
    found = {}
    for pattern in all_patterns(len(names)):
        there = {name: windows[name] for name, present in zip(names, pattern, strict=True) if present}
        right = run.predict(there).argmax(1) == test.label
        found[pattern_name(pattern, names)] = round(100 * float(right.mean()), 2)
    return found


def measure(scene: Scene, tables: Path, way: str, seed: int, epochs: int) -> dict[str, Any]:
    """Trains a network and scores it.

    Args:
        scene: What is mapped.
        tables: Of it.
        way: A name in ``WAYS``.
        seed: Of the weights.
        epochs: Passes over the training pixels.
    """
    opened = open_tables(tables)
    test = opened["test"]
    if not isinstance(test, SceneTable):
        raise MamolError(f"{tables}: is no table of a scene")
    steps = epochs * -(-len(opened["train"]) // BATCH)
    length = {"max_epoch": epochs, "val_check_interval": epochs}
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        run = mamol.train(
            tables, log_dir=folder, seed=seed, **{**training(BATCH), **length, "missing_type": "all", **WAYS[way]}
        )
        trained = time.process_time() - began
        began = time.process_time()
        drawn = run.map(dict(scene.rasters), stride=SIDE)
        mapped = time.process_time() - began
        return {
            "way": way,
            "seed": seed,
            "steps": steps,
            "tested": len(test),
            "parameters": run.metrics["params"]["trainable"],
            "step_seconds": round(trained / steps, 3),
            "map_seconds": round(mapped, 2),
            "map_OA": round(oa_of_map(drawn, test), 2),
            "OA": oa_by_pattern(run, test),
        }


def page(folder: Path) -> str:
    """The table of the results that are there.

    Args:
        folder: Of the results of one scene.
    """
    results = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    rows = []
    for way in WAYS:
        each = [result for result in results if result["way"] == way]
        if each:
            rows.append(_row(way, each))
    return f"{markdown(pd.DataFrame(rows))}\n"


def _row(way: str, results: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {
        "network": way,
        "seeds": str(len(results)),
        "steps": str(results[0]["steps"]),
        "parameters": f"{results[0]['parameters']:,}",
        "step (s)": spread([each["step_seconds"] for each in results], 2),
        "map (s)": spread([each["map_seconds"] for each in results], 0),
        "map": spread([each["map_OA"] for each in results]),
        **{name: spread([each["OA"][name] for each in results]) for name in results[0]["OA"]},
    }


@in_one_line
def main(arguments: Sequence[str] | None) -> None:
    """Makes the results that are missing, then the table of all that are there."""
    parser = parser_of("python -m benchmarks.neighbours", __doc__, modalities="two or more", epochs=4)
    parser.add_argument("--protocol", default="blocks", help="disjoint or blocks (default: blocks)")
    options = parser.parse_args(arguments)
    quiet_and_repeatable()
    scene = scene_of(options, most=None)
    folder = options.out / f"{scene.name}_{options.protocol}"
    for seed in range(options.seeds):
        for way in WAYS:

            def make(way: str = way, seed: int = seed) -> Mapping[str, Any]:
                tables = tables_of(options, folder / "tables", seed)
                return measure(scene, tables, way, seed, options.epochs)

            finished(folder / f"{way.replace(' ', '_')}_seed{seed}.json", make)
    text = page(folder)
    show(text, folder)


if __name__ == "__main__":
    sys.exit(main())
