"""A method on several towers: an instance for each, of that tower's width and blocks."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from mamol.core.attention import Prefix
from mamol.core.backbone import MLP, Backbone
from mamol.core.method import Batch, Method, MethodEntry, Pass, Predicts, Towers
from mamol.core.streams import Streams, Trace
from mamol.core.task import Task

AnyMethod = Method[Any]


class PerTower(Method[Pass]):
    """Hands every hook to the instance of the tower that the streams go through."""

    def __init__(self, methods: Mapping[str, AnyMethod]) -> None:
        """Takes the instances.

        Args:
            methods: Tower to its instance; all are of one method.
        """
        super().__init__()
        self.towers = nn.ModuleDict(methods)
        self.trains_embedding = all(method.trains_embedding for method in methods.values())
        self.needs_complete = any(method.needs_complete for method in methods.values())

    def _of(self, tower: str) -> AnyMethod:
        return cast(AnyMethod, self.towers[tower])

    def begin(self, streams: Streams, trace: Trace | None = None) -> Pass:
        """Prepares the pass of one tower."""
        state: Pass = self._of(streams.tower).begin(streams, trace)
        return state

    def before_block(self, layer: int, x: Tensor, state: Pass) -> Tensor:
        """The tower's prompt tokens."""
        return self._of(state.streams.tower).before_block(layer, x, state)

    def attention_prefix(self, layer: int, state: Pass) -> Prefix | None:
        """The tower's extra keys and values."""
        return self._of(state.streams.tower).attention_prefix(layer, state)

    def feed_forward(self, layer: int, z: Tensor, mlp: MLP, state: Pass) -> Tensor:
        """The tower's feed-forward part."""
        return self._of(state.streams.tower).feed_forward(layer, z, mlp, state)

    def finish(self, x: Tensor, backbone: Backbone, state: Pass) -> Tensor:
        """The tower's feature."""
        return self._of(state.streams.tower).finish(x, backbone, state)

    def auxiliary_loss(self, state: Pass) -> Tensor | None:
        """The tower's auxiliary loss of this pass."""
        return self._of(state.streams.tower).auxiliary_loss(state)

    def loss(self, network: Predicts, batch: Batch, task: Task) -> dict[str, Tensor]:
        """That of the first tower's instance: the instances are of one method."""
        return next(iter(cast(Mapping[str, AnyMethod], self.towers).values())).loss(network, batch, task)

    def replaced(self, backbone: Backbone) -> Iterable[Tensor]:
        """Those of the tower's instance."""
        return self._of(backbone.name).replaced(backbone)

    def routers(self) -> list[nn.Module]:
        """The routers of all towers."""
        return [module for method in self.towers.values() for module in cast(AnyMethod, method).routers()]


def build(entry: MethodEntry, towers: Towers, options: Mapping[str, Any]) -> AnyMethod:
    """Makes a method for the towers of a network.

    Args:
        entry: Which.
        towers: What it is added to.
        options: Settings by name; the method's own defaults stand for the others.

    Returns:
        The method with fresh weights.

    Raises:
        MamolError: Settings that do not fit each other or a tower.
    """
    settings = entry.settings(**options)
    if entry.together or len(towers.backbones) == 1:
        return entry.make(towers, settings)
    return PerTower({name: entry.make(each, settings) for each in towers.each() for name in each.backbones})
