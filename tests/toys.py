"""Small networks and batches for the invariant tests."""

from typing import Any

import torch
from torch import Tensor

from mamol.backbones.architectures import TINY
from mamol.core.backbone import Backbone, BackboneRequest, family_of
from mamol.core.method import METHODS
from mamol.core.modality import WINDOW, Modality
from mamol.core.network import AnyNetwork
from mamol.core.spec import NetworkSpec
from mamol.core.streams import VISUAL
from mamol.network.network import Network

NARROW = TINY.visual.width // 4
"""Of ``backbone=tiny`` in the suite, half of whose time would go into its products."""
BANDS = {"hsi": 5, "lidar": 1, "sar": 2, "ms": 3}
CLASSES = ["water", "grass", "roads"]
GRID = 4


def tiny_tower(grid: int = GRID, seed: int = 0) -> Backbone:
    """The visual tower of ``backbone=tiny``."""
    return family_of("tiny").visual(BackboneRequest("tiny", "random", seed=seed), grid)


def windows(bands: dict[str, int]) -> tuple[Modality, ...]:
    """Modalities of windows with so many bands."""
    return tuple(Modality(name, WINDOW, size) for name, size in bands.items())


def toy_network(
    m: int = 2,
    method: str = "mamol",
    *,
    tower: Backbone | None = None,
    fusion: str = "late",
    head: str = "class",
    compensate: bool = False,
    head_blocks: list[int] | str | None = None,
    train_backbone: bool | str = False,
    **options: Any,
) -> Network:
    """A network on the tiny tower with a 4 × 4 grid and the first m modalities."""
    modalities = windows(dict(list(BANDS.items())[:m]))
    known = {name: value for name, value in options.items() if name in METHODS[method].options}
    own = {"compensate": compensate, "head_blocks": head_blocks, "train_backbone": train_backbone}
    spec = NetworkSpec("tiny", method, modalities, tuple(CLASSES), GRID, known, fusion=fusion, head=head, options=own)
    return Network(spec, {VISUAL: tower or tiny_tower()}, seed=0)


def toy_batch(samples: int = 6, m: int = 2, seed: int = 0, grid: int = GRID) -> dict[str, Tensor]:
    """Random windows; the first sample is complete and every sample has something."""
    generator = torch.Generator().manual_seed(seed)
    available = torch.rand(samples, m, generator=generator) < 0.6
    available[0] = True
    available[~available.any(1), 0] = True
    windows = {n: torch.randn(samples, BANDS[n], grid, grid, generator=generator) for n in list(BANDS)[:m]}
    return {**windows, "available": available, "label": torch.arange(samples) % len(CLASSES)}


def shake(network: AnyNetwork, seed: int = 1) -> None:
    """Random trainable weights, so that zero-initialised experts do something."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
