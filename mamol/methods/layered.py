"""Methods that change the feed-forward part of some blocks and nothing else."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mamol.core.backbone import MLP, chosen_blocks
from mamol.core.method import Method, PassT


class Layered(Method[PassT]):
    """A method with one layer per chosen block.

    Attributes:
        layers: Block number to a module that is called with (layer, z, mlp, state), as ``feed_forward`` is.
    """

    def __init__(self, wanted: str | Sequence[int], blocks: int, make: Callable[[int], nn.Module]) -> None:
        """Makes the layers.

        Args:
            wanted: ``expert_blocks``.
            blocks: How many blocks the tower has.
            make: Block number to layer.

        Raises:
            MamolError: A block outside the tower.
        """
        super().__init__()
        self.layers = nn.ModuleDict({str(block): make(block) for block in chosen_blocks(wanted, blocks)})

    def routers(self) -> list[nn.Module]:
        """The routers of the layers that have one."""
        routers = (getattr(layer, "router", None) for layer in self.layers.values())
        return [router for router in routers if router is not None]

    def feed_forward(self, layer: int, z: Tensor, mlp: MLP, state: PassT) -> Tensor:
        """The layer of a chosen block; the frozen MLP elsewhere."""
        if str(layer) not in self.layers:
            return mlp(z)
        changed: Tensor = self.layers[str(layer)](layer, z, mlp, state)
        return changed
