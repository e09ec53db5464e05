"""What DIS2 does with all modalities together: hierarchical fusion, classes that attend, a decoder for each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.networks.dis2_encoders import SLOPE, WIDTHS, Levels, Pool, sides_of, step

HEADS, LAYERS, MLP_WIDTH = 8, 2, 256  # of the transformer of the coarsest level
THIN = 8  # the decoder's finest map has so many times fewer channels than the finest level


class PreNormed(nn.Conv2d):
    """A convolution behind a norm over all values of a sample, which has no weights, and a leaky ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """Norm, activation, convolution.

        Args:
            x: (n, C, h, w).
        """
        return super().forward(functional.leaky_relu(functional.layer_norm(x, x.shape[1:]), SLOPE))


def mirrored(before: int, behind: int) -> PreNormed:
    """A 3 × 3 convolution that sees the map mirrored at its borders.

    Args:
        before: Channels that come in.
        behind: Channels that go out.
    """
    return PreNormed(before, behind, 3, padding=1, padding_mode="reflect")


def resized(x: Tensor, side: int) -> Tensor:
    """Bilinear, corners on corners.

    Args:
        x: (n, C, h, w).
        side: Wanted.
    """
    return functional.interpolate(x, (side, side), mode="bilinear", align_corners=True)


@dataclass(frozen=True)
class Fused:
    """Of the fusion.

    Attributes:
        levels: The fused maps.
        token: (n, C), the global one.
    """

    levels: Levels
    token: Tensor


class Fusion(nn.Module):
    """Convolutions at the fine levels, each with a residual from the level before; a transformer at the coarsest.

    Attributes:
        mix: Of each level but the coarsest.
        residual: From each of these to the next of these.
        pool: From the last of these to a token for the transformer, through ``project``.
        token: The global one.
        position: (M, N, C), added to the positions of each modality.
        transformer: All tokens together.
        unify: From the positions of all modalities to one map.
    """

    def __init__(self, modalities: int, side: int) -> None:
        """Makes it.

        Args:
            modalities: M.
            side: P.
        """
        super().__init__()
        sides = sides_of(side)
        *fine, width = WIDTHS[: len(sides) - 1]
        self.mix = nn.ModuleList(
            nn.Sequential(
                PreNormed(modalities * channels, channels, 1),
                PreNormed(channels, channels, 3, padding=1),
                PreNormed(channels, channels, 1),
            )
            for channels in fine
        )
        self.residual = nn.ModuleList(
            nn.Sequential(step(*pair, halves=True), nn.BatchNorm2d(pair[1])) for pair in pairwise(fine)
        )
        self.pool = nn.Sequential(Pool(fine[-1]), nn.Linear(fine[-1], width)) if fine else None
        self.token = nn.Parameter(torch.zeros(width))
        self.position = nn.Parameter(torch.zeros(modalities, sides[-1] ** 2, width))
        layer = nn.TransformerEncoderLayer(width, HEADS, MLP_WIDTH, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.unify = nn.Linear(modalities * width, width)

    def forward(self, slots: Sequence[Sequence[Tensor]]) -> Fused:
        """Fuses.

        Args:
            slots: The maps of each modality, level by level.
        """
        *fine, coarse = slots
        levels: Levels = []
        for number, (mix, maps) in enumerate(zip(self.mix, fine, strict=True)):
            fused = mix(torch.cat(list(maps), 1))
            levels.append(fused + self.residual[number - 1](levels[-1]) if number else fused)
        tokens = torch.stack([each.flatten(2).transpose(1, 2) for each in coarse], 1) + self.position  # (n, M, N, C)
        around = [self.token.expand(len(tokens), 1, -1), tokens.flatten(1, 2)]
        if self.pool is not None:
            around.append(self.pool(levels[-1])[:, None])
        out = self.transformer(torch.cat(around, 1))
        _, modalities, positions, _ = tokens.shape
        read = out[:, 1 : 1 + modalities * positions].unflatten(1, (modalities, positions)).transpose(1, 2)
        unified = self.unify(read.flatten(2)).transpose(1, 2)  # (n, C, N)
        return Fused([*levels, unified.unflatten(2, coarse[0].shape[2:])], out[:, 0])


class ClassAttention(nn.Module):
    """A learned query of each class attends to the positions of the coarsest fused map, which keeps its places.

    Attributes:
        queries: (K, C).
    """

    def __init__(self, width: int, classes: int) -> None:
        """Makes it.

        Args:
            width: C.
            classes: K.
        """
        super().__init__()
        self.queries = nn.Parameter(nn.init.xavier_uniform_(torch.empty(classes, width)))

    def forward(self, x: Tensor) -> Tensor:
        """How much each class looks at each position.

        Args:
            x: (n, C, h, w).

        Returns:
            (n, K, h, w), of sum one over the positions.
        """
        scores = torch.einsum("kc,nchw->nkhw", self.queries, x) / sqrt(x.shape[1])
        return scores.flatten(2).softmax(-1).view_as(scores)


@dataclass(frozen=True)
class Output:
    """Of a branch.

    Attributes:
        logits: (n, K, P, P).
        scales: As ``logits``, of the decoder's levels by themselves, the coarsest first.
        penultimate: (n, C, P, P), the features of all classes that the logits are made of.
        attention: (n, K, h, w).
        fused: Of the fusion.
    """

    logits: Tensor
    scales: list[Tensor]
    penultimate: Tensor
    attention: Tensor
    fused: Fused


class ClassDecoder(nn.Module):
    """The way back for each class by itself, with the same weights; then the classes are mixed.

    Attributes:
        rise: Behind each doubling of the side.
        merge: Beside the skip.
        heads: A logit of each class at each level, the coarsest first; each class has weights of its own.
        mix: From the finest features of all classes to common ones.
        last: From these to logits.
    """

    def __init__(self, side: int, classes: int) -> None:
        """Makes it.

        Args:
            side: P.
            classes: K.
        """
        super().__init__()
        self.classes = classes
        self.side = side
        widths = WIDTHS[: len(sides_of(side)) - 1]
        finer = widths[-2::-1]
        merged = [*finer[:-1], widths[0] // THIN] if finer else []
        entering = [widths[-1], *merged[:-1]]
        self.rise = nn.ModuleList(mirrored(before, skip) for before, skip in zip(entering, finer, strict=False))
        self.merge = nn.ModuleList(mirrored(2 * skip, behind) for skip, behind in zip(finer, merged, strict=True))
        features = [widths[-1], *merged]
        self.heads = nn.ModuleList(nn.Conv2d(classes * width, classes, 1, groups=classes) for width in features)
        self.mix = nn.Sequential(
            mirrored(classes * features[-1], 2 * widths[0]),
            mirrored(2 * widths[0], widths[0]),
        )
        self.last = nn.Conv2d(widths[0], classes, 1)

    def forward(self, fused: Fused, attention: Tensor) -> Output:
        """From fused maps to logits.

        Args:
            fused: Of the fusion.
            attention: (n, K, h, w).
        """
        *finer, coarse = fused.levels
        # The classes are folded into the batch: (n·K, C, h, w).
        x = (attention[:, :, None] * coarse[:, None]).flatten(0, 1)
        scales = [self._head(0, x)]
        for number, (rise, merge, skip) in enumerate(zip(self.rise, self.merge, finer[::-1], strict=True), 1):
            beside = skip.repeat_interleave(self.classes, 0)
            x = merge(torch.cat([beside, rise(resized(x, skip.shape[-1]))], 1))
            scales.append(self._head(number, x))
        together = resized(x, self.side).unflatten(0, (-1, self.classes)).flatten(1, 2)
        penultimate = self.mix(together)
        return Output(self.last(penultimate), scales, penultimate, attention, fused)

    def _head(self, number: int, x: Tensor) -> Tensor:
        """The logits of a level, at the window's side."""
        return resized(self.heads[number](x.unflatten(0, (-1, self.classes)).flatten(1, 2)), self.side)


class Branch(nn.Module):
    """Fusion, attention of the classes, decoder.

    Attributes:
        fusion: Of the modalities.
        attention: Of the classes.
        decoder: To logits.
    """

    def __init__(self, modalities: int, side: int, classes: int) -> None:
        """Makes it.

        Args:
            modalities: M.
            side: P.
            classes: K.
        """
        super().__init__()
        self.fusion = Fusion(modalities, side)
        self.attention = ClassAttention(self.fusion.unify.out_features, classes)
        self.decoder = ClassDecoder(side, classes)

    def forward(self, slots: Sequence[Sequence[Tensor]]) -> Output:
        """From the maps of all modalities to logits.

        Args:
            slots: As of the fusion.
        """
        fused = self.fusion(slots)
        output: Output = self.decoder(fused, self.attention(fused.levels[-1]))
        return output
