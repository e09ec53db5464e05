"""``make_arrow.py``: from the command line to tables."""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from mamol.api.tables import build, options_of
from mamol.core.errors import MamolError
from mamol.core.names import PROTOCOLS
from mamol.core.plugins import load_plugins
from mamol.data.facts import DATASETS
from mamol.data.imagetext import registry
from mamol.data.imagetext.facts import BROKEN_IMAGES, PLOTS, WITHOUT_TEXT
from mamol.data.imagetext.hatefulmemes import TEST_FILES
from mamol.data.sceneinfo import LAYOUTS, TASKS_OF_SCENES

PLUGINS = "plugins"
EXAMPLES = """examples:
  {program} --dataset trento --root RAW --out tables
  {program} --dataset augsburg --root RAW --out tables --modalities hsi,sar,lidar --protocol blocks
  {program} --dataset scene --root RAW --scene scene.json --out tables --patch-size 8
  {program} --dataset scene --root AREA --out tables --protocol scenes
  {program} --dataset scene --root AREA --out tables --task segmentation --tile 64"""


def parser(program: str) -> argparse.ArgumentParser:
    """The command line; an option that is not given has no attribute in its result.

    Args:
        program: How the user calls it.
    """
    result = argparse.ArgumentParser(
        program,
        description="Builds train, val and test tables from raw data.",
        epilog=EXAMPLES.format(program=program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = result.add_argument
    add("--dataset", required=True, help=", ".join((*DATASETS, *registry.IMAGE_TEXT_DATASETS)))
    add("--root", required=True, type=Path, help="folder of the raw files, or of several scenes")
    add("--out", required=True, type=Path, help="folder of the tables; tables that are there are replaced")
    add("--plugins", type=lambda text: text.split(","), help="Python files that register datasets")
    add = result.add_argument_group("scenes", ", ".join(DATASETS)).add_argument
    add("--scene", dest="scene_file", type=Path, help="scene.json of a scene, or a list of several (--dataset scene)")
    add("--modalities", type=lambda text: tuple(text.split(",")), help="for example hsi,lidar,sar; order counts")
    add("--protocol", help=f"{', '.join(PROTOCOLS)} (default: disjoint)")
    add("--task", help=f"labels of pixels or of tiles: {', '.join(TASKS_OF_SCENES)} (default: classes)")
    add("--tile", type=int, help="side of the tiles (--task segmentation; default: 64)")
    add("--shares", type=_shares, help="of the tiles: train,val,test (default: 0.6,0.1,0.3)")
    add("--seed", type=int, help="seed of the split (default: 0)")
    add("--patch-size", type=int, help="side of the windows (default: 14)")
    add("--train-per-class", type=_pixels, help="training pixels per class, or all (default: 100; official: all)")
    add("--test-per-class", type=_pixels, help="test pixels per class, or all (default: 300; official: all)")
    add("--val-per-class", type=_pixels, help="validation pixels per class, at most, or all (default: 50)")
    add("--min-valid", type=float, help="share of a window that a sensor must have seen (default: 0.5)")
    add("--margin", type=int, help="pixels by which head=pixels can shift windows in training (default: 0)")
    add("--layout", help=f"{', '.join(LAYOUTS)} (default: patches)")
    add = result.add_argument_group("images with texts", ", ".join(registry.IMAGE_TEXT_DATASETS)).add_argument
    add("--broken-images", help=f"images that cannot be decoded: {', '.join(BROKEN_IMAGES)} (default: refuse)")
    add("--plots", help=f"mmimdb: {', '.join(PLOTS)}; with all each is a sample (default: first)")
    add("--test-file", help=f"hateful_memes: {', '.join(TEST_FILES)} (default: the first that is there)")
    add("--without-text", help=f"food101, dishes without a text: {', '.join(WITHOUT_TEXT)} (default: drop)")
    return result


def _pixels(text: str) -> int | str:
    """Pixels per class; what is no number is a text, which is checked with the other options."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def _shares(text: str) -> tuple[float, ...]:
    """Numbers with commas between them."""
    return tuple(float(part) for part in text.split(","))


def _flag(option: str) -> str:
    """How an option is written on the command line."""
    return "--scene" if option == "scene_file" else f"--{option.replace('_', '-')}"


def main(argv: Sequence[str] | None = None, program: str = "python make_arrow.py") -> int:
    """Runs the command line.

    Args:
        argv: Without the program's name; None takes the process's own.
        program: How the user calls it.

    Returns:
        Exit status: 0, or 1 after a mistake of the user's, which is told in one line on stderr.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser(program).parse_args(words or ["--help"])
    try:
        load_plugins(getattr(arguments, PLUGINS, ()))
        given = {name: value for name, value in vars(arguments).items() if name != PLUGINS}
        sys.stdout.write(f"{build(options_of(given, _flag))}\n")
    except MamolError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0
