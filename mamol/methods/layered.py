"""Methods that change the feed-forward part of some blocks and nothing else."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from mamol.core.backbone import MLP
from mamol.core.errors import MamolError
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


def chosen_blocks(wanted: str | Sequence[int], blocks: int) -> list[int]:
    """The block numbers behind ``expert_blocks``.

    Args:
        wanted: ``first6``, ``last2`` … or a list of block numbers from 0.
        blocks: How many blocks the tower has.

    Returns:
        Sorted block numbers.

    Raises:
        MamolError: A number is outside the tower, or no block is chosen.
    """
    if isinstance(wanted, str):
        word, count = ("first", wanted[5:]) if wanted.startswith("first") else ("last", wanted[4:])
        n = int(count)
        chosen = list(range(n)) if word == "first" else list(range(blocks - n, blocks))
    else:
        chosen = sorted(wanted)
    if not chosen or chosen[0] < 0 or chosen[-1] >= blocks:
        raise MamolError(f"expert_blocks={wanted!r}: the tower has the blocks 0 to {blocks - 1}; choose among them")
    return chosen
