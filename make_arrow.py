"""Builds Arrow tables from a raw scene: one command for every dataset.

    python make_arrow.py --dataset trento --root datasets/trento --out build/trento

datasets/README.md says where the raw files come from, docs/DATASETS.md how to add a scene.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mamol.data.facts import DATASETS
from mamol.data.prepare import Options, prepare
from mamol.data.splits import PROTOCOLS
from mamol.data.tableinfo import LAYOUTS
from mamol.errors import MamolError


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(description="Builds train, val and test tables from a raw scene.")
    add = result.add_argument
    add("--dataset", required=True, help=", ".join(DATASETS))
    add("--root", required=True, type=Path, help="folder of the raw files")
    add("--out", required=True, type=Path, help="folder of the tables; tables that are there are replaced")
    add("--scene", dest="scene_file", type=Path, help="scene.json that describes a custom scene (--dataset scene)")
    add("--modalities", type=lambda text: tuple(text.split(",")), help="for example hsi,lidar,sar; order counts")
    add("--protocol", default="disjoint", help=f"{', '.join(PROTOCOLS)} (default: disjoint)")
    add("--seed", type=int, default=0, help="seed of the split (default: 0)")
    add("--patch-size", type=int, help="side of the windows (default: 14)")
    add("--train-per-class", type=int, help="training pixels per class (default: 100; official: all)")
    add("--test-per-class", type=int, help="test pixels per class (default: 300; official: all)")
    add("--val-per-class", type=int, help="validation pixels per class, at most (default: 50)")
    add("--layout", default="patches", help=f"{', '.join(LAYOUTS)} (default: patches)")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    options = Options(**vars(parser().parse_args(argv)))
    try:
        print(prepare(options))
    except MamolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
