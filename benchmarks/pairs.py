"""What comparisons share: the scene, from the command line; results that are made once; tables of them."""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

from mamol.core.errors import MamolError
from mamol.core.files import replacing, write_json
from mamol.core.options import listed
from mamol.data.scenes import Scene, load_scene
from mamol.evaluation.statistics import mean_std


def parser_of(program: str, about: str | None, *, modalities: str, epochs: int | None) -> argparse.ArgumentParser:
    """The arguments that say which scene, how often, and where results go.

    Args:
        program: How the user calls it.
        about: What it does.
        modalities: What ``--modalities`` names, in words.
        epochs: The default of ``--epochs``; None: it has none to choose.
    """
    parser = argparse.ArgumentParser(program, description=about)
    parser.add_argument("--root", type=Path, required=True, help="folder of the raw files")
    parser.add_argument("--dataset", default="scene", help="as for make_arrow.py (default: scene)")
    parser.add_argument("--scene", type=Path, help="scene.json of dataset scene")
    parser.add_argument("--modalities", default="hsi,lidar", help=f"{modalities} (default: hsi,lidar)")
    parser.add_argument("--out", type=Path, required=True, help="folder of everything that is written")
    parser.add_argument("--seeds", type=int, default=3, help="how many; of split and weights (default: 3)")
    if epochs is not None:
        about_epochs = f"passes over training pixels (default: {epochs})"
        parser.add_argument("--epochs", type=int, default=epochs, help=about_epochs)
    return parser


def scene_of(options: argparse.Namespace, most: int | None = 2) -> Scene:
    """Reads the scene.

    Args:
        options: Of ``parser_of``.
        most: Modalities that it may have; None: any number.

    Raises:
        MamolError: It cannot be read, does not have two modalities, or has more than it may.
    """
    wanted = listed(options.modalities)
    scene = load_scene(options.dataset, options.root, modalities=wanted, scene_file=options.scene)
    if len(scene.rasters) < 2 or (most is not None and len(scene.rasters) > most):
        raise MamolError(f"modalities={options.modalities}: expected two of them{'' if most else ' or more'}")
    return scene


def given_of(options: argparse.Namespace) -> dict[str, Any]:
    """What the scene is, as ``mamol.build_tables`` takes it.

    Args:
        options: Of ``parser_of``.
    """
    given = {"dataset": options.dataset, "modalities": options.modalities}
    return given | ({"scene_file": options.scene} if options.scene else {})


def in_one_line(compare: Callable[[Sequence[str] | None], None]) -> Callable[..., int]:
    """Makes a command of a comparison: a mistake of the user is one line and status 1.

    Args:
        compare: Takes the arguments; None: those of the command line.
    """

    @wraps(compare)
    def main(arguments: Sequence[str] | None = None) -> int:
        try:
            compare(arguments)
        except MamolError as error:
            sys.stderr.write(f"{error}\n")
            return 1
        return 0

    return main


def finished(path: Path, make: Callable[[], Mapping[str, Any]]) -> None:
    """Makes a result that is not there yet, and tells its OA.

    Args:
        path: Its file.
        make: What makes it.
    """
    if path.is_file():
        return
    result = dict(make())
    write_json(path, result)
    sys.stderr.write(f"{path}: {result['OA']}\n")


def show(text: str, folder: Path) -> None:
    """Prints the tables of a comparison, and keeps them as ``table.md``.

    Args:
        text: Of them.
        folder: Of its results.
    """
    with replacing(folder / "table.md") as temporary:
        temporary.write_text(text, "utf-8")
    sys.stdout.write(text)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and, of several, standard deviation, as tables show it.

    Args:
        values: One per seed.
        digits: Behind the point.
    """
    mean, deviation = mean_std(values)
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if len(values) > 1 else "")
