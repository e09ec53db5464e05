"""Commands that write, as they are typed, and what of their results counts: what is killed, and compared in the end.

A training goes on by ``resume_from=`` its last.ckpt where there is one; all others by the same command again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from mamol.core.pruning import Cut
from mamol.evaluation.predictions import read_predictions
from mamol.network.pruning import prunable
from mamol.network.pruning import pruned as pruned_network
from mamol.training.checkpoints import read_checkpoint, save_checkpoint
from mamol.training.restoring import restore
from tests.faults import saving
from tests.lines import QUICK, Finished, run, tables

NOT_COMPARED = ("seconds", "seal")
"""Of JSON: times, and the checksums over them."""
KEPT = (".complexity",)
"""Hidden files that are no litter."""
SIZES = ("--patch-size", "4", "--train-per-class", "4", "--val-per-class", "2", "--test-per-class", "3")
TILES = ("--task", "segmentation", "--tile", "8", "--margin", "1")
SAVING = "tests/faults/saving.py"
DOORS: dict[str, Callable[..., Finished]] = {"run.py": run, "make_arrow.py": tables, SAVING: saving.here}
Line = tuple[str, ...]
"""A script and its words."""


@dataclass(frozen=True)
class Places:
    """What the commands read.

    Attributes:
        scene: A raw scene.
        corner: A small one.
        field: The small one as rasters that lie somewhere, of which maps are GeoTIFFs.
        table: Tables of windows.
        tiles: Tables of tiles.
        finished: A finished run.
    """

    scene: Path
    corner: Path
    field: Path
    table: Path
    tiles: Path
    finished: Path


@dataclass(frozen=True)
class Case:
    """A command to be killed.

    Attributes:
        line: What is typed to work in a folder, or to go on there; None: it is done.
        results: What of the folder counts in the end.
        begin: Makes the folder.
    """

    line: Callable[[Path], Line | None]
    results: Callable[[Path], object]
    begin: Callable[[Path], None] = Path.mkdir

    def done(self, folder: Path) -> Finished:
        """Does it in this process.

        Args:
            folder: Where.
        """
        line = self.line(folder)
        if line is None:
            return Finished(0, "", "")
        script, *words = line
        return DOORS[script](*words)

    def work(self, folder: Path) -> None:
        """Does it in this process.

        Args:
            folder: Where.

        Raises:
            RuntimeError: It failed.
        """
        succeed(self.done(folder))


def succeed(done: Finished) -> None:
    """Complains of a command that failed.

    Args:
        done: The command.

    Raises:
        RuntimeError: It failed.
    """
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])


def litter(folder: Path) -> list[Path]:
    """What commands left that nobody asked for.

    Args:
        folder: Where they worked.
    """
    return [path for path in folder.rglob(".*") if path.name not in KEPT]


def bits(folder: Path, *patterns: str) -> dict[str, str]:
    """Name to sha256 of files."""
    found = [path for pattern in patterns for path in sorted(folder.rglob(pattern))]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def plain(path: Path) -> dict[str, Any]:
    """A file of JSON without what differs from run to run."""
    content: dict[str, Any] = json.loads(path.read_text())
    return {key: value for key, value in content.items() if key not in NOT_COMPARED}


def of_run(folder: Path) -> object:
    """Scores, predictions and weights of the finished run."""
    (metrics,) = folder.glob("killed_seed0*/metrics.json")
    (best,) = (metrics.parent / "checkpoints").glob("best*.safetensors")
    weights = {name: value.numpy().tobytes() for name, value in load_file(best).items()}
    return plain(metrics), read_predictions(metrics.parent).to_json(), weights


def of_pretraining(folder: Path) -> object:
    """Scores and the backbone of the finished pre-training."""
    (metrics,) = folder.glob("killed_seed0*/metrics.json")
    return plain(metrics), bits(metrics.parent, "backbone/*")


def training(*words: object, scores: Callable[[Path], object] = of_run) -> Case:
    """A training, which goes on where there is something to go on from.

    Args:
        words: Of the command.
        scores: What counts.
    """

    def line(folder: Path) -> Line | None:
        last = sorted(folder.glob("killed_seed0*/checkpoints/last.ckpt"))
        if any((path.parent.parent / "metrics.json").is_file() for path in last):
            return None
        where = ("threads=1", f"log_dir={folder}", "exp_name=killed")
        return ("run.py", *map(str, words), *where, *([f"resume_from={last[0]}"] if last else []))

    return Case(line, scores)


def tables_of(places: Places, *words: str) -> Case:
    """Tables of a scene."""
    given = ("--dataset", "synthetic", "--root", str(places.scene), *words)
    return Case(lambda folder: ("make_arrow.py", *given, "--out", str(folder / "out")), lambda f: bits(f, "*.arrow"))


def on_run(places: Places, command: str, *words: str, results: Callable[[Path], object]) -> Case:
    """A command that writes into a finished run.

    Args:
        places: With the run.
        command: Its name.
        words: Its options.
        results: What of the run's folder counts.
    """

    def begin(folder: Path) -> None:
        ignored = shutil.ignore_patterns("maps", "evaluation", "tensorboard")
        shutil.copytree(places.finished, folder / "run", ignore=ignored)

    def line(folder: Path) -> Line:
        return ("run.py", command, "with", *QUICK, "threads=1", f"load_path={folder / 'run'}", *words)

    return Case(line, lambda folder: results(folder / "run"), begin)


def numbered(places: Places, command: str, made: str, *words: str, results: Callable[[Path], object]) -> Case:
    """A command that makes a folder in the run's; it is done where that is there, for a second one has a number."""
    case = on_run(places, command, *words, results=lambda folder: results(folder / made))
    return replace(case, line=lambda folder: None if (folder / "run" / made).is_dir() else case.line(folder))


def pruned(places: Places) -> Case:
    """A run with fewer sensors and experts."""
    given = (f"data_root={places.table}", "keep=hsi,lidar", "tau=1.1")
    return numbered(places, "prune", "pruned", *given, results=lambda f: bits(f, "*.csv", "*.safetensors"))


def merged(places: Places) -> Case:
    """A run of one routed expert per block, made a plain tower."""
    given = (f"data_root={places.table}", "present=hsi+lidar")
    case = numbered(places, "merge", "merged", *given, results=lambda f: bits(f, "*.safetensors"))

    def begin(folder: Path) -> None:
        case.begin(folder)
        (best,) = (folder / "run" / "checkpoints").glob("best*.safetensors")
        info, state = read_checkpoint(best)
        network = prunable(restore(info, state, "", best), 3)
        left = pruned_network(network, Cut((0, 1, 2), dict.fromkeys(range(6, 12), (0,))))
        save_checkpoint(best, left, replace(info, network=left.spec))

    return replace(case, begin=begin)


def exported(places: Places) -> Case:
    """A file for other programs."""
    given = (f"data_root={places.table}", "present=sar")
    return numbered(places, "export", "export", *given, results=lambda f: bits(f, "*.onnx", "README.md"))


def reported(places: Places) -> Case:
    """A page with a map."""

    def page(folder: Path) -> object:
        (file,) = folder.iterdir()
        return file.name, file.read_text().replace(str(folder.parent), "")  # the command that made it

    given = (f"data_root={places.table}", f"scene={places.corner}", "preview=4", "evaluate_ratios=[0.5]")
    return numbered(places, "report", "report", *given, results=page)


def tested(places: Places) -> Case:
    """A test of a checkpoint, in a folder of its own."""
    given = (f"data_root={places.table}", f"load_path={places.finished}", "exp_name=again", "test_only=True")

    def line(folder: Path) -> Line:
        shutil.rmtree(folder / "again_seed0", ignore_errors=True)  # of a killed one; it would keep its name
        return ("run.py", "with", "remote", *QUICK, "threads=1", f"log_dir={folder}", *given)

    return Case(line, lambda folder: plain(folder / "again_seed0" / "metrics.json") | bits(folder, "*.parquet"))


def saved(places: Places) -> Case:
    """An adapter."""

    def line(folder: Path) -> Line | None:
        return None if (folder / "adapter").is_dir() else (SAVING, str(places.finished), str(folder / "adapter"))

    return Case(line, lambda folder: bits(folder, "adapter/*"))


def mapped(places: Places, scene: Path, *words: str) -> Case:
    """Maps of a scene, in two blocks."""
    kinds = ("*.npy", "*.tif", "*.qml", "*.csv")
    given = (f"scene={scene}", "block=4", "batch=8", *words)
    return on_run(places, "predict", *given, results=lambda folder: bits(folder / "maps", *kinds))


def reproduced(places: Places, *words: str) -> Case:
    """A table of one method, whose run is a process of its own."""
    small = (*QUICK, "threads=1", "max_epoch=4", "limit_batches=2", "seeds=1")
    given = ("table5", "datasets=synthetic", "methods=baseline", "rates=0.7", *small)

    def begin(folder: Path) -> None:
        shutil.copytree(places.table, folder / "data" / "synthetic")

    def line(folder: Path) -> Line:
        where = (f"data_root={folder / 'data'}", f"log_dir={folder / 'log'}")
        return ("run.py", "reproduce", "with", *given, *where, *words)

    # runs.csv names the folders of the runs.
    return Case(line, lambda folder: bits(folder, "table5/table5.*"), begin)


def cases(places: Places) -> dict[str, Case]:
    """Command to what is done and compared.

    Args:
        places: What they read.
    """
    table = f"data_root={places.table}"
    several = [option for option in QUICK if not option.startswith("per_gpu_batchsize")]
    sensors = (f"scene={places.corner}", "dataset=synthetic", "window=4", "max_epoch=3")
    return {
        "make_arrow patches": tables_of(places, *SIZES),
        "make_arrow scene": tables_of(places, *SIZES, "--layout", "scene"),
        "make_arrow tiles": tables_of(places, *TILES),
        "train": training("with", "remote", *QUICK, table, "max_epoch=2"),
        "train long": training("with", "remote", *QUICK, table, "max_epoch=8"),
        "train two processes": training(
            "with", "remote", *several, table, "max_epoch=8", "per_gpu_batchsize=4", "cpu_processes=2"
        ),
        "train tiles": training("with", *QUICK, "network=unet", f"data_root={places.tiles}", "max_epoch=2"),
        "pretrain": training("pretrain", "with", *QUICK, *sensors, scores=of_pretraining),
        "test_only": tested(places),
        "evaluate": on_run(
            places,
            "evaluate",
            table,
            "evaluate_ratios=[0.0,0.5]",
            "evaluate_types=[both]",
            results=lambda folder: bits(folder / "evaluation", "*.csv"),
        ),
        "routing": on_run(places, "routing", table, results=lambda folder: bits(folder / "routing", "*.csv")),
        "calibrate": on_run(
            places,
            "calibrate",
            table,
            results=lambda folder: bits(folder, "calibration/*.csv", "checkpoints/*.calibration.json"),
        ),
        "prune": pruned(places),
        "merge": merged(places),
        "export": exported(places),
        "report": reported(places),
        "save": saved(places),
        "predict": mapped(places, places.corner),
        "predict rasters": mapped(places, places.field),
        "reproduce": reproduced(places),
    }
