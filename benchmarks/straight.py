"""What options cost that are off: a training step against the same computation without a branch or a hook.

The straight form is what one would write for the default model alone: present streams through embeddings, frozen
blocks and experts, one token behind the last block, the paper's head. It looks for no holes, calls no method, knows no
fusion, no prompts, no other head, and records nothing.
"""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.harness import Figure, alternate, ratio_figure
from benchmarks.workload import BATCH_OF_8, Batch, batch, frozen_tower, network, step_of, sum_of, training_step
from mamol.backbones.blocks import ClipMLP, PreNormBlock
from mamol.backbones.clip import VisualTower
from mamol.embeddings.window import WindowEmbedding
from mamol.heads.class_token import ClassTokenHead
from mamol.methods.mamol import MaMOL, MaMOLLayer
from mamol.methods.router import Router
from mamol.network.network import Network
from mamol.tasks.single_label import SingleLabel

OURS, PLAIN = "ours", "straight line"


class StraightNetwork(nn.Module):
    """The default network, written out."""

    def __init__(self, network: Network) -> None:
        """Copies all weights.

        Args:
            network: With method ``mamol`` and its default options, late fusion and the head of the paper.
        """
        super().__init__()
        copied = deepcopy(network)
        self.names = network.spec.names
        self.embedding = copied.embedding
        self.tower, self.head = cast(VisualTower, copied.tower), cast(ClassTokenHead, copied.head)
        method = cast(MaMOL, copied.method)
        self.psi = cast(nn.Linear, method.pattern_embedding)
        self.layers = method.layers

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, K).

        Args:
            batch: Complete windows and which of them are there.
        """
        available, visual = batch["available"], self.tower.visual
        modality, sample = available.T.nonzero(as_tuple=True)
        bits = available[sample].float()
        tokens = torch.cat([self._embedded(i, batch[name][available[:, i]]) for i, name in enumerate(self.names)])
        positions = visual.positional_embedding
        first = (visual.class_embedding + positions[0]).expand(len(tokens), 1, -1)
        x = visual.ln_pre(torch.cat([first, tokens + positions[1:]], 1))
        pattern, last = self.psi(bits), len(self.tower.blocks) - 1
        for number, each in enumerate(self.tower.blocks):
            block = cast(PreNormBlock, each)
            h = block.norms[0](x)
            if number == last:
                x = x[:, :1]
            x = x + _attended(block.heads, h, x.shape[1])
            z, mlp = block.norms[1](x), cast(ClipMLP, block.feed_forward)
            x = x + mlp.c_proj(mlp.gelu(mlp.c_fc(z)))
            if str(number) in self.layers:
                x = x + _experts(cast(MaMOLLayer, self.layers[str(number)]), z, pattern, bits)
        found = visual.ln_post(x[:, 0]) @ visual.proj
        features = found.new_zeros(*available.shape, found.shape[1]).index_put((sample, modality), found)
        return functional.linear(features.flatten(1), self.head.weight, self.head.bias)

    def _embedded(self, number: int, windows: Tensor) -> Tensor:
        own = cast(WindowEmbedding, self.embedding[number])
        embedded: Tensor = own.project((windows - own.mean) / own.std)
        return embedded.flatten(2).transpose(1, 2)


def _attended(heads: nn.MultiheadAttention, h: Tensor, queries: int) -> Tensor:
    """Attention of the first tokens to all; of all of them in one product with keys and values."""
    width, weight, bias = heads.embed_dim, heads.in_proj_weight, heads.in_proj_bias
    if queries == h.shape[1]:
        q, k, v = functional.linear(h, weight, bias).chunk(3, -1)
    else:
        q = functional.linear(h[:, :queries], weight[:width], bias[:width])
        k, v = functional.linear(h, weight[width:], bias[width:]).chunk(2, -1)
    q, k, v = (part.unflatten(-1, (heads.num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    mixed: Tensor = heads.out_proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
    return mixed


def _experts(layer: MaMOLLayer, z: Tensor, pattern: Tensor, bits: Tensor) -> Tensor:
    """Router, gates in the rank space, one product down and one up."""
    router = cast(Router, layer.router)
    hidden, out = router.hidden, router.out
    width = z.shape[-1]
    shift = functional.linear(pattern[:, None], hidden.weight[:, width:], hidden.bias)
    logits = out(functional.gelu(functional.linear(z, hidden.weight[:, :width]) + shift))
    probabilities = logits.softmax(-1)
    kept, index = probabilities.topk(layer.options.top_k, dim=-1)
    routed = torch.zeros_like(probabilities).scatter(-1, index, kept)
    always = torch.cat([torch.ones_like(bits[:, :1]), bits], 1)[:, None].expand(-1, z.shape[1], -1)
    gates = torch.cat([routed, always], -1).repeat_interleave(layer.options.rank, dim=-1)
    return functional.linear(functional.linear(z, layer.experts.down) * gates, layer.experts.up)


def run(backbone: str = "tiny", rounds: int = 9) -> list[Figure]:
    """One figure; on the tiny tower, where what a branch costs is not lost in the products.

    Args:
        backbone: Tower.
        rounds: Timed steps of each.
    """
    data = batch(BATCH_OF_8)
    model = network(frozen_tower(backbone), backbone=backbone)
    straight = StraightNetwork(model)
    torch.testing.assert_close(straight(data), model(data)[0], atol=1e-5, rtol=1e-5)
    task = SingleLabel()
    steps = {
        OURS: step_of(model, lambda: sum_of(model.loss(data, task))),
        PLAIN: training_step(straight, data),
    }
    return [
        ratio_figure(
            "options that are off",
            alternate(steps, rounds),
            OURS,
            PLAIN,
            at_most=1.03,
            note=f"training step, {backbone}, batch 8 with 11 of 16 streams present, equal logits",
        )
    ]
