"""What the page of a run costs beyond the network: its own passes, recorded while it is made, against the whole."""

import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from torch import Tensor

import mamol
from benchmarks.harness import Figure, alternate, ratio_figure
from mamol.core.streams import Trace
from mamol.data.synthetic import SMALLEST_SIDE, write_synthetic_scene
from mamol.network.network import Network

OURS, PASSES = "page", "the network's passes for it"
Pass = tuple[Network, dict[str, Tensor], bool, dict[str, Any]]
"""Network, batch, whether the routing was recorded, and the other arguments of ``Network.features``."""
SIZES: dict[str, Any] = {"patch_size": 8, "train_per_class": 8, "val_per_class": 2, "test_per_class": 10}
PREVIEW = 8


def run(rounds: int = 2, preview: int = PREVIEW) -> list[Figure]:
    """The page of a run of one epoch on a synthetic scene of two sensors, with its maps.

    Args:
        rounds: Pages.
        preview: Rows or columns of the maps.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        trained, scene = trained_run(folder)
        page = page_of(trained, scene, preview)
        passes = recorded(page)
        seconds = alternate({OURS: page, PASSES: lambda: replayed(passes)}, rounds)
    beyond = statistics.median(seconds[OURS]) - statistics.median(seconds[PASSES])
    streams = sum(int(batch["available"].sum()) for _, batch, _, _ in passes)
    note = f"{beyond:.2g} s are the page's own; {len(passes)} passes of {streams} streams, tiny, 3 patterns, maps"
    return [ratio_figure("page of a run", seconds, OURS, PASSES, note=note)]


def trained_run(folder: Path) -> tuple[mamol.Run, Path]:
    """A run on a synthetic scene, and the scene.

    Args:
        folder: Where all of it goes.
    """
    scene = write_synthetic_scene(folder / "raw", height=SMALLEST_SIDE, width=SMALLEST_SIDE)
    tables = mamol.build_tables(scene, dataset="synthetic", modalities="hsi,lidar", out=folder / "tables", **SIZES)
    plain = {"backbone": "tiny", "num_gpus": 0, "progress_bar": False, "log_dir": str(folder / "runs")}
    return mamol.train(tables, **plain, max_epoch=1, batch_size=16, per_gpu_batchsize=16), scene


def page_of(trained: mamol.Run, scene: Path, preview: int) -> Callable[[], object]:
    """What writes the page.

    Args:
        trained: The run.
        scene: Its raw folder.
        preview: Rows or columns of the maps.
    """
    return lambda: trained.report(scene, preview=preview)


def recorded(page: Callable[[], object]) -> list[Pass]:
    """The passes of the network that a page asks for.

    Args:
        page: What writes it.
    """
    found: list[Pass] = []
    features = Network.features

    def recording(
        network: Network,
        batch: dict[str, Tensor],
        trace: Trace | None = None,
        **rest: Any,  # noqa: ANN401 - as they come
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        found.append((network, dict(batch), trace is not None, rest))
        return features(network, batch, trace, **rest)

    with mock.patch.object(Network, "features", recording):
        page()
    return found


@torch.inference_mode()
def replayed(passes: list[Pass]) -> None:
    """Makes them again.

    Args:
        passes: Of ``recorded``.
    """
    for network, batch, traced, rest in passes:
        network.features(batch, Trace() if traced else None, **rest)
