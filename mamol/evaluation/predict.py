"""``predict``: the class of every pixel of a scene, with any of its modalities present."""

import logging
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mamol.building import assemble
from mamol.data.modalities import canonical
from mamol.data.patches import WindowCutter
from mamol.data.scenes import Scene, load_scene
from mamol.errors import MamolError
from mamol.evaluation.maps import classify_scene, write_map
from mamol.models.clip import RANDOM
from mamol.models.network import Network
from mamol.settings import Settings
from mamol.training.checkpoints import CheckpointInfo, check_same_backbone, checkpoint_file, read_checkpoint, run_of

logger = logging.getLogger(__name__)

BATCH = 32  # pixels at once on a CPU: more no longer fit its caches and take 1.6 times as long (tiny tower)
GPU_BATCH = 256  # pixels at once on a GPU, at least: without gradients more fit than in training
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
    if not settings.load_path or not settings.scene:
        raise MamolError("predict needs load_path=<checkpoint> and scene=<raw folder or scene.json>")
    checkpoint = checkpoint_file(settings.load_path)
    info, state = read_checkpoint(checkpoint)
    if info.network.inputs:
        raise MamolError(
            f"predict draws maps of scenes, and {checkpoint} is of {' and '.join(info.network.inputs)}; "
            "use evaluate, or test_only=True, whose predictions.parquet has the class of every sample"
        )
    patterns = present_patterns(settings.present, info)
    needed = [name for name in info.network.modalities if any(name in pattern for pattern in patterns)]
    scene = load_scene(info.data["dataset"], Path(settings.scene), modalities=needed, need_labels=False)
    check_bands(scene, info, needed)
    network = restore(info, settings)
    network.load_trainable_state(state)
    device = device_of(settings)
    network.to(device).eval()
    run = run_of(checkpoint) or checkpoint.parent
    written = []
    for pattern in patterns:
        logger.info("classifying %s with %s", scene.name, "+".join(pattern))
        classified, confidence = classify_scene(
            predictor(network, pattern, device),
            {name: WindowCutter(scene.rasters[name], info.network.patch_size) for name in pattern},
            scene.height,
            scene.width,
            batch=batch_of(settings),
            progress=settings.progress_bar,
        )
        name = f"{scene.name}_{'+'.join(pattern)}"
        title = map_title(scene.name, pattern, info)
        written += write_map(
            run / "maps", name, classified, confidence, info.network.classes, scene.georeference, title
        )
    return written


def device_of(settings: Settings) -> torch.device:
    """The one device of commands that do not train."""
    return torch.device("cuda" if settings.num_gpus != 0 and torch.cuda.is_available() else "cpu")


def batch_of(settings: Settings) -> int:
    """Pixels at once, for commands that do not train."""
    return max(GPU_BATCH, settings.per_gpu_batchsize) if device_of(settings).type == "cuda" else BATCH


def map_title(scene: str, pattern: list[str], info: CheckpointInfo) -> str:
    """What the map shows, and what a reader must know of the weights."""
    remark = " (random frozen weights)" if info.backbone_origin.startswith(RANDOM) else ""
    return f"{scene}: {info.network.method} with {'+'.join(pattern)}{remark}"


def present_patterns(present: str, info: CheckpointInfo) -> list[list[str]]:
    """The patterns of ``present=``, modalities in the checkpoint's order; ``each`` is every non-empty one.

    Raises:
        MamolError: The checkpoint has no such modality.
    """
    known = list(info.network.modalities)
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

    Raises:
        MamolError: Naming the modality and both counts.
    """
    for name in present:
        found, wanted = scene.rasters[name].shape[2], info.network.modalities[name]
        if found != wanted:
            raise MamolError(
                f"scene {scene.name}: {name} has {found} bands, the checkpoint was trained with {wanted}; "
                "give the scene it belongs to"
            )


def restore(info: CheckpointInfo, settings: Settings) -> Network:
    """The network that a checkpoint describes, around the frozen weights it was trained with.

    Raises:
        MamolError: The weights that ``clip_weights`` gives are other ones.
    """
    random = info.backbone_origin.startswith(RANDOM)
    spec = info.network
    weights = RANDOM if random else settings.clip_weights
    network = assemble(spec, weights)
    check_same_backbone(info, network, settings.load_path)
    return network


def predictor(network: Network, present: list[str], device: torch.device) -> Callable[[Windows], NDArray[np.float32]]:
    """A function from windows of the present modalities to class probabilities (B, K)."""
    sizes = network.spec.modalities
    there = torch.tensor([name in present for name in sizes])

    @torch.inference_mode()
    def probabilities(windows: Windows) -> NDArray[np.float32]:
        samples = len(next(iter(windows.values())))
        side = network.spec.patch_size
        batch = {
            name: torch.from_numpy(windows[name]).to(device)
            if name in windows
            else torch.zeros(1, device=device).expand(samples, bands, side, side)
            for name, bands in sizes.items()
        }
        logits, _ = network({**batch, "available": there.expand(samples, -1).to(device)})
        return logits.float().softmax(1).cpu().numpy()

    return probabilities
