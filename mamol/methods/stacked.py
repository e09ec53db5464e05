"""Low-rank experts, stacked: one product down, gates in the rank space, one product up."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional


class StackedLoRA(nn.Module):
    """E experts ``B_e A_e`` of rank r (Eq. 13) as two matrices.

    Computing all experts of all tokens in one product and gating the r-wide results is exact, and cheaper than
    picking tokens per expert: the whole stack is only ``E·r`` wide.

    Attributes:
        down: (E·r, width), the A_e below one another; normal with standard deviation ``1/sqrt(width)``.
        up: (out_width, E·r), the B_e side by side; zero, so that the method starts as the frozen tower.
    """

    def __init__(self, experts: int, width: int, rank: int, out_width: int | None = None) -> None:
        """Makes the stack.

        Args:
            experts: E, how many experts.
            width: Token width d.
            rank: r.
            out_width: Width after the product, if it is not d.
        """
        super().__init__()
        self.rank = rank
        self.down = nn.Parameter(torch.empty(experts * rank, width))
        self.up = nn.Parameter(torch.zeros(out_width or width, experts * rank))
        nn.init.normal_(self.down, std=width**-0.5)

    if TYPE_CHECKING:  # nn.Module's own is untyped

        def __call__(self, z: Tensor, gates: Tensor) -> Tensor:
            """As ``forward``."""

    def forward(self, z: Tensor, gates: Tensor) -> Tensor:
        """``Σ_e gates_e B_e A_e z``.

        Args:
            z: (N, T, width) tokens.
            gates: (N, T, E) or (N, 1, E) weight of each expert.

        Returns:
            (N, T, width).
        """
        return self.expand(functional.linear(z, self.down), gates)

    def expand(self, low: Tensor, gates: Tensor) -> Tensor:
        """The second half: gates the rank space and goes back to the token width.

        Args:
            low: (N, T, E·r), ``A_e z`` of all experts.
            gates: (N, T, E) or (N, 1, E).

        Returns:
            (N, T, width).
        """
        return functional.linear(low * gates.to(low.dtype).repeat_interleave(self.rank, dim=-1), self.up)

    def norms(self, z: Tensor) -> Tensor:
        """``‖B_e A_e z‖`` of every expert, from ``B_eᵀ B_e``: no product is as wide as a token.

        Args:
            z: (N, T, width) tokens.

        Returns:
            (N, T, E).
        """
        low = functional.linear(z, self.down).unflatten(-1, (-1, self.rank)).float()
        up = self.up.float().unflatten(1, (-1, self.rank))
        squared = torch.einsum("ntei,eij,ntej->nte", low, torch.einsum("dei,dej->eij", up, up), low)
        return squared.clamp(min=0).sqrt()

    def state_of(self, experts: Sequence[int]) -> dict[str, Tensor]:
        """The weights of a stack of some of the experts.

        Args:
            experts: Their numbers, in order.
        """
        rows = (torch.tensor(experts, dtype=torch.long)[:, None] * self.rank + torch.arange(self.rank)).flatten()
        return {"down": self.down.detach()[rows], "up": self.up.detach()[:, rows]}
