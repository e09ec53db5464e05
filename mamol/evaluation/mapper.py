"""What turns a network into the map of a scene."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mamol.core.network import AnyNetwork
from mamol.data.scenes import Scene
from mamol.evaluation.blocks import (
    MIN_VALID,
    Classifier,
    Predict,
    WindowClassifier,
    Windows,
    among_all,
    undecided_code,
)
from mamol.evaluation.dense import DenseClassifier
from mamol.evaluation.frame import Frame, frame_of
from mamol.evaluation.mapinfo import MapInfo, chosen_colours
from mamol.evaluation.maps import Map
from mamol.evaluation.progress import Told
from mamol.training.machine import arithmetic, batch_on


def windows_at_once(network: AnyNetwork, device: torch.device, per_gpu: int) -> int:
    """How many windows a map's network gets, unless the user says it.

    Args:
        network: Of a dense one all pixels of a window are classified together.
        device: Where it computes.
        per_gpu: What the user allows in training.
    """
    return batch_on(device, per_gpu, network.spec.grid**2 if network.dense else 1)


@dataclass(frozen=True)
class Mapper:
    """A network, and how it is asked for maps.

    Attributes:
        network: In evaluation mode, on ``device``.
        device: Where to compute.
        batch: Pixels at once.
        min_valid: Share of a window that has to be valid.
        probabilities: Whether all probabilities are kept.
        stride: Of a dense head, from window to window; None: the windows' side.
        abstain: Accepted share of wrong pixels; None: all are decided.
        precision: Of the arithmetic; ``auto`` is 32 bits, on a GPU, too.
    """

    network: AnyNetwork
    device: torch.device
    batch: int
    min_valid: float = MIN_VALID
    probabilities: bool = False
    stride: int | None = None
    abstain: float | None = None
    precision: str | int = "auto"

    def classifier(self, scene: Scene, pattern: Sequence[str]) -> Classifier:
        """What the blocks of a scene's map are computed with.

        Args:
            scene: It has the rasters of the pattern.
            pattern: Modalities that may be used; each pixel uses those of them that saw it.
        """
        spec = self.network.spec
        dense = self.network.dense
        common = (
            predictor(self.network, pattern, self.device, self.precision, pixels=dense),
            {name: scene.readers[name] for name in pattern},
            {name: bit for bit, name in enumerate(spec.names)},
            spec.grid,
            len(spec.classes),
            self.batch,
            self.probabilities,
            self.network.calibration,
            self.abstain,
        )
        if dense:
            return DenseClassifier(*common, stride=self.stride or spec.grid)
        return WindowClassifier(*common, min_valid=self.min_valid)

    def info(self, scene: Scene, frame: Frame, title: str) -> MapInfo:
        """What belongs to a map besides its pixels.

        Args:
            scene: It knows colours.
            frame: It knows the place.
            title: Of the map.
        """
        spec = self.network.spec
        colours = chosen_colours(spec.classes, scene.colours)
        undecided = None if self.abstain is None else undecided_code(len(spec.classes))
        coverage = self.network.calibration.coverage
        return MapInfo(spec.classes, title, frame.georeference, colours, spec.names, undecided, coverage)


def draw_map(mapper: Mapper, scene: Scene, pattern: Sequence[str], title: str, *, progress: bool = False) -> Map:
    """Classifies every pixel of a scene, in memory.

    Args:
        mapper: What classifies.
        scene: It has the rasters of the pattern.
        pattern: Modalities that may be used; each pixel uses those of them that saw it.
        title: Of the map.
        progress: Whether to show a progress bar, on stderr.
    """
    frame = frame_of(scene.height, scene.width, scene.georeference)
    with Told("classifying", frame.height * frame.width, shown=progress) as told:
        block = mapper.classifier(scene, pattern).block(frame, 0, frame.height, told.advance)
    return Map.of_block(block, mapper.info(scene, frame, title))


def predictor(
    network: AnyNetwork,
    modalities: Sequence[str],
    device: torch.device,
    precision: str | int = "auto",
    *,
    pixels: bool = False,
) -> Predict:
    """What gives class probabilities of windows, as the network says them: not calibrated.

    Args:
        network: In evaluation mode, on ``device``.
        modalities: Those that the windows are of, in the order of the columns of the presence; others are absent.
        device: Where to compute.
        precision: Of the arithmetic; ``auto`` is 32 bits.
        pixels: Whether a dense head is asked for all pixels of the windows, not only for the middle ones.

    Returns:
        A function of modality to windows (B, C, P, P) float32, one entry for each of ``modalities``, and of their
        presence (B, M) bool; it gives (B, K) float32, or (B, P, P, K).
    """
    sizes = network.spec.sizes
    columns = [list(sizes).index(name) for name in modalities]

    @torch.inference_mode()
    def probabilities(windows: Windows, present: NDArray[np.bool_]) -> NDArray[np.float32]:
        side = network.spec.grid
        available = among_all(present, columns, len(sizes))
        batch = {
            name: torch.from_numpy(windows[name]).to(device)
            if name in windows
            else torch.zeros(1, device=device).expand(len(present), bands, side, side)
            for name, bands in sizes.items()
        }
        batch["available"] = torch.from_numpy(available).to(device)
        with arithmetic(32 if precision == "auto" else precision, device):
            logits = network.classify(batch, pixels=pixels)
        return logits.float().softmax(-1).cpu().numpy()

    return probabilities
