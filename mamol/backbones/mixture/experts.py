"""A feed-forward part that is a mixture of experts, and a router that sees token, modality and pattern.

``a = W [z; e_mod; e_pat(m)]``, ``g = TopK(softmax(a))`` and ``y = Σ_k g_k (W_2k gelu(W_1k z + b_1k) + b_2k)`` for every
token, z behind the block's norm.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.core.backbone import MLP
from mamol.core.gates import top_k_gates
from mamol.core.modality import Modality
from mamol.core.streams import Streams

KNOWN = 16
"""Width of e_mod and of e_pat(m)."""


class Dense(MLP):
    """``W_2 gelu(W_1 z + b_1) + b_2``: one expert, and the feed-forward part of blocks without a mixture."""

    def __init__(self, width: int, hidden: int) -> None:
        """Makes the two maps.

        Args:
            width: Of its input and output.
            hidden: Between them.
        """
        super().__init__()
        self.width, self.expanded, self.inner = width, hidden, hidden
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def expand(self, z: Tensor) -> Tensor:
        """``W_1 z + b_1``."""
        hidden: Tensor = self.up(z)
        return hidden

    def activate(self, hidden: Tensor) -> Tensor:
        """GELU."""
        return functional.gelu(hidden)

    def contract(self, hidden: Tensor) -> Tensor:
        """``W_2`` and its bias."""
        out: Tensor = self.down(hidden)
        return out


class Knowledge(nn.Module):
    """What a router is told of a token beside the token: e_mod of its sensor and e_pat of its sample's pattern.

    A sensor is a modality's name and number of bands. One that this backbone has never seen gets the mean of all e_mod
    and has no place in the pattern; so does a token of no single sensor, such as the class token of a sequence of
    several, get the mean of those that are present.

    Attributes:
        sensors: Those that it was trained with.
    """

    def __init__(self, sensors: Sequence[Modality]) -> None:
        """Makes the embeddings.

        Args:
            sensors: At least one.
        """
        super().__init__()
        self.sensors = tuple(sensors)
        self.modality = nn.Parameter(torch.randn(len(self.sensors), KNOWN))
        self.pattern = nn.Sequential(nn.Linear(len(self.sensors), KNOWN), nn.GELU(), nn.Linear(KNOWN, KNOWN))

    def forward(self, streams: Streams, length: int) -> Tensor:
        """``[e_mod; e_pat(m)]`` of every token.

        Args:
            streams: What goes through the tower; its ``inputs`` say which sensors they are, () means the own ones.
            length: Tokens of a sequence, with those in front.

        Returns:
            (N, length, 2 · KNOWN), or (N, 1, 2 · KNOWN) where it is the same for all tokens of a stream.
        """
        place = self._places(streams.inputs or self.sensors)
        known = place.any(1, keepdim=True)
        each = torch.where(known, place @ self.modality, self.modality.mean(0))
        pattern = self.pattern(streams.available.to(place.dtype) @ place)[:, None]
        own = streams.by_token(each, length)
        return torch.cat([own, pattern.expand(-1, own.shape[1], -1)], -1)

    def hide_modality(self) -> None:
        """Lets routers see token and pattern alone: e_mod is zero, and stays it in training."""
        nn.init.zeros_(self.modality).requires_grad_(False)

    def _places(self, inputs: Sequence[Modality]) -> Tensor:
        """(M, S), 1 where a modality of the network is a sensor of this backbone."""
        here = [[float((own.name, own.size) == (each.name, each.size)) for own in self.sensors] for each in inputs]
        return torch.tensor(here, device=self.modality.device, dtype=self.modality.dtype)


class Mixture(MLP):
    """K experts; every one computes only its own tokens.

    In parts, ``expand`` gives what the experts make of a token and the router's logits, ``activate`` multiplies by the
    gates, ``contract`` sums. That computes all experts, and is the same.
    """

    def __init__(self, width: int, hidden: int, experts: int, top_k: int) -> None:
        """Makes router and experts.

        Args:
            width: Of a token.
            hidden: Of one expert.
            experts: K.
            top_k: How many of them a token uses.
        """
        super().__init__()
        self.width = width
        self.expanded = self.inner = experts * hidden + experts
        self.hidden, self.top_k = hidden, top_k
        self.router = nn.Linear(width + 2 * KNOWN, experts, bias=False)
        self.experts = nn.ModuleList(Dense(width, hidden) for _ in range(experts))

    def each(self) -> Sequence[Dense]:
        """The experts, in order."""
        return cast(Sequence[Dense], self.experts)

    def logits(self, z: Tensor, known: Tensor | None = None) -> Tensor:
        """What the router says, in float32.

        Args:
            z: (…, width).
            known: (N, T or 1, 2 · KNOWN), of ``Knowledge``; None: nothing is known but the token.

        Returns:
            (…, K).
        """
        with torch.autocast(z.device.type, enabled=False):
            weight = self.router.weight.float()
            said = functional.linear(z.float(), weight[:, : self.width])
            return said if known is None else said + functional.linear(known.float(), weight[:, self.width :])

    def expand(self, z: Tensor) -> Tensor:
        """``W_1k z + b_1k`` of all experts, then the logits, of a token by itself."""
        return self.expand_known(z, None)

    def expand_known(self, z: Tensor, known: Tensor | None) -> Tensor:
        """As ``expand``, with what is known of the tokens.

        Args:
            z: (…, width).
            known: As of ``logits``.
        """
        return torch.cat([*(expert.up(z) for expert in self.each()), self.logits(z, known)], -1)

    def activate(self, hidden: Tensor) -> Tensor:
        """``g_k gelu(h_k)`` of all experts, then the gates."""
        gates = self.gates(hidden[..., -len(self.experts) :])[0].to(hidden.dtype)
        experts = hidden[..., : -len(self.experts)].unflatten(-1, (-1, self.hidden))
        return torch.cat([(gates[..., None] * functional.gelu(experts)).flatten(-2), gates], -1)

    def contract(self, hidden: Tensor) -> Tensor:
        """``Σ_k W_2k h_k + g_k b_2k``."""
        weight = torch.cat([expert.down.weight for expert in self.each()], 1)
        bias = torch.stack([expert.down.bias for expert in self.each()], 1)
        return functional.linear(hidden, torch.cat([weight, bias], 1))

    def gates(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The gates, zero where an expert is not used, and the probabilities.

        Args:
            logits: (…, K).
        """
        return top_k_gates(logits, self.top_k)

    def forward(self, z: Tensor) -> Tensor:
        """The mixture of a token by itself.

        Args:
            z: (…, width).
        """
        return self.mixed(z, self.gates(self.logits(z))[0])

    def mixed(self, z: Tensor, gates: Tensor) -> Tensor:
        """``Σ_k g_k expert_k(z)``.

        Args:
            z: (…, width).
            gates: (…, K).

        Returns:
            (…, width).
        """
        tokens, weights = z.flatten(0, -2), gates.flatten(0, -2)
        out = torch.zeros_like(tokens)
        for k, expert in enumerate(self.each()):
            # An expert without tokens runs on none of them, so that its parameters get a gradient, of zero.
            rows = weights[:, k].nonzero().squeeze(1)
            out = out.index_add(0, rows, (weights[rows, k, None] * expert(tokens[rows])).to(out.dtype))
        return out.view_as(z)

    def norms(self, z: Tensor, gates: Tensor) -> Tensor:
        """``‖expert_k(z)‖`` where expert k is used, zero elsewhere.

        Args:
            z: (…, width).
            gates: (…, K).

        Returns:
            (…, K).
        """
        tokens, used = z.flatten(0, -2), gates.flatten(0, -2) > 0
        found = torch.zeros_like(gates.flatten(0, -2))
        for k, expert in enumerate(self.each()):
            found[used[:, k], k] = expert(tokens[used[:, k]]).float().norm(dim=-1)
        return found.view_as(gates)


class Told(MLP):
    """A mixture whose router is told of the streams of one pass.

    Attributes:
        routed: Gates and probabilities of the last call, (N, T, K) each.
    """

    routed: tuple[Tensor, Tensor]

    def __init__(self, mixture: Mixture, known: Callable[[int], Tensor]) -> None:
        """Binds a mixture to streams.

        Args:
            mixture: Of the block.
            known: Number of tokens to what is known of them, of ``Knowledge``.
        """
        super().__init__()
        self.width, self.expanded, self.inner = mixture.width, mixture.expanded, mixture.inner
        self.mixture, self.known = mixture, known

    def expand(self, z: Tensor) -> Tensor:
        """As of the mixture."""
        return self.mixture.expand_known(z, self.known(z.shape[1]))

    def activate(self, hidden: Tensor) -> Tensor:
        """As of the mixture."""
        return self.mixture.activate(hidden)

    def contract(self, hidden: Tensor) -> Tensor:
        """As of the mixture."""
        return self.mixture.contract(hidden)

    def forward(self, z: Tensor) -> Tensor:
        """``Σ_k g_k expert_k(z)``.

        Args:
            z: (…, width).
        """
        self.routed = self.mixture.gates(self.mixture.logits(z, self.known(z.shape[1])))
        return self.mixture.mixed(z, self.routed[0])
