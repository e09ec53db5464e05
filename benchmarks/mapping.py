"""What a map costs beyond the network: reading, cutting, blending, keeping blocks, writing; and blocks against a whole.

The plain way is the network's own forward pass on the windows that the map needs, cut beforehand, in the same batches.
"""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import Figure, alternate, ratio_figure
from benchmarks.maps import PLACE
from benchmarks.workload import WINDOW, Batch, frozen_tower, network
from mamol.data.arrays import scene_of
from mamol.data.scenes import GeoReference, Scene
from mamol.evaluation.blocks import Block, Classifier, Windows, block_rows
from mamol.evaluation.frame import Frame, frame_of
from mamol.evaluation.mapfiles import MapFiles
from mamol.evaluation.mapper import Mapper
from mamol.evaluation.partial import PartialMap
from mamol.network.network import Network
from mamol.training.machine import CPU_BATCH

WHOLE, PLAIN, BLOCKS = "map", "forward passes on windows cut beforehand", "block by block"
ENDINGS = (".tif", ".npy", ".csv")
"""Of the files; the picture has at most 1500 rows and columns, whatever the map has."""
SHAPES = {"class": (4, 16), "pixels": (4 * WINDOW, 8 * WINDOW)}
LIMIT = 1.15


@dataclass(frozen=True)
class Drawing:
    """A network and a scene of its sensors.

    Attributes:
        mapper: The network, and how it is asked.
        scene: Random rasters.
        folder: Where files go.
    """

    mapper: Mapper
    scene: Scene
    folder: Path

    @classmethod
    def of(cls, model: Network, shape: tuple[int, int], folder: Path, batch: int = CPU_BATCH) -> "Drawing":
        """Makes the scene.

        Args:
            model: The network; it is put into evaluation mode.
            shape: Rows and columns of the scene.
            folder: Where files go.
            batch: Windows at once.
        """
        rng = np.random.default_rng(0)
        arrays = {name: rng.normal(size=(*shape, bands)).astype(np.float32) for name, bands in model.spec.sizes.items()}
        scene = scene_of(arrays, georeference=GeoReference("", PLACE))
        return cls(Mapper(model.eval(), torch.device("cpu"), batch), scene, folder)

    @property
    def frame(self) -> Frame:
        """All of the scene."""
        return frame_of(self.scene.height, self.scene.width, self.scene.georeference)

    @property
    def rows(self) -> int:
        """Of a block, as few as there can be."""
        return block_rows(1, self.scene.width, self.mapper.batch)

    @property
    def classifier(self) -> Classifier:
        """What computes blocks, from all sensors."""
        return self.mapper.classifier(self.scene, self.mapper.network.spec.names)

    def whole(self) -> Block:
        """Draws the map at once and writes it."""
        block = self.classifier.block(self.frame, 0, self.scene.height)
        self._write("whole", lambda: [block])
        return block

    def in_blocks(self) -> Block:
        """Draws it in blocks of as few rows as there can be, keeps each on the disk, and writes the map from there."""
        height, rows = self.scene.height, self.rows
        starts = tuple(range(0, height, rows))
        made = PartialMap.open(self.folder / "blocks", {}, starts, 1)
        for start in starts:
            made.write(start, self.classifier.block(self.frame, start, min(start + rows, height)))
        self._write("blocks", made.blocks)
        kept = list(made.blocks())
        made.remove()
        classes, confidence, sensors = (
            np.concatenate([getattr(block, part) for block in kept]) for part in ("classes", "confidence", "sensors")
        )
        return Block(classes, confidence, sensors)

    def _write(self, name: str, blocks: Callable[[], Iterable[Block]]) -> None:
        info = self.mapper.info(self.scene, self.frame, "map")
        files = MapFiles(info, (self.scene.height, self.scene.width), blocks)
        for ending in ENDINGS:
            files.save(self.folder / f"{name}{ending}")

    def batches(self) -> list[Batch]:
        """What the network is asked while the map is drawn, as tensors."""
        classifier = self.classifier
        asked: list[Batch] = []

        def predict(windows: Windows, present: NDArray[np.bool_]) -> NDArray[np.float32]:
            tensors = {name: torch.from_numpy(each.copy()) for name, each in windows.items()}
            asked.append(tensors | {"available": torch.from_numpy(present.copy())})
            return classifier.predict(windows, present)

        replace(classifier, predict=predict).block(self.frame, 0, self.scene.height)
        return asked

    def plain(self, batches: list[Batch]) -> NDArray[np.float32]:
        """The network alone.

        Args:
            batches: Of ``batches``.

        Returns:
            (H, W, K) probabilities; windows of a dense head must not overlap.
        """
        with torch.inference_mode():
            said = torch.cat([self.mapper.network(each)[0].softmax(-1) for each in batches]).numpy()
        height, width = self.scene.height, self.scene.width
        if self.mapper.network.dense:
            side = self.mapper.network.spec.grid
            rows = said.reshape(height // side, width // side, side, side, -1)
            said = rows.transpose(0, 2, 1, 3, 4)
        return said.reshape(height, width, -1)


def run(backbone: str = "tiny", rounds: int = 2, shapes: Mapping[str, tuple[int, int]] = SHAPES) -> list[Figure]:
    """The three figures.

    Args:
        backbone: Tower.
        rounds: Timed maps of each.
        shapes: Head to rows and columns of the scene.
    """
    figures = []
    tower = frozen_tower(backbone)
    for head, shape in shapes.items():
        with tempfile.TemporaryDirectory() as folder:
            drawing = Drawing.of(network(tower, backbone=backbone, head=head), shape, Path(folder))
            figures += compared(drawing, rounds)
    return figures


def compared(drawing: Drawing, rounds: int) -> list[Figure]:
    """The map against the forward passes; of the class token the map in blocks, too.

    Args:
        drawing: Its windows do not overlap, if its head is dense.
        rounds: Timed maps of each.
    """
    batches, dense = drawing.batches(), drawing.mapper.network.dense
    ways: dict[str, Callable[[], object]] = {WHOLE: drawing.whole, PLAIN: lambda: drawing.plain(batches)}
    if not dense:
        ways[BLOCKS] = drawing.in_blocks
    made: dict[str, Any] = {}
    seconds = alternate({name: partial(_keep, made, name, way) for name, way in ways.items()}, rounds)
    whole: Block = made[WHOLE]
    np.testing.assert_allclose(made[PLAIN].max(2), whole.confidence, atol=1e-5)
    np.testing.assert_array_equal(made[PLAIN].argmax(2) + 1, whole.classes)
    height, width = whole.classes.shape
    pixel = 1000 * float(np.median(seconds[WHOLE])) / (height * width)
    sensors = len(drawing.mapper.network.spec.names)
    what = (
        f"{pixel:.3g} ms per pixel, {height} × {width} pixels, {sensors} sensors, files but the picture, equal results"
    )
    name = "map, dense" if dense else "map, class token"
    found = [ratio_figure(name, seconds, WHOLE, PLAIN, at_most=LIMIT, note=what)]
    if not dense:
        for part in ("classes", "confidence", "sensors"):
            np.testing.assert_array_equal(getattr(made[BLOCKS], part), getattr(whole, part))
        same = f"{drawing.rows} rows at once, kept on the disk, equal to the bit"
        found.append(ratio_figure("map, block by block", seconds, BLOCKS, WHOLE, at_most=1.05, note=same))
    return found


def _keep(made: dict[str, Any], name: str, way: Callable[[], object]) -> None:
    """Notes what a way made, to be compared."""
    made[name] = way()
