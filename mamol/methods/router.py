"""What decides which experts a token uses: MaMOL's router (Eq. 15)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.method import Pass

PATTERN_WIDTH = 8  # of ψ(m); the release's value, the paper gives none
MODALITY = "modality"
"""``router_input`` of a router that sees the token's modality, too."""


@dataclass
class Routed(Pass):
    """A pass in which a router sees the missing pattern.

    Attributes:
        pattern: (N, 8), ψ(m) of each stream; None where routers see features alone.
        modality: (M, 8), e_mod of each modality; None where routers do not see it.
    """

    pattern: Tensor | None = None
    modality: Tensor | None = None

    def own(self, length: int) -> Tensor | None:
        """e_mod of each token of sequences of ``length``, (N, length or 1, 8); None where routers do not see it.

        Args:
            length: As of ``Streams.mask``.
        """
        return None if self.modality is None else self.streams.by_token(self.modality, length)

    def known_pattern(self) -> Tensor:
        """``pattern``, of a method whose routers always see it.

        Raises:
            RuntimeError: ``begin`` did not set it.
        """
        if self.pattern is None:
            raise RuntimeError("the pattern of this pass is not set: begin() belongs in front of it")
        return self.pattern


class Router(nn.Module):
    """``W φ([z; ψ(m)])`` of Eq. 15, with φ = Linear(d + 8, d/2) and GELU; or ``W φ([z; e_mod; ψ(m)])``."""

    def __init__(self, width: int, experts: int, sees: str = "both") -> None:
        """Makes the router.

        Args:
            width: Token width d.
            experts: K_d.
            sees: ``both``, ``features`` (z alone), ``pattern`` (ψ(m) alone) or ``modality`` (z, e_mod and ψ(m)).
        """
        super().__init__()
        self.sees = sees
        beside = {"both": PATTERN_WIDTH, "features": 0, "pattern": PATTERN_WIDTH, MODALITY: 2 * PATTERN_WIDTH}[sees]
        self.hidden = nn.Linear(beside if sees == "pattern" else width + beside, width // 2)
        self.out = nn.Linear(width // 2, experts)

    def forward(self, z: Tensor, pattern: Tensor | None, modality: Tensor | None = None) -> Tensor:
        """The logits of the experts.

        Args:
            z: (N, T, width) tokens.
            pattern: (N, 8), ψ(m) of each stream; None where the router sees features alone.
            modality: (N, T or 1, 8), e_mod of each token; None where the router does not see it.

        Returns:
            (N, T, K_d).
        """
        width = z.shape[-1]
        weight = self.hidden.weight
        if self.sees == "features" or pattern is None:
            hidden = self.hidden(z)
        elif self.sees == "pattern":
            hidden = self.hidden(pattern)[:, None].expand(-1, z.shape[1], -1)
        else:
            # ψ(m) is the same for all tokens of a stream: its part of the product is made once per stream.
            beside = pattern[:, None]
            if modality is not None:
                beside = torch.cat([modality, beside.expand(-1, modality.shape[1], -1)], -1)
            shift = functional.linear(beside, weight[:, width:], self.hidden.bias)
            hidden = functional.linear(z, weight[:, :width]) + shift
        logits: Tensor = self.out(functional.gelu(hidden))
        return logits

    def pruned(self, experts: Sequence[int]) -> dict[str, Tensor]:
        """Its weights with some of the experts.

        Args:
            experts: Their numbers.
        """
        rows = {name: value[list(experts)] for name, value in self.out.state_dict().items()}
        hidden = self.hidden.state_dict()
        return {f"hidden.{name}": value for name, value in hidden.items()} | {f"out.{k}": v for k, v in rows.items()}
