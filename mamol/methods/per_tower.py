"""A method on several towers: an instance for each, of that tower's width and blocks."""

from collections.abc import Mapping
from copy import deepcopy
from typing import cast

from torch import Tensor, nn

from mamol.methods.base import Context, FeedForward, Method
from mamol.models.tower import VISUAL, Tower


class PerTower(Method):
    """Hands every hook to the instance of the tower that the streams go through."""

    def __init__(self, methods: Mapping[str, Method]) -> None:
        """Takes the instances by the name of their tower."""
        super().__init__()
        self.towers = nn.ModuleDict(methods)
        self.trains_embedding = all(method.trains_embedding for method in methods.values())

    def _of(self, tower: str) -> Method:
        return cast(Method, self.towers[tower])

    def begin(self, context: Context) -> None:
        """Prepares the pass of one tower."""
        self._of(context.tower).begin(context)

    def before_block(self, layer: int, x: Tensor, context: Context) -> Tensor:
        """The tower's prompt tokens."""
        return self._of(context.tower).before_block(layer, x, context)

    def attention_prefix(self, layer: int, context: Context) -> tuple[Tensor, Tensor] | None:
        """The tower's extra keys and values."""
        return self._of(context.tower).attention_prefix(layer, context)

    def feed_forward(self, layer: int, z: Tensor, mlp: FeedForward, context: Context) -> Tensor:
        """The tower's feed-forward part."""
        return self._of(context.tower).feed_forward(layer, z, mlp, context)

    def finish(self, x: Tensor, tower: Tower) -> Tensor:
        """The tower's feature."""
        return self._of(tower.name).finish(x, tower)

    def routing(self) -> list[nn.Module]:
        """The routers of all towers."""
        return [module for method in self.towers.values() for module in cast(Method, method).routing()]


class TrainedEnd(nn.Module):
    """Trained copies of a tower's last norm and, of the visual tower, projection, as DCP and the release have them."""

    def __init__(self, tower: Tower) -> None:
        """Copies both from ``tower``."""
        super().__init__()
        self.norm = deepcopy(tower.last_norm).requires_grad_(True)
        self.projection = nn.Parameter(tower.projection.detach().clone()) if tower.name == VISUAL else None

    def forward(self, x: Tensor, tower: Tower) -> Tensor:
        """From the tokens that are read (N, width) to features (N, output_dim)."""
        return self.norm(x) @ (tower.projection if self.projection is None else self.projection)
