"""A vision transformer, one token per pixel, in some of whose blocks the feed-forward part is a mixture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypedDict, cast

import torch
from torch import Tensor, nn

from mamol.backbones.blocks import PreNormBlock
from mamol.backbones.mixture.experts import Dense, Knowledge, Mixture, Told
from mamol.core.backbone import MLP, Backbone, Origin
from mamol.core.errors import MamolError
from mamol.core.modality import WINDOW, Modality
from mamol.core.plain import Size, fitted, record, shown
from mamol.core.streams import VISUAL, Streams

NAMED = {"tiny": (128, 12, 2), "small": (384, 12, 6), "base": (768, 12, 12)}
"""Name of a size to width, layers and heads; those of ``backbone=tiny``, ViT-S and ViT-B."""
NUMBERS = ("width", "layers", "heads", "hidden", "grid", "experts", "top_k")
LARGEST = 2**14
"""Of each; a file decides on them before anything is allocated."""


class Sensor(TypedDict):
    """One of them in JSON."""

    name: str
    bands: Size


@dataclass(frozen=True)
class Sizes:
    """Everything but the weights.

    Attributes:
        width: Of a token.
        layers: Blocks.
        heads: Of the attention; they share the width.
        hidden: Of an MLP and of every expert.
        grid: Tokens per side of the windows that it was trained with.
        experts: K of each mixture.
        top_k: How many of them a token uses.
        mixtures: Blocks with a mixture, from 0.
        sensors: What it was trained with.
        experts_per_block: Experts of each of ``mixtures``, as ``prune`` leaves them; None: K in all.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    grid: int
    experts: int
    top_k: int
    mixtures: tuple[int, ...]
    sensors: tuple[Modality, ...]
    experts_per_block: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Checks that the sizes fit each other, as they may come from a file.

        Raises:
            MamolError: They do not.
        """
        for name in NUMBERS:
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= LARGEST:
                raise MamolError(f"{name} is {shown(value)}, expected a whole number from 1 to {LARGEST}")
        if self.width % self.heads:
            raise MamolError(f"heads is {self.heads}, expected a divisor of the width {self.width}")
        if self.top_k > self.experts:
            raise MamolError(f"top_k is {self.top_k}, expected at most the {self.experts} experts")
        if not self.sensors:
            raise MamolError("sensors is empty, expected at least one")
        if not set(self.mixtures) <= set(range(self.layers)):
            raise MamolError(f"mixtures is {list(self.mixtures)}, expected blocks from 0 to {self.layers - 1}")
        each = self.experts_per_block
        if each is not None and (len(each) != len(self.mixtures) or any(type(n) is not int or n < 1 for n in each)):
            raise MamolError(
                f"experts_per_block is {list(each)}, expected a whole number from 1 for each of the "
                f"{len(self.mixtures)} mixtures"
            )

    def experts_of(self, block: int) -> int:
        """How many experts a block has; 0 without a mixture.

        Args:
            block: From 0.
        """
        if block not in self.mixtures:
            return 0
        each = self.experts_per_block
        return self.experts if each is None else each[self.mixtures.index(block)]

    @classmethod
    def named(
        cls,
        name: str,
        sensors: Sequence[Modality],
        grid: int,
        *,
        experts: int = 4,
        top_k: int = 1,
        mixtures: Sequence[int] | None = None,
    ) -> "Sizes":
        """One of the three sizes.

        Args:
            name: A key of ``NAMED``.
            sensors: What it is trained with.
            grid: Tokens per side of a window.
            experts: K.
            top_k: How many of them a token uses.
            mixtures: Blocks with a mixture; None: the last half.
        """
        width, layers, heads = NAMED[name]
        chosen = range(layers // 2, layers) if mixtures is None else mixtures
        return cls(width, layers, heads, 4 * width, grid, experts, top_k, tuple(chosen), tuple(sensors))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        sensors = [{"name": each.name, "bands": each.size} for each in self.sensors]
        each = plain.pop("experts_per_block")  # earlier versions know no such key, and read a folder without it
        own = {} if each is None else {"experts_per_block": list(each)}
        return {**plain, "mixtures": list(self.mixtures), "sensors": sensors, **own}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Sizes":
        """Back from plain values.

        Args:
            content: Of ``to_json``.

        Raises:
            ValueError: A key is missing or unknown, a value is of another type, or a size does not fit.
        """
        values = dict(content)
        try:
            described = fitted(values.pop("sensors"), tuple[Sensor, ...], "sensors")
            sensors = tuple(Modality(each["name"], WINDOW, each["bands"]) for each in described)
            return cls(**record(values, cls), sensors=sensors)
        except (TypeError, KeyError) as error:
            raise ValueError(f"its sizes are described in another way ({error!r})") from error


class Layer(nn.Module):
    """The weights of a block."""

    def __init__(self, sizes: Sizes, experts: int = 0) -> None:
        """Makes norms, attention and feed-forward part.

        Args:
            sizes: Of the tower.
            experts: Of the mixture; 0: the feed-forward part is none.
        """
        super().__init__()
        width, hidden = sizes.width, sizes.hidden
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, sizes.heads)
        top_k = min(sizes.top_k, experts)
        self.feed_forward = Mixture(width, hidden, experts, top_k) if experts else Dense(width, hidden)


class Weights(nn.Module):
    """All weights of the tower, drawn from torch's generator."""

    def __init__(self, sizes: Sizes) -> None:
        """Makes them.

        Args:
            sizes: Of the tower.
        """
        super().__init__()
        width = sizes.width
        self.class_token = nn.Parameter(0.02 * torch.randn(width))
        self.positions = nn.Parameter(0.02 * torch.randn(1 + sizes.grid**2, width))
        self.layers = nn.ModuleList(Layer(sizes, sizes.experts_of(number)) for number in range(sizes.layers))
        self.knowledge = Knowledge(sizes.sensors)
        self.last_norm = nn.LayerNorm(width)


class MixtureBlock(PreNormBlock):
    """A view of a block's weights and of what routers are told."""

    def __init__(self, layer: Layer, knowledge: Knowledge) -> None:
        """Takes them.

        Args:
            layer: Of the block.
            knowledge: Of the tower.
        """
        super().__init__((layer.norm_1, layer.norm_2), layer.attention, layer.feed_forward)
        self.knowledge = knowledge

    def mlp(self, streams: Streams) -> MLP:
        """The mixture, its router told of the streams; or the plain MLP."""
        if not isinstance(self.feed_forward, Mixture):
            return self.feed_forward
        return Told(self.feed_forward, partial(self.knowledge, streams))


class MixtureTower(Backbone):
    """The tower, for windows.

    Attributes:
        sizes: Of it.
        weights: All of them.
        starts: Sensor to where its embedding begins, by the names of ``WindowEmbedding``.
    """

    name = VISUAL

    def __init__(
        self,
        sizes: Sizes,
        weights: Weights,
        origin: Origin,
        starts: Mapping[tuple[str, int], Mapping[str, Tensor]] | None = None,
    ) -> None:
        """Freezes the weights.

        Args:
            sizes: Those of ``weights``.
            weights: Of the tower.
            origin: Where they come from.
            starts: Name and bands of a sensor to its embedding; None: there is none.
        """
        super().__init__(weights, origin)
        self.sizes, self.weights = sizes, weights
        self.starts = {} if starts is None else dict(starts)
        self.width = self.output_dim = sizes.width
        self.blocks = tuple(MixtureBlock(cast(Layer, layer), weights.knowledge) for layer in weights.layers)
        self.register_buffer("identity", torch.eye(sizes.width), persistent=False)

    @property
    def last_norm(self) -> nn.LayerNorm:
        """The norm behind the blocks."""
        return self.weights.last_norm

    @property
    def projection(self) -> Tensor:
        """None was trained: a feature is what leaves the norm."""
        return cast(Tensor, self.identity)

    def embed(self, x: Tensor) -> Tensor:
        """Images have no way into this tower; windows are embedded by the network."""
        raise MamolError(f"{self.origin}: takes windows alone; images need a CLIP")

    def embedding_of(self, modality: Modality) -> Mapping[str, Tensor]:
        """That of the sensor of this name and number of bands, if the tower was trained with it."""
        return self.starts.get((modality.name, modality.size), {})

    def begin(self, tokens: Tensor) -> Tensor:
        """Class token in front, positions added; each window of a sequence gets the same positions."""
        positions = self.weights.positions
        first = (self.weights.class_token + positions[0]).expand(len(tokens), 1, -1)
        placed = (tokens.unflatten(1, (-1, len(positions) - 1)) + positions[1:]).flatten(1, 2)
        return torch.cat([first.to(placed.dtype), placed], 1)
