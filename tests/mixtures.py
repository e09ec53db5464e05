"""Small pre-trained mixtures with random weights, as folders and as towers."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from mamol.backbones.mixture.folder import Pretrained, tower_of, write_pretrained
from mamol.backbones.mixture.tower import MixtureTower, Sizes, Weights
from mamol.core.backbone import Origin
from mamol.embeddings.window import WindowEmbedding
from tests.streams import randomise
from tests.toys import windows


def small_mixture(bands: Mapping[str, int], *, grid: int = 4, layers: int = 4, top_k: int = 1) -> Pretrained:
    """Width 16, two heads, four experts in the last half of the blocks; every weight random."""
    sensors = windows(dict(bands))
    sizes = Sizes(16, layers, 2, 24, grid, 4, top_k, tuple(range(layers // 2, layers)), sensors)
    weights = Weights(sizes)
    randomise(weights, 0, 0.3)
    tower = MixtureTower(sizes, weights, Origin("test"))
    embeddings = [WindowEmbedding(sensor, tower, torch.zeros(16)) for sensor in sensors]
    for number, own in enumerate(embeddings):
        randomise(own, number + 1, 0.3)
    return Pretrained(sizes, weights.state_dict(), [dict(own.named_parameters()) for own in embeddings])


def small_tower(bands: Mapping[str, int], *, grid: int = 4, layers: int = 4, top_k: int = 1) -> MixtureTower:
    """Its tower."""
    return tower_of(small_mixture(bands, grid=grid, layers=layers, top_k=top_k), grid, Origin("test"))


def small_folder(path: Path, bands: Mapping[str, int], *, layers: int = 4) -> Path:
    """Its folder."""
    write_pretrained(path, small_mixture(bands, layers=layers))
    return path


def trainable_names(module: nn.Module) -> set[str]:
    """Names of the parameters that are trained."""
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}
