"""``python -m benchmarks.dense_maps``: whole maps of both heads, of one seed, scored, timed and side by side.

The class token's map has one window per pixel, so this takes most of an hour. A map that is there is not drawn again.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import mamol
from benchmarks.dense import BATCH, oa_of_map, tables_of, training, way_of
from benchmarks.harness import quiet_and_repeatable
from benchmarks.pairs import given_of, in_one_line, parser_of, scene_of, show
from mamol.core.errors import MamolError
from mamol.core.files import write_json
from mamol.data.scenes import Scene
from mamol.data.scenetable import SceneTable
from mamol.data.tables import open_tables
from mamol.evaluation.markdown import markdown
from mamol.evaluation.plots import class_colours, save_figure

CLASS, DENSE = "class8", "pixels16"
SHARES = (1, 2, 4)
"""Strides of the dense map: these parts of a window's side."""


def run_of(out: Path, tables: Path, way: str, seed: int, epochs: int) -> mamol.Run:
    """A trained run, the one of an earlier call if there is one.

    Args:
        out: Folder of the runs.
        tables: To train on.
        way: Head and side of the windows.
        seed: Of the weights.
        epochs: Passes over the training pixels.
    """
    saved = out / f"{way}_run"
    if not saved.is_dir():
        options = {**training(BATCH), "head": way_of(way).head, "max_epoch": epochs, "val_check_interval": epochs}
        mamol.train(tables, log_dir=out / "training", seed=seed, **options).save(saved)
    return mamol.load(saved)


def drawn(out: Path, run: mamol.Run, scene: Scene, test: SceneTable, name: str, stride: int | None) -> dict[str, Any]:
    """A map, the one of an earlier call if there is one.

    Args:
        out: Where it is kept.
        run: What draws it.
        scene: What is mapped.
        test: The test pixels.
        name: Of the map.
        stride: From window to window, of a dense head.

    Returns:
        ``map``, its name; ``seconds`` of the processor; ``OA`` in percent at the test pixels; ``classes``, (H, W).
    """
    file = name.replace(", ", "_").replace(" ", "")
    path, facts = out / f"{file}.npy", out / f"{file}.json"
    if not facts.is_file():
        began = time.process_time()
        found = run.map(dict(scene.rasters), stride=stride)
        seconds = time.process_time() - began
        np.save(path, found.classes)
        write_json(facts, {"map": name, "seconds": round(seconds, 1), "OA": round(oa_of_map(found, test), 2)})
    return {**json.loads(facts.read_text("utf-8")), "classes": np.load(path)}


def figure(scene: Scene, maps: Sequence[Mapping[str, Any]]) -> Figure:
    """Labels and maps, along the scene's shorter side, and where the first and the last map differ.

    Args:
        scene: With its labels.
        maps: As of ``drawn``.
    """
    names = scene.classes
    first, last = maps[0]["classes"], maps[-1]["classes"]
    differs = np.where(first == last, 0, last)
    images = [("reference", scene.labels), *((each["map"], each["classes"]) for each in maps)]
    images.append((f"where {maps[-1]['map']} differs from {maps[0]['map']}", differs))
    wide, ratio = scene.width >= scene.height, scene.height / scene.width
    down, across = (len(images), 1) if wide else (1, len(images))
    size = (8, 0.8 + 8 * down * ratio) if wide else (8, 0.8 + 8 / across * ratio)
    result = Figure(figsize=size, layout="constrained")
    colours = ["white", *(colour / 255 for colour in class_colours(len(names)))]
    plots = result.subplots(down, across, squeeze=False).flat
    for axes, (title, image) in zip(plots, images, strict=True):
        axes.imshow(image, cmap=ListedColormap(colours), vmin=0, vmax=len(names), interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    keys = [Patch(facecolor=colour, label=name) for colour, name in zip(colours[1:], names, strict=True)]
    result.suptitle(f"{scene.name} (random frozen weights)", fontsize=10)
    result.legend(handles=keys, loc="outside lower center", ncols=min(len(names), 6), fontsize=7, frameon=False)
    return result


@in_one_line
def main(arguments: Sequence[str] | None) -> None:
    """Draws what is missing, then writes table and figure."""
    parser = parser_of("python -m benchmarks.dense_maps", __doc__, modalities="two of them", epochs=8)
    parser.add_argument("--seed", type=int, default=0, help="of split and weights (default: 0)")
    options = parser.parse_args(arguments)
    quiet_and_repeatable()
    scene = scene_of(options)
    given = given_of(options)
    maps = []
    for way in (CLASS, DENSE):
        side = way_of(way).side
        tables = tables_of(options.root, given, options.out / "tables", side, "disjoint", options.seed)
        test = open_tables(tables)["test"]
        if not isinstance(test, SceneTable):
            raise MamolError(f"{tables}: is no table of a scene")
        run = run_of(options.out, tables, way, options.seed, options.epochs)
        strides = [side // share for share in SHARES] if way == DENSE else [None]
        for stride in strides:
            name = f"{way}, stride {stride}" if stride else way
            maps.append(drawn(options.out, run, scene, test, name, stride))
            sys.stderr.write(f"{name}: {maps[-1]['seconds']} s, OA {maps[-1]['OA']}\n")
    save_figure(figure(scene, [maps[0], maps[1]]), options.out / "dense_maps.png")
    text = f"{markdown(pd.DataFrame([{k: v for k, v in each.items() if k != 'classes'} for each in maps]))}\n"
    show(text, options.out)


if __name__ == "__main__":
    sys.exit(main())
