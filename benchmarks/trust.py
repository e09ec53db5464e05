"""What calibration is worth under every missing pattern: coverage and ECE on the test table, by protocol.

Three ways on the same runs: probabilities as they are (sets take them at their word), one temperature and one threshold
for all patterns together, and one of each for every pattern. A result is made once and kept.
"""

import json
import sys
import tempfile
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
from mamol.evaluation.markdown import markdown
from mamol.training.calibrations import calibration_path, read_calibration

SIDE, BATCH = 8, 32
TRAIN, VAL, TEST = 100, 50, 150
"""Pixels per class."""
PROTOCOLS = ("disjoint", "blocks")
NAMES = {"none": "as it is", "common": "one for all", "pattern": "one for each"}
SHOWN = {"ECE": ("ECE (%)", 1), "covered": ("covered (%)", 1), "set_size": ("classes in a set", 2)}


def tables_of(root: Path, given: Mapping[str, Any], out: Path, protocol: str, seed: int) -> Path:
    """Tables of one protocol.

    Args:
        root: Folder of the raw files.
        given: Dataset, modalities and scene.json, as of ``mamol.build_tables``.
        out: Folder of all tables.
        protocol: By which the split is drawn.
        seed: Of the split.
    """
    folder = out / f"{protocol}_seed{seed}"
    sizes = {"train_per_class": TRAIN, "val_per_class": VAL, "test_per_class": TEST}
    options: dict[str, Any] = {"layout": "scene", "protocol": protocol, "patch_size": SIDE, "seed": seed, **sizes}
    mamol.build_tables(root, out=folder, **options, **given)
    return folder


def measure(make: partial[Path], protocol: str, seed: int, epochs: int, coverage: float) -> dict[str, Any]:
    """Trains, calibrates, and takes what the calibration says of the test table.

    Args:
        make: Makes the tables.
        protocol: Of the split.
        seed: Of the weights.
        epochs: Passes over the training pixels.
        coverage: Of the sets.
    """
    tables = make()
    with tempfile.TemporaryDirectory() as folder:
        options = {**training(BATCH), "max_epoch": epochs, "val_check_interval": epochs, "missing_type": "all"}
        run = mamol.train(tables, log_dir=folder, seed=seed, **options)
        machine = {name: options[name] for name in ("num_gpus", "threads", "progress_bar", "precision")}
        mamol.calibrate(run.checkpoint, data_root=tables, coverage=coverage, **machine)
        content = read_calibration(calibration_path(run.checkpoint))
    rows = [row for row in content["scores"] if row["split"] == "test"]
    return {
        "protocol": protocol,
        "seed": seed,
        "epochs": epochs,
        "coverage": coverage,
        "unit": content["unit"],
        "units": {name: one["units"] for name, one in content["patterns"].items()},
        "guaranteed": {name: all(one["guaranteed"]) for name, one in content["patterns"].items()},
        "temperatures": {name: one["temperature"] for name, one in content["patterns"].items()},
        "common_temperature": content["common"]["temperature"],
        "OA": {row["present"]: round(row["OA"], 2) for row in rows if row["calibration"] == "none"},
        "rows": rows,
    }


def page(folder: Path) -> str:
    """The tables of the results that are there, one for each protocol.

    Args:
        folder: Of the results of one scene.
    """
    results = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = []
    for protocol in dict.fromkeys(each["protocol"] for each in results):
        each = [result for result in results if result["protocol"] == protocol]
        units = ", ".join(str(max(one["units"].values())) for one in each)
        parts += [
            f"{protocol}, {len(each)} seeds, coverage {each[0]['coverage']:g}; units of one {each[0]['unit']}: {units}",
            markdown(pd.DataFrame(_rows(each))),
        ]
    return "\n\n".join(parts) + "\n"


def _rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """A line per pattern, with mean and spread over the seeds that have it, of each score under each way."""
    found = pd.DataFrame([row for result in results for row in result["rows"]])
    rows = []
    for name, own in found.groupby("present", sort=False):
        row = {"present": str(name), "OA": spread(own[own["calibration"] == "none"]["OA"].tolist())}
        for score, (label, digits) in SHOWN.items():
            for way, called in NAMES.items():
                row[f"{label}, {called}"] = spread(own[own["calibration"] == way][score].tolist(), digits)
        rows.append(row)
    return rows


@in_one_line
def main(arguments: Sequence[str] | None) -> None:
    """Makes the results that are missing, then the tables of all that are there."""
    parser = parser_of("python -m benchmarks.trust", __doc__, modalities="those that are used", epochs=6)
    parser.add_argument("--protocols", default=",".join(PROTOCOLS), help="of the splits (default: disjoint,blocks)")
    parser.add_argument("--coverage", type=float, default=0.9, help="of the sets (default: 0.9)")
    options = parser.parse_args(arguments)
    if not 0 < options.coverage < 1:
        raise MamolError(f"coverage={options.coverage:g}: expected a number above 0 and below 1")
    quiet_and_repeatable()
    scene = options.scene
    name = options.dataset if scene is None else scene.parent.name if scene.stem == "scene" else scene.stem
    folder = options.out / name
    for seed, protocol in product(range(options.seeds), listed(options.protocols)):
        make = partial(tables_of, options.root, given_of(options), folder / "tables", protocol, seed)
        work = partial(measure, make, protocol, seed, options.epochs, options.coverage)
        finished(folder / f"{protocol}_seed{seed}.json", work)
    text = page(folder)
    show(text, folder)


if __name__ == "__main__":
    sys.exit(main())
