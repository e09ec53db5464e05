"""``python -m benchmarks.dense``: the head of the class token against the head that classifies every pixel.

Runs of the same training pixels, the same number of steps and the same test pixels are scored at the pixel in the
middle of each window under every missing pattern; maps of the whole scene are scored at the same test pixels, with the
windows and the seconds that they took.
"""

import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import mamol
from benchmarks.harness import quiet_and_repeatable
from benchmarks.pairs import finished, given_of, in_one_line, parser_of, scene_of, show, spread
from mamol.core.errors import MamolError
from mamol.core.options import listed
from mamol.data.scenes import Scene
from mamol.data.scenetable import SceneTable
from mamol.data.tables import open_tables
from mamol.evaluation.maps import Map
from mamol.evaluation.markdown import markdown

TRAIN, TEST = 100, 150
"""Pixels per class."""
WIDEST = 16
"""Side of the largest windows; training windows of all ways stay as far from test windows as these need."""
BATCH = 32
"""Training samples at once, unless the command says otherwise."""
ROWS = 8
"""Rows of the scene of which the class token's map is timed; all of it would take an hour."""


def training(batch: int) -> dict[str, Any]:
    """Options of every training.

    Args:
        batch: Training samples at once.
    """
    return {
        "backbone": "tiny",
        "precision": "bf16-mixed",
        "batch_size": batch,
        "per_gpu_batchsize": batch,
        "num_gpus": 0,
        "threads": 1,
        "progress_bar": False,
    }


class Way(NamedTuple):
    """What is compared.

    Attributes:
        head: Its name.
        side: Of the windows.
        blocks: That a dense head reads besides the last one.
    """

    head: str
    side: int
    blocks: tuple[int, ...]


def way_of(name: str) -> Way:
    """Head, side of the windows and further blocks.

    Args:
        name: Such as ``pixels16`` or ``pixels16+3+7``.

    Raises:
        MamolError: It is none.
    """
    found = re.fullmatch(r"(class|pixels)(\d+)((?:\+\d+)*)", name)
    if found is None or (found[1] == "class" and found[3]):
        raise MamolError(
            f"ways: {name!r} is none; expected a head and the side of its windows, such as pixels16, and blocks that "
            "pixels reads besides the last one, such as pixels16+3+7"
        )
    return Way(found[1], int(found[2]), tuple(map(int, found[3].split("+")[1:])))


def tables_of(root: Path, given: Mapping[str, Any], out: Path, side: int, protocol: str, seed: int) -> Path:
    """Tables with windows of a side; the pixels are the same for all sides.

    Args:
        root: Folder of the raw files.
        given: Dataset, modalities and scene.json, as of ``mamol.build_tables``.
        out: Folder of all tables.
        side: Of the windows.
        protocol: As of make_arrow.py.
        seed: Of the split.
    """
    folder = out / f"{protocol}_{side}_seed{seed}"
    margin = WIDEST + WIDEST // 2 - side if protocol == "blocks" else 0
    options: dict[str, Any] = {
        "layout": "scene",
        "protocol": protocol,
        "seed": seed,
        "patch_size": side,
        "margin": margin,
    }
    mamol.build_tables(root, out=folder, train_per_class=TRAIN, test_per_class=TEST, **options, **given)
    return folder


def oa_by_pattern(run: mamol.Run, tables: Path) -> dict[str, float]:
    """OA in percent at the pixels in the middle of the windows.

    Args:
        run: The run.
        tables: With the test pixels.

    Returns:
        ``0.7 both``, then each pattern of all test pixels.
    """
    names = list(run.modalities)
    grid = run.evaluate(tables, ratios=[0.0, 0.7, 1.0], types=["both", *names])
    everything = grid[grid["present"] == "all"]

    def at(kind: str, ratio: float) -> float:
        return float(everything[(everything["type"] == kind) & (everything["ratio"] == ratio)]["OA"].iloc[0])

    alone = {other: at(name, 1.0) for name, other in zip(names, reversed(names), strict=True)}
    return {"0.7 both": at("both", 0.7), "+".join(names): at("both", 0.0), **{n: alone[n] for n in names}}


def oa_of_map(drawn: Map, test: SceneTable) -> float:
    """OA in percent of a map at the test pixels.

    Args:
        drawn: The map.
        test: Their places and labels.
    """
    return 100 * float((drawn.classes[test.row, test.col] == test.label + 1).mean())


def maps_of(run: mamol.Run, scene: Scene, test: SceneTable, strides: Sequence[int]) -> dict[str, dict[str, float]]:
    """Maps of a run with a dense head: their windows, processor seconds and OA.

    Args:
        run: The run.
        scene: What to map.
        test: The test pixels.
        strides: From window to window; every pattern at the first one, all sensors at the others.
    """
    found = {}
    for stride in strides:
        patterns = ["+".join(scene.rasters), *scene.rasters] if stride == strides[0] else ["+".join(scene.rasters)]
        for pattern in patterns:
            began = time.process_time()
            drawn = run.map({name: scene.rasters[name] for name in pattern.split("+")}, stride=stride)
            found[f"{stride} {pattern}"] = {
                "seconds": round(time.process_time() - began, 2),
                "OA": round(oa_of_map(drawn, test), 2),
            }
    return found


def seconds_per_pixel(run: mamol.Run, scene: Scene) -> float:
    """What the class token's map costs, in processor seconds, of some rows in the middle of the scene.

    Args:
        run: The run.
        scene: What to map.
    """
    middle = scene.height // 2
    part = {name: raster[middle : middle + ROWS] for name, raster in scene.rasters.items()}
    began = time.process_time()
    drawn = run.map(part)
    return (time.process_time() - began) / drawn.classes.size


def measure(
    scene: Scene, tables: Path, way: str, seed: int, epochs: int, strides: bool, batch: int = BATCH
) -> dict[str, Any]:
    """Trains a way and scores it.

    Args:
        scene: Of two modalities.
        tables: Of it.
        way: Head, side of the windows and further blocks.
        seed: Of the weights.
        epochs: Passes over the training pixels.
        strides: Whether maps with overlapping windows are drawn, too.
        batch: Training samples at once.
    """
    head, side, blocks = way_of(way)
    test = open_tables(tables)["test"]
    assert isinstance(test, SceneTable)
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        options = {**training(batch), "head": head, "max_epoch": epochs, "val_check_interval": epochs}
        options["head_blocks"] = blocks or None
        run = mamol.train(tables, log_dir=folder, seed=seed, **options)
        trained = time.process_time() - began
        result: dict[str, Any] = {
            "way": way,
            "seed": seed,
            "epochs": epochs,
            "batch": batch,
            "tested": len(test),
            "parameters": run.metrics["params"]["trainable"],
            "training_seconds": round(trained, 1),
            "OA": oa_by_pattern(run, tables),
        }
        if head == "pixels":
            result["maps"] = maps_of(run, scene, test, (side, side // 2) if strides else (side,))
        else:
            result["seconds_per_pixel"] = seconds_per_pixel(run, scene)
    return result


def page(folder: Path, height: int, width: int) -> str:
    """The tables of the results that are there.

    Args:
        folder: Of the results of one scene and protocol.
        height: Of the scene.
        width: Of the scene.
    """
    results = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    by_way: dict[str, list[dict[str, Any]]] = {}
    for each in results:
        by_way.setdefault(each["way"], []).append(each)
    scores = [
        {
            "head, window": way,
            "seeds": len(each),
            **{name: spread([one["OA"][name] for one in each]) for name in each[0]["OA"]},
            "training (s)": spread([one["training_seconds"] for one in each], 0),
        }
        for way, each in by_way.items()
    ]
    costs = [row for way, each in by_way.items() for row in _costs(way, each, height, width)]
    return f"{markdown(pd.DataFrame(scores))}\n\n{markdown(pd.DataFrame(costs))}\n"


def _costs(way: str, results: Sequence[Mapping[str, Any]], height: int, width: int) -> list[dict[str, Any]]:
    """The rows of the second table: what maps take, and how good they are."""
    side = way_of(way).side
    if "maps" not in results[0]:
        seconds = [each["seconds_per_pixel"] * height * width for each in results]
        return [{"map": way, "sensors": "all", "windows": height * width, "s": spread(seconds, 0), "OA": "as above"}]
    rows = []
    for name in max((each["maps"] for each in results), key=len):
        stride, sensors = name.split(" ")
        drawn = [each["maps"][name] for each in results if name in each["maps"]]
        down, across = (-(-max(length - side, 0) // int(stride)) + 1 for length in (height, width))
        rows.append(
            {
                "map": f"{way}, stride {stride}",
                "sensors": sensors,
                "windows": down * across,
                "s": spread([one["seconds"] for one in drawn], 0),
                "OA": spread([one["OA"] for one in drawn]),
            }
        )
    return rows


@in_one_line
def main(arguments: Sequence[str] | None) -> None:
    """Makes the results that are missing, then the tables of all that are there."""
    parser = parser_of("python -m benchmarks.dense", __doc__, modalities="two of them", epochs=8)
    parser.add_argument("--protocol", default="disjoint", help="disjoint or blocks (default: disjoint)")
    parser.add_argument(
        "--ways",
        default="class8,pixels8,pixels16",
        help="heads, sides of their windows, and further blocks: pixels16+3+7",
    )
    parser.add_argument("--batch", type=int, default=BATCH, help=f"training samples at once (default: {BATCH})")
    options = parser.parse_args(arguments)
    quiet_and_repeatable()
    scene, ways = scene_of(options), listed(options.ways)
    folder = options.out / f"{scene.name}_{options.protocol}"
    given = given_of(options)
    for seed in range(options.seeds):
        for way in ways:

            def make(way: str = way, seed: int = seed) -> Mapping[str, Any]:
                side = way_of(way).side
                tables = tables_of(options.root, given, folder / "tables", side, options.protocol, seed)
                return measure(scene, tables, way, seed, options.epochs, seed == 0, options.batch)

            finished(folder / f"{way}_seed{seed}.json", make)
    text = page(folder, scene.height, scene.width)
    show(text, folder)


if __name__ == "__main__":
    sys.exit(main())
