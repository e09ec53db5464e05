"""The network and the batches that the benchmarks run on: random weights and windows, Houston's shapes."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.backbone import RANDOM, Backbone, BackboneRequest, family_of
from mamol.core.modality import WINDOW as WINDOWS
from mamol.core.modality import Modality
from mamol.core.spec import NetworkSpec
from mamol.core.streams import VISUAL
from mamol.network.network import Network
from mamol.training.optim import optimiser

BACKBONE = "ViT-B-16-quickgelu"
HOUSTON = {"hsi": 144, "lidar": 1}
CLASSES = tuple(f"class {i}" for i in range(15))
WINDOW = 14
TOKENS = 1 + WINDOW**2
COMPLETE, WITHOUT_HSI, WITHOUT_LIDAR = (True, True), (False, True), (True, False)
BATCH_OF_8 = [COMPLETE] * 3 + [WITHOUT_HSI] * 3 + [WITHOUT_LIDAR] * 2
"""The batch of the step's figures: 11 of its 16 streams are present."""
BATCH_OF_3 = [COMPLETE, WITHOUT_HSI, WITHOUT_LIDAR]
"""The batch of the encoder's figures, which need more rounds: 4 present streams."""

Batch = dict[str, Tensor]


def frozen_tower(backbone: str = BACKBONE) -> Backbone:
    """The tower with random weights; what they are does not change the cost."""
    return family_of(backbone).visual(BackboneRequest(backbone, RANDOM), WINDOW)


def network(
    tower: Backbone,
    modalities: Mapping[str, int] = HOUSTON,
    backbone: str = BACKBONE,
    method: str = "mamol",
    *,
    head: str = "class",
    compensate: bool = False,
) -> Network:
    """MaMOL, or another method, with its default options."""
    inputs = tuple(Modality(name, WINDOWS, bands) for name, bands in modalities.items())
    options = {"compensate": compensate}
    return Network(NetworkSpec(backbone, method, inputs, CLASSES, WINDOW, head=head, options=options), {VISUAL: tower})


def batch(available: Sequence[Sequence[bool]], modalities: Mapping[str, int] = HOUSTON) -> Batch:
    """Random windows with these missing patterns, one row per sample."""
    generator = torch.Generator().manual_seed(0)
    count = len(available)
    windows = {
        name: torch.randn(count, bands, WINDOW, WINDOW, generator=generator) for name, bands in modalities.items()
    }
    return windows | {"available": torch.tensor(available), "label": torch.arange(count) % len(CLASSES)}


def labelled_pixels(data: Batch) -> Batch:
    """The batch with a random class at every pixel, as a dense head learns from."""
    generator = torch.Generator().manual_seed(1)
    shape = len(data["label"]), WINDOW, WINDOW
    return data | {"label": torch.randint(len(CLASSES), shape, generator=generator)}


def with_holes(data: Batch, modality: str = "hsi") -> Batch:
    """The batch with windows of a modality, of whose rows the sensor did not see the first third; NaN is there."""
    windows = data[modality].clone()
    windows[:, :, : WINDOW // 3] = torch.nan
    return data | {modality: windows}


def both_missing(samples: int, rate: float) -> list[tuple[bool, bool]]:
    """Patterns of two modalities, half of ``rate`` of the samples without each (an odd one without the first)."""
    incomplete = round(samples * rate)
    first = -(-incomplete // 2)
    patterns = [WITHOUT_HSI] * first + [WITHOUT_LIDAR] * (incomplete - first)
    return patterns + [COMPLETE] * (samples - incomplete)


def present_streams(data: Batch) -> int:
    """How many streams of a batch are present."""
    return int(data["available"].sum())


def loss_of(model: nn.Module, data: Batch) -> Tensor:
    """Mean cross-entropy of a network or of its plain form; of a dense head over all pixels."""
    output = model(data)
    logits = output[0] if isinstance(output, tuple) else output
    return functional.cross_entropy(logits.flatten(0, -2), data["label"].flatten())


def training_step(model: nn.Module, data: Batch) -> Callable[[], None]:
    """A step with the default optimiser: forward, backward, update."""
    return step_of(model, lambda: loss_of(model, data))


def step_of(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """As ``training_step``, of another loss."""
    optimizer = optimiser(model, "adamw", 1e-4, 2e-2)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def sum_of(terms: dict[str, Tensor]) -> Tensor:
    """What a training step descends.

    Args:
        terms: Of ``AnyNetwork.loss``.
    """
    return torch.stack(list(terms.values())).sum()


def inference(model: nn.Module, data: Batch) -> Callable[[], None]:
    """Forward only, in evaluation mode and without gradients."""
    model.eval()

    def forward() -> None:
        with torch.inference_mode():
            model(data)

    return forward
