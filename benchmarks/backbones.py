"""What frozen weights are worth: OA on one scene with random and with pre-trained ones, few labels and many.

All runs of a scene take the same steps on the same tables; split and weights have the same seed. A backbone is
``random`` (``backbone=tiny``) or a folder of ``python run.py pretrain``, in whose name ``{seed}`` stands for the seed:
``--backbones random,own=build/own_seed{seed}/backbone``. A result is made once and kept.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

import mamol
from benchmarks.dense import training
from benchmarks.harness import quiet_and_repeatable
from benchmarks.pairs import finished, given_of, in_one_line, parser_of, show, spread
from mamol.core.errors import MamolError
from mamol.core.options import listed
from mamol.data.tables import open_tables
from mamol.evaluation.markdown import markdown

SIDE, TEST = 8, 150
"""Of the windows; test pixels per class."""
BATCH, STEPS = 32, 150
METHODS = ("mamol", "linear_probe")
RANDOM = "random"


def backbone_of(name: str, seed: int) -> tuple[str, str]:
    """What a word of ``--backbones`` means: its name in the table, and the option ``backbone``.

    Args:
        name: ``random``, or a name and a folder.
        seed: Of the run.

    Raises:
        MamolError: It is neither.
    """
    if name == RANDOM:
        return RANDOM, "tiny"
    known, sign, folder = name.partition("=")
    if not (known and sign and folder):
        raise MamolError(f"backbones: {name!r} is none; expected random, or name=folder of a pre-trained one")
    return known, folder.replace("{seed}", str(seed))


def tables_of(root: Path, given: Mapping[str, Any], out: Path, labels: int, seed: int) -> Path:
    """Tables with so many labels per class; the test pixels need not be the same.

    Args:
        root: Folder of the raw files.
        given: Dataset, modalities and scene.json, as of ``mamol.build_tables``.
        out: Folder of all tables.
        labels: Training pixels per class.
        seed: Of the split.
    """
    folder = out / f"labels{labels}_seed{seed}"
    options: dict[str, Any] = {"layout": "scene", "protocol": "disjoint", "patch_size": SIDE, "seed": seed}
    mamol.build_tables(root, out=folder, train_per_class=labels, test_per_class=TEST, **options, **given)
    return folder


def measure(tables: Path, backbone: str, method: str, seed: int, what: Mapping[str, Any]) -> dict[str, Any]:
    """Trains and scores.

    Args:
        tables: To train and test on.
        backbone: The option.
        method: The option.
        seed: Of the weights.
        what: Goes into the result.
    """
    opened = open_tables(tables)
    epochs = max(1, round(STEPS / -(-len(opened["train"]) // BATCH)))
    length = {"max_epoch": epochs, "val_check_interval": epochs}
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        options = {**training(BATCH), **length, "backbone": backbone, "method": method}
        run = mamol.train(tables, log_dir=folder, seed=seed, **options)
        seconds = time.process_time() - began
        grid = run.evaluate(tables, ratios=[0.0, 0.7], types=["both"])
        oa = grid[grid["present"] == "all"].set_index("ratio")["OA"]
        marks = run.metrics.get("backbone", {})
    return {
        **what,
        "seed": seed,
        "epochs": epochs,
        "tested": len(opened["test"]),
        "training_seconds": round(seconds, 1),
        "transductive": bool(marks.get("transductive")),
        "OA": {"complete": round(float(oa[0.0]), 2), "0.7 both": round(float(oa[0.7]), 2)},
    }


def page(folder: Path) -> str:
    """The table of the results that are there.

    Args:
        folder: Of the results of one scene.
    """
    results = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for each in results:
        found.setdefault((each["labels"], each["method"], each["backbone"]), []).append(each)
    rows = [
        {
            "labels": str(labels),
            "method": method,
            "frozen weights": name + (" (transductive)" if each[0]["transductive"] else ""),
            "seeds": str(len(each)),
            **{pattern: spread([one["OA"][pattern] for one in each]) for pattern in each[0]["OA"]},
        }
        for (labels, method, name), each in found.items()
    ]
    return f"{markdown(pd.DataFrame(rows))}\n"


@in_one_line
def main(arguments: Sequence[str] | None) -> None:
    """Makes the results that are missing, then the table of all that are there."""
    parser = parser_of("python -m benchmarks.backbones", __doc__, modalities="those that are used", epochs=None)
    parser.add_argument("--backbones", default=RANDOM, help=f"as above (default: {RANDOM})")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"default: {','.join(METHODS)}")
    parser.add_argument("--labels", default="10,100", help="training pixels per class (default: 10,100)")
    options = parser.parse_args(arguments)
    quiet_and_repeatable()
    given = given_of(options)
    folder = options.out / (options.scene.stem if options.scene else options.dataset)
    names = listed(options.backbones)
    for seed, labels in product(range(options.seeds), map(int, listed(options.labels))):
        backbones = [backbone_of(name, seed) for name in names]
        tables = tables_of(options.root, given, folder / "tables", labels, seed)
        for (name, backbone), method in product(backbones, listed(options.methods)):
            what = {"labels": labels, "method": method, "backbone": name}
            make = partial(measure, tables, backbone, method, seed, what)
            finished(folder / f"{labels}_{method}_{name}_seed{seed}.json", make)
    text = page(folder)
    show(text, folder)


if __name__ == "__main__":
    sys.exit(main())
