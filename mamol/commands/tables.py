"""``make_arrow.py``: from the command line to tables."""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from mamol.api.tables import build_tables
from mamol.core.errors import MamolError
from mamol.core.names import PROTOCOLS
from mamol.core.plugins import load_plugins
from mamol.data.facts import DATASETS
from mamol.data.imagetext import registry
from mamol.data.imagetext.facts import BROKEN_IMAGES, PLOTS, WITHOUT_TEXT, ImageTextOptions
from mamol.data.imagetext.hatefulmemes import TEST_FILES
from mamol.data.prepare import Options
from mamol.data.sceneinfo import LAYOUTS

COMMON = ("dataset", "root", "out")
PLUGINS = "plugins"


def parser() -> argparse.ArgumentParser:
    """The command line; an option that is not given has no attribute in its result."""
    result = argparse.ArgumentParser(
        description="Builds train, val and test tables from raw data.", argument_default=argparse.SUPPRESS
    )
    add = result.add_argument
    add("--dataset", required=True, help=", ".join((*DATASETS, *registry.IMAGE_TEXT_DATASETS)))
    add("--root", required=True, type=Path, help="folder of the raw files")
    add("--out", required=True, type=Path, help="folder of the tables; tables that are there are replaced")
    add("--plugins", type=lambda text: text.split(","), help="Python files that register datasets")
    add = result.add_argument_group("scenes", ", ".join(DATASETS)).add_argument
    add("--scene", dest="scene_file", type=Path, help="scene.json that describes a custom scene (--dataset scene)")
    add("--modalities", type=lambda text: tuple(text.split(",")), help="for example hsi,lidar,sar; order counts")
    add("--protocol", help=f"{', '.join(PROTOCOLS)} (default: disjoint)")
    add("--seed", type=int, help="seed of the split (default: 0)")
    add("--patch-size", type=int, help="side of the windows (default: 14)")
    add("--train-per-class", type=int, help="training pixels per class (default: 100; official: all)")
    add("--test-per-class", type=int, help="test pixels per class (default: 300; official: all)")
    add("--val-per-class", type=int, help="validation pixels per class, at most (default: 50)")
    add("--layout", help=f"{', '.join(LAYOUTS)} (default: patches)")
    add = result.add_argument_group("images with texts", ", ".join(registry.IMAGE_TEXT_DATASETS)).add_argument
    add("--broken-images", help=f"images that cannot be decoded: {', '.join(BROKEN_IMAGES)} (default: refuse)")
    add("--plots", help=f"mmimdb: {', '.join(PLOTS)}; with all each is a sample (default: first)")
    add("--test-file", help=f"hateful_memes: {', '.join(TEST_FILES)} (default: the first that is there)")
    add("--without-text", help=f"food101, dishes without a text: {', '.join(WITHOUT_TEXT)} (default: drop)")
    return result


def chosen(arguments: argparse.Namespace) -> Options | ImageTextOptions:
    """What the command line asks for.

    Args:
        arguments: Of ``parser``.

    Raises:
        MamolError: If there is no such dataset, or an option is for others.
    """
    given = {name: value for name, value in vars(arguments).items() if name != PLUGINS}
    facts, known = registry.find(given["dataset"]), (*DATASETS, *registry.IMAGE_TEXT_DATASETS)
    if facts is None and given["dataset"].lower() not in DATASETS:
        raise MamolError(f"dataset {given['dataset']!r} is unknown; known: {', '.join(known)}")
    allowed = registry.options_of(facts) if facts else {each.name for each in fields(Options)}
    flags = {name: "--scene" if name == "scene_file" else f"--{name.replace('_', '-')}" for name in (*given, *allowed)}
    foreign = [flags[name] for name in given if name not in allowed]
    if foreign:
        takes = ", ".join(sorted(flags[name] for name in allowed if name not in COMMON))
        raise MamolError(f"{', '.join(foreign)}: not for dataset {given['dataset']}, which takes {takes}")
    return ImageTextOptions(**given) if facts else Options(**given)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: Without the program's name; None takes the process's own.

    Returns:
        Exit status: 0, or 1 after a mistake of the user's, which is told in one line on stderr.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    arguments = parser().parse_args(argv)
    try:
        load_plugins(getattr(arguments, PLUGINS, ()))
        sys.stdout.write(f"{build_tables(chosen(arguments))}\n")
    except MamolError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0
