"""``predict``: the class of every pixel of a scene, each from the sensors that saw it."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.core.names import canonical
from mamol.core.settings import Settings
from mamol.core.version import VERSION
from mamol.data.facts import shown_name
from mamol.data.scenes import Scene, load_scene
from mamol.data.sources import Source
from mamol.evaluation.area import Area, area_of
from mamol.evaluation.blocks import MIN_VALID, READ_BYTES, Classifier, Predict, WindowClassifier, Windows, block_rows
from mamol.evaluation.mapfiles import MOST_IN_MEMORY, MapFiles
from mamol.evaluation.mapinfo import MapInfo, chosen_colours
from mamol.evaluation.maps import Map
from mamol.evaluation.partial import PartialMap
from mamol.evaluation.progress import Told, duration
from mamol.network.network import Network
from mamol.training.checkpoints import CheckpointInfo, checkpoint_file, read_checkpoint, restore, run_of
from mamol.training.machine import batch_on, device_of, use_threads

logger = logging.getLogger(__name__)

TRIED = 3.0  # seconds in which the speed is measured


@dataclass(frozen=True)
class Order:
    """All that the maps of one call of ``predict`` share.

    Attributes:
        settings: The options.
        checkpoint: The file.
        info: Of the checkpoint.
        network: In evaluation mode on ``device``.
        device: Where to compute.
        scene: What to map.
        area: The part of it.
        patterns: Modalities that may be used, one map for each.
    """

    settings: Settings
    checkpoint: Path
    info: CheckpointInfo
    network: Network
    device: torch.device
    scene: Scene
    area: Area
    patterns: list[list[str]]

    @classmethod
    def of(cls, settings: Settings) -> "Order":
        """Reads checkpoint and scene.

        Args:
            settings: As of ``predict``.

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
        scene = scene_at(wanted.scene, wanted.root, info, needed)
        check_bands(scene, info, needed)
        area = area_of(scene.height, scene.width, scene.georeference, wanted.bbox, wanted.polygon)
        device = device_of(settings.machine)
        network = restore(info, state, settings.network.clip_weights, load_path).to(device).eval()
        return cls(settings, checkpoint, info, network, device, scene, area, patterns)

    @property
    def batch(self) -> int:
        """Pixels at once."""
        return self.settings.predict.batch or batch_on(self.device, self.settings.training.per_gpu_batchsize)

    @property
    def rows(self) -> int:
        """Of a block."""
        return min(block_rows(self.settings.predict.block, self.area.width, self.batch), self.area.height)

    def classifier(self, pattern: Sequence[str]) -> Classifier:
        """What a map is computed with.

        Args:
            pattern: Modalities that may be used.
        """
        wanted = self.settings.predict.probabilities
        return classifier_of(
            self.network, self.scene, pattern, self.device, self.batch, min_valid_of(self.info), wanted
        )

    def path(self, pattern: Sequence[str]) -> Path:
        """Of a map, without ending.

        Args:
            pattern: Modalities that may be used.
        """
        wanted = self.settings.predict
        place = "_" + "_".join(f"{number:.10g}" for number in wanted.bbox) if wanted.bbox else ""
        place += f"_{Path(wanted.polygon).stem}" if wanted.polygon else ""
        folder = (run_of(self.checkpoint) or self.checkpoint.parent) / "maps"
        return folder / f"{self.scene.name}_{'+'.join(pattern)}{place}"

    def decides(self, pattern: Sequence[str]) -> dict[str, Any]:
        """All that decides the bits of a map.

        Args:
            pattern: Modalities that may be used.
        """
        wanted, described = self.settings.predict, Path(self.settings.predict.scene)
        described = described / "scene.json" if described.is_dir() else described
        device = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        return {
            "checkpoint": sha256_of(self.checkpoint),
            "scene": sha256_of(described) if described.is_file() else "",
            "sources": dict(self.scene.sources),
            "grid": [self.scene.height, self.scene.width],
            "present": list(pattern),
            "bbox": list(wanted.bbox),
            "polygon": sha256_of(wanted.polygon) if wanted.polygon else "",
            "probabilities": wanted.probabilities,
            "block": self.rows,
            "batch": self.batch,
            "min_valid": min_valid_of(self.info),
            "device": device,
            "torch": torch.__version__,
            "version": VERSION,
        }


def predict(settings: Settings) -> list[Path]:
    """Draws the map of a scene, block by block; a map that was stopped goes on.

    Dataset, modalities, classes and normalisation come from the checkpoint.

    Args:
        settings: ``load_path``, ``scene`` (raw folder or scene.json), ``root``, ``present`` (modalities that may be
            used, ``hsi+lidar``; empty: all; ``each``: a map for every pattern), ``bbox``, ``polygon``,
            ``probabilities``, ``block``, ``batch``.

    Returns:
        The files written, into ``maps`` in the checkpoint's run folder.

    Raises:
        MamolError: Something is not given, not there, or does not fit the checkpoint.
    """
    order = Order.of(settings)
    return [path for pattern in order.patterns for path in _draw(order, pattern)]


def _draw(order: Order, pattern: Sequence[str]) -> list[Path]:
    """One map."""
    area, rows, path = order.area, order.rows, order.path(pattern)
    starts = tuple(range(0, area.height, rows))
    made = PartialMap.open(path, order.decides(pattern), starts, torch.get_num_threads())
    use_threads(made.threads)
    missing = made.missing
    there = len(starts) - len(missing)
    logger.info("classifying %s with %s", order.scene.name, "+".join(pattern))
    if there:
        logger.info("going on: %d of %d blocks are there", there, len(starts))
    left = sum(min(start + rows, area.height) - start for start in missing) * area.width
    total, shown = area.height * area.width, order.settings.machine.progress_bar
    with Told("classifying", total, shown=shown, done=total - left) as told:
        classifier = order.classifier(pattern)
        for start in missing:
            made.write(start, classifier.block(area, start, min(start + rows, area.height), told.advance))
    info = info_of(order.scene, order.network, area, map_title(order.scene.name, pattern, order.info))
    files = MapFiles(info, (area.height, area.width), made.blocks, order.settings.predict.probabilities)
    written = files.save_all(path.parent, path.name)
    made.remove()
    return written


def estimate(settings: Settings) -> str:
    """What ``predict`` would take: windows, time and memory, measured for some seconds in the middle of the scene.

    Args:
        settings: As of ``predict``.

    Returns:
        A line for each map; nothing is written.

    Raises:
        MamolError: As of ``predict``.
    """
    order = Order.of(settings)
    area, rows = order.area, order.rows
    lines = []
    for pattern in order.patterns:
        classifier = order.classifier(pattern)
        middle = area.height // 2 // rows * rows
        began, seen, tried = time.monotonic(), 0, 0
        for _ in classifier.batches(area, middle, min(middle + rows, area.height)):
            tried += order.batch
            if tried == order.batch:  # the first one is slower
                began = time.monotonic()
            else:
                seen += order.batch
            if time.monotonic() - began > TRIED:
                break
        per_window = (time.monotonic() - began) / seen if seen else 0
        windows, blocks = area.height * area.width, -(-area.height // rows)
        per_pixel = 12 + (2 * len(order.network.spec.classes) if settings.predict.probabilities else 0)
        held = READ_BYTES + rows * area.width * per_pixel + (12 * windows if windows <= MOST_IN_MEMORY else 0)
        memory = (psutil.Process().memory_info().rss + held) / 1e9
        speed = duration(per_window * windows) if seen else "unknown, there are too few pixels to measure"
        lines.append(
            f"{order.path(pattern).name}: {windows:,} windows at most in {blocks} blocks of {rows} rows, batches of "
            f"{order.batch}; time {speed}; memory {memory:.1f} GB"
        )
    return "\n".join(lines)


def scene_at(scene: str, root: str, info: CheckpointInfo, modalities: Sequence[str]) -> Scene:
    """The scene to map.

    Args:
        scene: Raw folder, or its scene.json.
        root: Folder of the files that the scene.json names; "": where it lies.
        info: Of the checkpoint.
        modalities: Those to read.

    Raises:
        MamolError: It cannot be read.
    """
    if not root:
        return load_scene(info.data["dataset"], Path(scene), modalities=modalities, need_labels=False, whole=False)
    if not Path(scene).is_file():
        raise MamolError(f"root={root}: goes with scene=<scene.json>, and scene={scene} is no file")
    return load_scene(
        "scene", Path(root), scene_file=Path(scene), modalities=modalities, need_labels=False, whole=False
    )


def sources_of(scene: Scene, modalities: Sequence[str]) -> dict[str, Source]:
    """What reads the rasters of a scene.

    Args:
        scene: It has the rasters.
        modalities: Which.
    """
    return {name: scene.readers[name] for name in modalities}


def min_valid_of(info: CheckpointInfo) -> float:
    """The share of a window that has to be valid, as the tables had it.

    Args:
        info: Of the checkpoint; those of earlier versions say nothing.
    """
    return float(info.data.get("min_valid", MIN_VALID))


def classifier_of(
    network: Network,
    scene: Scene,
    pattern: Sequence[str],
    device: torch.device,
    batch: int,
    min_valid: float = MIN_VALID,
    probabilities: bool = False,
) -> Classifier:
    """What a map of a scene is computed with.

    Args:
        network: In evaluation mode, on ``device``.
        scene: It has the rasters of the pattern.
        pattern: Modalities that may be used.
        device: Where to compute.
        batch: Pixels at once.
        min_valid: Share of a window that has to be valid.
        probabilities: Whether all probabilities are kept.
    """
    return WindowClassifier(
        predictor(network, pattern, device),
        sources_of(scene, pattern),
        {name: bit for bit, name in enumerate(network.spec.names)},
        network.spec.grid,
        len(network.spec.classes),
        batch,
        probabilities,
        min_valid,
    )


def info_of(scene: Scene, network: Network, area: Area, title: str) -> MapInfo:
    """What belongs to a map besides its pixels.

    Args:
        scene: It knows colours.
        network: It knows classes and modalities.
        area: It knows the place.
        title: Of the map.
    """
    classes = network.spec.classes
    return MapInfo(classes, title, area.georeference, chosen_colours(classes, scene.colours), network.spec.names)


def draw_map(
    network: Network,
    scene: Scene,
    pattern: Sequence[str],
    device: torch.device,
    title: str,
    *,
    batch: int,
    progress: bool = False,
    min_valid: float = MIN_VALID,
) -> Map:
    """Classifies every pixel of a scene, in memory.

    Args:
        network: In evaluation mode, on ``device``.
        scene: It has the rasters of the pattern.
        pattern: Modalities that may be used; each pixel uses those of them that saw it.
        device: Where to compute.
        title: Of the map.
        batch: Pixels at once.
        progress: Whether to show a progress bar, on stderr.
        min_valid: Share of a window that has to be valid.
    """
    area = area_of(scene.height, scene.width, scene.georeference)
    classifier = classifier_of(network, scene, pattern, device, batch, min_valid)
    with Told("classifying", area.height * area.width, shown=progress) as told:
        block = classifier.block(area, 0, area.height, told.advance)
    return Map.of_block(block, info_of(scene, network, area, title))


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
        found, wanted = scene.channels[name], info.network.sizes[name]
        if found != wanted:
            raise MamolError(
                f"scene {scene.name}: {name} has {found} bands, the checkpoint was trained with {wanted}; "
                "give the scene it belongs to"
            )


def predictor(network: Network, modalities: Sequence[str], device: torch.device) -> Predict:
    """What gives class probabilities of windows.

    Args:
        network: In evaluation mode, on ``device``.
        modalities: Those that the windows are of, in the order of the columns of the presence; others are absent.
        device: Where to compute.

    Returns:
        A function of modality to windows (B, C, P, P) float32, one entry for each of ``modalities``, and of their
        presence (B, M) bool; it gives (B, K) float32.
    """
    sizes = network.spec.sizes
    columns = [list(sizes).index(name) for name in modalities]

    @torch.inference_mode()
    def probabilities(windows: Windows, present: NDArray[np.bool_]) -> NDArray[np.float32]:
        side = network.spec.grid
        available = np.zeros((len(present), len(sizes)), bool)
        available[:, columns] = present
        batch = {
            name: torch.from_numpy(windows[name]).to(device)
            if name in windows
            else torch.zeros(1, device=device).expand(len(present), bands, side, side)
            for name, bands in sizes.items()
        }
        logits = network.classify({**batch, "available": torch.from_numpy(available).to(device)})
        return logits.float().softmax(1).cpu().numpy()

    return probabilities
