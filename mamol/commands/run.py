"""The commands of ``run.py``; each calls one function of the rooms below and shows what it gives.

Each imports what it calls by itself: a list or ``print_config`` does not wait for Lightning, matplotlib and rasterio.
"""

from typing import Any

from mamol.commands.config import ex
from mamol.commands.line import CommandLine

line = CommandLine(ex)


@ex.main
def main() -> None:
    """Train, then test the best checkpoint; with test_only=True only test load_path."""
    line.show(line.experiment.run(line.folder))
    line.show(line.folder)


@ex.command(unobserved=True)
def predict() -> None:
    """Draw the class of every pixel: load_path=<checkpoint> scene=<raw folder> [present=hsi+lidar] [jobs=4]."""
    from mamol.evaluation.predict import estimate
    from mamol.launch import maps

    if line.settings.reproduce.dry_run:
        line.show(estimate(line.settings))
        return
    for path in maps.predict(line.settings):
        line.show(path)


@ex.command(unobserved=True)
def pretrain() -> None:
    """Train a backbone on windows without labels: scene=… or data_root=…, backbone=tiny|small|base."""
    from mamol.api.pretrain import pretraining

    line.show(pretraining(line.settings))


@ex.command(unobserved=True)
def prune() -> None:
    """Cut out of load_path=<run or backbone folder> what the sensors keep=hsi,lidar need: [patterns=…] [tau=…]."""
    from mamol.api.prune import pruning

    line.show_made(pruning(line.settings))


@ex.command(unobserved=True)
def calibrate() -> None:
    """Make the confidence of load_path=<checkpoint> mean something under each missing pattern: [coverage=0.9]."""
    from mamol.api.calibrate import calibrating

    line.show_made(calibrating(line.settings))


@ex.command(unobserved=True)
def merge() -> None:
    """Make of load_path=<run>, for samples with present=hsi+lidar, a plain tower with slightly wider MLPs."""
    from mamol.api.merge import merging

    line.show_made(merging(line.settings))


@ex.command(unobserved=True)
def export() -> None:
    """Write load_path=<run> as a file for other programs: [format=onnx] [present=hsi+lidar]."""
    from mamol.api.export import exporting

    line.show_made(exporting(line.settings))


@ex.command(unobserved=True)
def evaluate() -> None:
    """Test load_path=<checkpoint> over a grid of missing rates and types: evaluate_ratios=…, evaluate_types=…."""
    from mamol.evaluation.grid import evaluate

    line.show(evaluate(line.settings))


@ex.command(unobserved=True)
def routing() -> None:
    """Show which experts load_path=<checkpoint> uses under each missing pattern: [routing_class=…].

    Of a network without a method, what each modality is worth to each class.
    """
    from mamol.evaluation.routing import routing

    line.show(routing(line.settings))


@ex.command(unobserved=True)
def report() -> None:
    """Write a page to open in a browser: load_path=<run> [scene=<raw folder>] [compare=<other runs>] [patterns=…]."""
    from mamol.api.report import reporting

    line.show(reporting(line.settings))


@ex.command(unobserved=True)
def reproduce(_config: dict[str, Any]) -> None:
    """Fill a table of the paper with own numbers beside the reported ones: with table1 [datasets=…] [seeds=…].

    Args:
        _config: All options, as Sacred resolved them.
    """
    from mamol.experiments.reproduce.command import reproduce

    line.show(reproduce(_config))


@ex.command(unobserved=True)
def standin(_config: dict[str, Any]) -> None:
    """Compare all methods on small stand-ins, with equal training: with standin [datasets=…] [methods=…] [seeds=…].

    Args:
        _config: All options, as Sacred resolved them.
    """
    from mamol.experiments.standin import standin

    line.show(standin(_config))


@ex.command(unobserved=True)
def datasets() -> None:
    """List the scenes that make_arrow.py knows."""
    from mamol.commands import listing

    line.show(listing.datasets())


@ex.command(unobserved=True)
def methods() -> None:
    """List the methods that method= can name."""
    from mamol.commands import listing

    line.show(listing.methods())


@ex.command(unobserved=True)
def params() -> None:
    """Say where the parameters of a network are."""
    from mamol.network import parameters

    line.show(parameters.report(line.settings))
