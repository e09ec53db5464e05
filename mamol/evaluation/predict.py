"""``predict``: the class of every pixel of a scene, with any of its modalities present."""

import logging
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.names import canonical
from mamol.core.settings import Settings
from mamol.data.facts import shown_name
from mamol.data.patches import WindowCutter
from mamol.data.scenes import Scene, load_scene
from mamol.evaluation.maps import Map, classify_scene
from mamol.network.network import Network
from mamol.training.checkpoints import CheckpointInfo, checkpoint_file, read_checkpoint, restore, run_of
from mamol.training.machine import batch_on, device_of

logger = logging.getLogger(__name__)

Windows = dict[str, NDArray[np.float32]]


def predict(settings: Settings) -> list[Path]:
    """Draws the map of a scene.

    Dataset, modalities, classes and normalisation come from the checkpoint.

    Args:
        settings: ``load_path``, ``scene`` (raw folder or scene.json), ``present`` (``hsi+lidar``; empty: all;
            ``each``: a map for every pattern).

    Returns:
        The files written, into ``maps`` in the checkpoint's run folder.

    Raises:
        MamolError: Something is not given, not there, or does not fit the checkpoint.
    """
    load_path, wanted = settings.run.load_path, settings.predict
    if not load_path or not wanted.scene:
        raise MamolError("predict needs load_path=<checkpoint> and scene=<raw folder or scene.json>")
    checkpoint = checkpoint_file(load_path)
    info, state = read_checkpoint(checkpoint)
    if not info.network.takes_windows:
        raise MamolError(
            f"predict draws maps of scenes, and {checkpoint} is of {' and '.join(info.network.names)}; "
            "use evaluate, or test_only=True, whose predictions.parquet has the class of every sample"
        )
    patterns = present_patterns(wanted.present, info)
    needed = [name for name in info.network.names if any(name in pattern for pattern in patterns)]
    scene = load_scene(info.data["dataset"], Path(wanted.scene), modalities=needed, need_labels=False)
    check_bands(scene, info, needed)
    network = restore(info, state, settings.network.clip_weights, load_path)
    device = device_of(settings.machine)
    network.to(device).eval()
    run = run_of(checkpoint) or checkpoint.parent
    written = []
    for pattern in patterns:
        logger.info("classifying %s with %s", scene.name, "+".join(pattern))
        drawn = draw_map(
            network,
            scene,
            pattern,
            device,
            map_title(scene.name, pattern, info),
            batch=batch_on(device, settings.training.per_gpu_batchsize),
            progress=settings.machine.progress_bar,
        )
        written += drawn.save_all(run / "maps", f"{scene.name}_{'+'.join(pattern)}")
    return written


def draw_map(
    network: Network,
    scene: Scene,
    pattern: Sequence[str],
    device: torch.device,
    title: str,
    *,
    batch: int,
    progress: bool = False,
) -> Map:
    """Classifies every pixel of a scene.

    Args:
        network: In evaluation mode, on ``device``.
        scene: It has the rasters of the pattern.
        pattern: Modalities to use.
        device: Where to compute.
        title: Of the map.
        batch: Pixels at once.
        progress: Whether to show a progress bar, on stderr.
    """
    classified, confidence = classify_scene(
        predictor(network, pattern, device),
        {name: WindowCutter(scene.rasters[name], network.spec.grid) for name in pattern},
        scene.height,
        scene.width,
        batch=batch,
        progress=progress,
    )
    return Map.of(classified, confidence, network.spec.classes, title, scene.georeference, scene.colours)


def map_title(scene: str, pattern: Sequence[str], info: CheckpointInfo) -> str:
    """What a map shows, and what a reader must know of the weights.

    Args:
        scene: Its name.
        pattern: The modalities used.
        info: Of the checkpoint.
    """
    remark = " (random frozen weights)" if info.random_weights else ""
    return f"{shown_name(info.data['dataset'], scene)}: {info.network.method} with {'+'.join(pattern)}{remark}"


def present_patterns(present: str, info: CheckpointInfo) -> list[list[str]]:
    """The patterns that ``present=`` means.

    Args:
        present: Modalities in any order and spelling, ``hsi+lidar``; empty: all; ``each``: every non-empty pattern.
        info: Of the checkpoint.

    Returns:
        The names of each pattern's modalities, in the checkpoint's order.

    Raises:
        MamolError: The checkpoint has no such modality.
    """
    known = list(info.network.names)
    if present == "each":
        return [list(some) for n in range(len(known), 0, -1) for some in combinations(known, n)]
    wanted = [canonical(name) for name in present.split("+")] if present else known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise MamolError(
            f"present={present}: the checkpoint has no modality {', '.join(unknown)}; it has {'+'.join(known)}"
        )
    return [[name for name in known if name in wanted]]


def check_bands(scene: Scene, info: CheckpointInfo, present: list[str]) -> None:
    """Refuses a scene whose rasters have other band counts than the checkpoint.

    Args:
        scene: It has the rasters of ``present``.
        info: Of the checkpoint.
        present: Modalities to check.

    Raises:
        MamolError: Naming the modality and both counts.
    """
    for name in present:
        found, wanted = scene.rasters[name].shape[2], info.network.sizes[name]
        if found != wanted:
            raise MamolError(
                f"scene {scene.name}: {name} has {found} bands, the checkpoint was trained with {wanted}; "
                "give the scene it belongs to"
            )


def predictor(
    network: Network, present: Sequence[str], device: torch.device
) -> Callable[[Windows], NDArray[np.float32]]:
    """What gives class probabilities of windows.

    Args:
        network: In evaluation mode, on ``device``.
        present: Modalities that the windows are of; the others are absent.
        device: Where to compute.

    Returns:
        A function of modality to windows (B, C, P, P) float32, one entry for each of ``present``; it gives (B, K)
        float32.
    """
    sizes = network.spec.sizes
    there = torch.tensor([name in present for name in sizes])

    @torch.inference_mode()
    def probabilities(windows: Windows) -> NDArray[np.float32]:
        samples = len(next(iter(windows.values())))
        side = network.spec.grid
        batch = {
            name: torch.from_numpy(windows[name]).to(device)
            if name in windows
            else torch.zeros(1, device=device).expand(samples, bands, side, side)
            for name, bands in sizes.items()
        }
        logits, _ = network({**batch, "available": there.expand(samples, -1).to(device)})
        return logits.float().softmax(1).cpu().numpy()

    return probabilities
