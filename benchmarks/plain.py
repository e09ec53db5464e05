"""The released way in plain form: the reference that the figures are ratios against.

Written from the description in ``docs/FIDELITY.md`` and the paper, with open_clip's blocks as they run by themselves:

* both streams of every sample are encoded, absent ones filled with ones; their features are zeroed afterwards,
  sample by sample;
* all tokens go through all blocks, also where only the class token is read;
* each expert is two products over all tokens, one expert after the other, the gate applied at full token width;
* ψ(m) is repeated for every token and concatenated to it in front of the router;
* ``Linear(d, d)`` of GELU stands behind the sum of the experts.

It shares the frozen tower with the network it stands beside and copies that network's trained weights, so with
``output=nn.Identity`` both compute the same logits. Experts per modality follow the presence bits (Eq. 17), where the
release thresholds a learned number; the cost is the same.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import cast

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from mamol.backbones.clip import VisualTower
from mamol.core.head import ALL
from mamol.methods.mamol import MaMOL, MaMOLLayer
from mamol.network.network import Network

FILL = 1.0  # what the release puts in place of an absent window

Output = Callable[[int], nn.Module]


def released_output(width: int) -> nn.Module:
    """``Linear(d, d)`` of GELU, which the release has behind the sum of the experts."""
    return nn.Sequential(nn.GELU(), nn.Linear(width, width))


def no_output(width: int) -> nn.Module:
    """Nothing behind the sum, as in the paper."""
    return nn.Identity()


class PlainExperts(nn.Module):
    """The experts of one block, one by one."""

    def __init__(self, layer: MaMOLLayer, width: int, output: Output) -> None:
        """Copies the weights of ``layer``.

        Args:
            layer: Stacked experts in the order dynamic, shared, per modality; all three kinds and a router.
            width: Token width d.
            output: Makes what stands behind the sum.
        """
        super().__init__()
        options, router = layer.options, layer.router
        if router is None or not (options.shared_expert and options.modality_experts):
            raise ValueError("the plain form has dynamic, shared and modality experts; give a network with all of them")
        downs, ups = layer.experts.down.split(options.rank), layer.experts.up.split(options.rank, dim=1)
        self.down = nn.ParameterList(a.detach().T.clone() for a in downs)  # (d, r) each
        self.up = nn.ParameterList(b.detach().T.clone() for b in ups)  # (r, d) each
        self.router = nn.Sequential(deepcopy(router.hidden), nn.GELU(), deepcopy(router.out))
        self.dynamic, self.top_k = options.experts_dynamic, options.top_k
        self.output = output(width)

    def forward(self, z: Tensor, pattern: Tensor, available: Tensor) -> Tensor:
        """Δ of all tokens.

        Args:
            z: (B, T, d) tokens.
            pattern: (B, 8), ψ(m).
            available: (B, M) float.

        Returns:
            (B, T, d).
        """
        repeated = pattern[:, None].expand(-1, z.shape[1], -1)
        probabilities = self.router(torch.cat([z, repeated], -1)).softmax(-1)
        kept, index = probabilities.topk(self.top_k, dim=-1)
        gates = torch.zeros_like(probabilities).scatter(-1, index, kept)
        total = self._expert(self.dynamic, z)
        for k in range(self.dynamic):
            total = total + gates[..., k : k + 1] * self._expert(k, z)
        for i in range(available.shape[1]):
            total = total + available[:, i, None, None] * self._expert(self.dynamic + 1 + i, z)
        return self.output(total)

    def _expert(self, number: int, z: Tensor) -> Tensor:
        return z @ self.down[number] @ self.up[number]


class PlainNetwork(nn.Module):
    """Embeddings, open_clip's blocks with experts beside the MLP, zeroing, head."""

    def __init__(self, network: Network, output: Output = released_output) -> None:
        """Shares the frozen tower of ``network`` and copies everything else.

        Args:
            network: A network with method ``mamol``.
            output: What stands behind the sum of the experts.
        """
        super().__init__()
        method = cast(MaMOL, network.method)
        width = network.tower.width
        self.modalities = network.spec.names
        self.tower = cast(VisualTower, network.tower)
        self.embedding, self.head = deepcopy(network.embedding), deepcopy(network.head)
        self.psi = deepcopy(cast(nn.Linear, method.pattern_embedding))
        self.experts = nn.ModuleDict(
            {block: PlainExperts(cast(MaMOLLayer, layer), width, output) for block, layer in method.layers.items()}
        )

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits of a batch as the data module gives it: (B, K), or (B, P, P, K) of a dense head."""
        logits: Tensor = self.head(self.features(batch), batch["available"])
        return logits

    def features(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the head sees: of each modality (B, output_dim), or (B, T, output_dim) of all tokens."""
        available = batch["available"]
        features = {name: self._encode(i, batch[name], available) for i, name in enumerate(self.modalities)}
        for sample, present in enumerate(available.tolist()):
            for feature, is_there in zip(features.values(), present, strict=True):
                if not is_there:
                    feature[sample] = 0
        return features

    def _encode(self, number: int, windows: Tensor, available: Tensor) -> Tensor:
        """The features of one modality of all samples, absent ones included."""
        windows = windows.clone()
        windows[~available[:, number]] = FILL
        visual, bits = self.tower.visual, available.float()
        tokens = self.embedding[number](windows, self.tower)
        first = visual.class_embedding.expand(len(tokens), 1, -1)
        x = visual.ln_pre(torch.cat([first, tokens], 1) + visual.positional_embedding)
        pattern = self.psi(bits)
        for layer, block in enumerate(cast(list[ResidualAttentionBlock], visual.transformer.resblocks)):
            if str(layer) not in self.experts:
                x = block(x)
                continue
            x = x + block.attention(block.ln_1(x))
            z = block.ln_2(x)
            x = x + block.mlp(z) + self.experts[str(layer)](z, pattern, bits)
        read = visual.ln_post(x)
        return (read[:, 1:] if self.head.reads == ALL else read[:, 0]) @ visual.proj
