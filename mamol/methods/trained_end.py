"""Trained copies of what stands behind the last block, as DCP and the release have them."""

from copy import deepcopy

from torch import Tensor, nn

from mamol.core.backbone import Backbone
from mamol.core.streams import VISUAL


class TrainedEnd(nn.Module):
    """Trained copies of a tower's last norm and, of the visual tower, projection."""

    def __init__(self, tower: Backbone) -> None:
        """Copies norm and projection.

        Args:
            tower: Whose; it stays frozen.
        """
        super().__init__()
        self.norm = deepcopy(tower.last_norm).requires_grad_(True)
        self.projection = nn.Parameter(tower.projection.detach().clone()) if tower.name == VISUAL else None

    def replaced(self, tower: Backbone) -> list[Tensor]:
        """What of the tower is not used.

        Args:
            tower: The one that was copied.
        """
        return [*tower.last_norm.parameters(), *([] if self.projection is None else [tower.projection])]

    def forward(self, x: Tensor, tower: Backbone) -> Tensor:
        """From the tokens that are read to features.

        Args:
            x: (…, width).
            tower: The one that was copied; its projection serves where none was.

        Returns:
            (…, output_dim).
        """
        feature: Tensor = self.norm(x) @ (tower.projection if self.projection is None else self.projection)
        return feature
