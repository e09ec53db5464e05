"""A very small tower and its streams, for comparing a method with its equations written out."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from mamol.backbones.blocks import ClipMLP
from mamol.backbones.clip import VisualTower
from mamol.core.backbone import Backbone, Origin
from mamol.core.method import Towers
from mamol.core.streams import VISUAL, Streams

WIDTH, LAYERS, GRID, OUT = 16, 4, 2, 6


def small_tower(seed: int = 0, grid: int = GRID) -> VisualTower:
    """Four blocks of width 16, two heads, a 2 × 2 grid; random weights."""
    visual = VisionTransformer(grid * 4, 4, WIDTH, LAYERS, heads=2, mlp_ratio=4.0, output_dim=OUT)
    randomise(visual, seed, 0.3)
    return VisualTower(visual, Origin("test"))


def randomise(module: nn.Module, seed: int = 1, scale: float = 0.4) -> None:
    """Random parameters, norms near one, so that nothing is zero by initialisation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            draw = torch.randn(parameter.shape, generator=generator) * scale
            parameter.copy_(1 + draw if "ln_" in name and name.endswith("weight") else draw)


def alone(tower: Backbone, m: int) -> Towers:
    """One tower, through which all m modalities go."""
    return Towers({VISUAL: tower}, {VISUAL: range(m)}, m)


def streams(m: int, n: int = 5, seed: int = 0) -> Streams:
    """Streams of n samples with random patterns of m modalities."""
    generator = torch.Generator().manual_seed(seed)
    modality = torch.arange(n) % m
    available = (torch.rand(n, m, generator=generator) < 0.5).float()
    available[torch.arange(n), modality] = 1
    return Streams(available, torch.arange(n), modality)


def tokens(n: int = 5, count: int = GRID * GRID, seed: int = 2) -> Tensor:
    """Random tokens (n, count, width) that take a gradient."""
    return torch.randn(n, count, WIDTH, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def assert_same(module: nn.Module, x: Tensor, fast: Callable[[], Tensor], plain: Callable[[], Tensor]) -> None:
    """Both give the same output and the same gradient of x and of every trainable parameter."""
    leaves = {"x": x} | {name: p for name, p in module.named_parameters() if p.requires_grad}
    results = []
    for way in (fast, plain):
        out = way()
        target = torch.randn(out.shape, generator=torch.Generator().manual_seed(3))
        grads = torch.autograd.grad((out * target).sum(), list(leaves.values()), allow_unused=True)
        results.append((out, grads))
    (ours, our_grads), (theirs, their_grads) = results
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    for (name, leaf), a, b in zip(leaves.items(), our_grads, their_grads, strict=True):
        a, b = (torch.zeros_like(leaf) if g is None else g for g in (a, b))
        torch.testing.assert_close(a, b, atol=5e-5, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}")


def number(available: Tensor) -> int:
    """The row of a pattern, from the definition: bit i is modality i, the empty pattern is left out."""
    return sum(2**i for i, has in enumerate(available.tolist()) if has) - 1


def vit_b_16() -> Any:
    """Stands for ViT-B/16's tower where only sizes matter; on the meta device."""
    with torch.device("meta"):
        mlp = nn.Sequential()
        for name, part in (("c_fc", nn.Linear(768, 3072)), ("gelu", nn.GELU()), ("c_proj", nn.Linear(3072, 768))):
            mlp.add_module(name, part)
        norm, projection = nn.LayerNorm(768), nn.Parameter(torch.empty(768, 512))
    blocks = [SimpleNamespace(feed_forward=ClipMLP(mlp))] * 12
    return SimpleNamespace(name="visual", width=768, blocks=blocks, last_norm=norm, projection=projection)
