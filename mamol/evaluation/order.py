"""What a call of ``predict`` is asked for: a checkpoint, the scenes, and one map for each scene and pattern."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.core.network import AnyNetwork
from mamol.core.settings import Settings
from mamol.core.version import VERSION
from mamol.data.areajson import AreaFacts, find_area, inside
from mamol.data.scenes import Scene
from mamol.evaluation.blocks import Classifier, block_rows
from mamol.evaluation.fitting import (
    check_abstain,
    check_bands,
    check_modalities,
    check_stride,
    map_title,
    min_valid_of,
    present_patterns,
    scene_at,
)
from mamol.evaluation.frame import Frame, Outside, frame_of
from mamol.evaluation.mapinfo import MapInfo
from mamol.evaluation.mapper import Mapper, windows_at_once
from mamol.evaluation.marking import is_transductive
from mamol.training.calibrations import calibration_of
from mamol.training.checkpoints import CheckpointInfo, checkpoint_file, read_checkpoint, run_of
from mamol.training.machine import device_of
from mamol.training.restoring import restore


@dataclass(frozen=True)
class Order:
    """All that the maps of one call share.

    Attributes:
        settings: The options.
        checkpoint: The file.
        info: Of the checkpoint.
        network: In evaluation mode, not yet on its device.
        patterns: Modalities that may be used, one map of each scene for each.
        scenes: What to map: raw folders, or their scene.json.
        many: Name of the area that the scenes are of; "": it is one scene.
        area: What is known of that area; None: it is one scene.
    """

    settings: Settings
    checkpoint: Path
    info: CheckpointInfo
    network: AnyNetwork
    patterns: list[list[str]]
    scenes: tuple[Path, ...]
    many: str
    area: AreaFacts | None = None
    _open: dict[Path, Scene] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> "Order":
        """Reads the checkpoint, and which scenes there are.

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
        patterns, given = present_patterns(wanted.present, info), Path(wanted.scene)
        area = find_area(given)
        if area and wanted.root:
            raise MamolError(f"root={wanted.root}: goes with one scene, and scene={given} has {len(area.files)}")
        network = restore(info, state, settings.network.clip_weights, load_path).eval()
        network.calibration = calibration_of(network, settings)
        check_abstain(wanted.abstain, network, load_path)
        check_stride(wanted.stride, network)
        scenes, many = (area.files, area.name) if area else ((given,), "")
        return cls(settings, checkpoint, info, network, patterns, scenes, many, area)

    @cached_property
    def device(self) -> torch.device:
        """Where to compute."""
        return device_of(self.settings.machine)

    @cached_property
    def mapper(self) -> Mapper:
        """What classifies; the network goes to its device here."""
        wanted, least = self.settings.predict, min_valid_of(self.info)
        network = self.network.to(self.device)
        return Mapper(
            network,
            self.device,
            self.batch,
            least,
            wanted.probabilities,
            wanted.stride,
            wanted.abstain,
            self.settings.training.precision,
        )

    @cached_property
    def checkpoint_sha256(self) -> str:
        """Of the file."""
        return sha256_of(self.checkpoint)

    @property
    def batch(self) -> int:
        """Windows at once."""
        per_gpu = self.settings.training.per_gpu_batchsize
        return self.settings.predict.batch or windows_at_once(self.network, self.device, per_gpu)

    @property
    def needed(self) -> list[str]:
        """Modalities that some map uses."""
        return [name for name in self.info.network.names if any(name in pattern for pattern in self.patterns)]

    @property
    def folder(self) -> Path:
        """Of the maps."""
        return (run_of(self.checkpoint) or self.checkpoint.parent) / "maps"

    def path(self, name: str, pattern: Sequence[str]) -> Path:
        """Of a map, without ending.

        Args:
            name: Of the scene, or of the area.
            pattern: Modalities that may be used.
        """
        wanted = self.settings.predict
        place = "_" + "_".join(f"{number:.10g}" for number in wanted.bbox) if wanted.bbox else ""
        place += f"_{Path(wanted.polygon).stem}" if wanted.polygon else ""
        return self.folder / f"{name}_{'+'.join(pattern)}{place}"

    @cached_property
    def maps(self) -> list["OneMap"]:
        """One map for each scene and pattern; all scenes are checked here.

        Raises:
            MamolError: A scene cannot be read or does not fit the checkpoint, or two have one name.
        """
        if self.many:
            for path in self.scenes:
                check_modalities(path, self.needed)
        places = {path: place for path in self.scenes if (place := self._place(path)) is not None}
        if not places:
            wanted = self.settings.predict
            raise MamolError(
                f"{'bbox' if wanted.bbox else 'polygon'}: it is outside all {len(self.scenes)} scenes of {self.many}"
            )
        named = Counter(name for name, _ in places.values())
        if (twice := named.most_common(1)[0])[1] > 1:
            same = [str(path) for path, (name, _) in places.items() if name == twice[0]]
            raise MamolError(f"{' and '.join(same)} are both called {twice[0]}; give each a name of its own")
        return [OneMap(self, path, *place, pattern) for path, place in places.items() for pattern in self.patterns]

    def scene(self, path: Path) -> Scene:
        """A scene; one is held open at a time.

        Args:
            path: One of ``scenes``.

        Raises:
            MamolError: It cannot be read or does not fit the checkpoint.
        """
        if path not in self._open:
            self._open.clear()
            within = inside(self.area, path) if self.area else None
            scene = scene_at(path, self.settings.predict.root, self.info, self.needed, within)
            check_bands(scene, self.info, self.needed)
            self._open[path] = scene
        return self._open[path]

    def _place(self, path: Path) -> tuple[str, Frame] | None:
        """Name of a scene, and the part of it that is shown; None where a scene of several shows nothing."""
        scene, wanted = self.scene(path), self.settings.predict
        try:
            frame = frame_of(scene.height, scene.width, scene.georeference, wanted.bbox, wanted.polygon)
        except Outside:
            if not self.many:
                raise
            return None
        return scene.name, frame


@dataclass(frozen=True)
class OneMap:
    """One of the maps of an order.

    Attributes:
        order: What it shares with the others.
        source: Where the scene is.
        name: Of the scene.
        frame: The part of the scene.
        pattern: Modalities that may be used.
    """

    order: Order
    source: Path
    name: str
    frame: Frame
    pattern: list[str]

    @property
    def path(self) -> Path:
        """Of its files, without ending."""
        return self.order.path(self.name, self.pattern)

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.frame.height * self.frame.width

    @property
    def rows(self) -> int:
        """Of a block."""
        spec, wanted = self.order.network.spec, self.order.settings.predict.block
        at_once = spec.grid * self.frame.width if self.order.network.dense else self.order.batch
        return min(block_rows(wanted, self.frame.width, at_once), self.frame.height)

    @property
    def starts(self) -> tuple[int, ...]:
        """First row of every block."""
        return tuple(range(0, self.frame.height, self.rows))

    def end(self, start: int) -> int:
        """The row behind a block.

        Args:
            start: Its first row.
        """
        return min(start + self.rows, self.frame.height)

    def pixels_of(self, starts: Sequence[int]) -> int:
        """How many pixels some blocks have.

        Args:
            starts: Their first rows.
        """
        return sum(self.end(start) - start for start in starts) * self.frame.width

    @property
    def classifier(self) -> Classifier:
        """What it is computed with."""
        return self.order.mapper.classifier(self.order.scene(self.source), self.pattern)

    @property
    def info(self) -> MapInfo:
        """What belongs to it besides its pixels."""
        scene = self.order.scene(self.source)
        transductive = is_transductive(self.order.network, scene.sources)
        title = map_title(self.name, self.pattern, self.order.info, transductive)
        return self.order.mapper.info(scene, self.frame, title)

    @property
    def decides(self) -> dict[str, Any]:
        """All that decides its bits."""
        wanted, device = self.order.settings.predict, self.order.device
        described = self.source / "scene.json" if self.source.is_dir() else self.source
        scene = self.order.scene(self.source)
        return {
            "checkpoint": self.order.checkpoint_sha256,
            "scene": sha256_of(described) if described.is_file() else "",
            "sources": dict(scene.sources),
            "grid": [scene.height, scene.width],
            "present": list(self.pattern),
            "bbox": list(wanted.bbox),
            "polygon": sha256_of(wanted.polygon) if wanted.polygon else "",
            "probabilities": wanted.probabilities,
            "calibration": self.order.network.calibration.fingerprint,
            "abstain": wanted.abstain,
            "block": self.rows,
            "batch": self.order.batch,
            "min_valid": min_valid_of(self.order.info),
            "stride": wanted.stride,
            "precision": self.order.settings.training.precision,
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "torch": torch.__version__,
            "version": VERSION,
        }
