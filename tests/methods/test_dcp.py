"""DCP against its description written out, stream by stream, and its numbers of parameters."""

import pytest
import torch
from torch import Tensor, nn

from mamol.backbones.clip import VisualTower
from mamol.core.errors import MamolError
from mamol.core.method import METHODS
from mamol.methods.dcp import DCP, DCPOptions
from mamol.methods.per_tower import build
from mamol.network.encoder import encode
from tests.streams import WIDTH, alone, assert_same, number, randomise, small_tower, streams, tokens, vit_b_16
from tests.toys import toy_network

DEPTH, LENGTH = 3, 2
OPTIONS = DCPOptions(3 * LENGTH, DEPTH)


def dcp(tower: VisualTower, m: int, options: DCPOptions = OPTIONS) -> DCP:
    return DCP(alone(tower, m), options)


def correlated(method: DCP, available: Tensor) -> list[list[Tensor]]:
    """The v of every layer and modality, (Lp, d) each, for one pattern."""
    learner = method.learner
    prompts = [learner.base[i][int(has)] for i, has in enumerate(available.tolist())]
    layers = []
    for layer in learner.correlate:
        u = torch.cat(prompts, -1)
        prompts = []
        for norm, (first, act, second) in layer.projections:
            prompts.append(second(act(first(norm(u)))))
        layers.append(prompts)
    return layers


def one_stream(method: DCP, tower: VisualTower, x: Tensor, available: Tensor, modality: int) -> Tensor:
    pattern = number(available)
    v = [layer[modality] for layer in correlated(method, available)]
    first, act, second = method.learner.to_modality.projections[modality]
    common = second(act(first(method.learner.common[pattern])))
    dynamic, _ = method.look["visual"](method.queries["visual"][None, pattern], x[None], x[None], need_weights=False)
    for layer, block in enumerate(tower.visual.transformer.resblocks):
        if layer == 0:
            x = torch.cat([v[0], common, dynamic[0], x])
        elif layer < DEPTH:
            x = torch.cat([v[layer], x[LENGTH:]])
        x = block(x[None])[0]
    end = method.end["visual"]
    return end.norm(x[3 * LENGTH]) @ end.projection


@pytest.mark.parametrize("m", [1, 2, 3])
def test_dcp_is_what_its_description_says(m: int) -> None:
    tower, known, x = small_tower(), streams(m), tokens()
    method = dcp(tower, m)
    randomise(method)

    def loop() -> Tensor:
        begun = tower.begin(x)
        return torch.stack(
            [one_stream(method, tower, begun[n], known.available[n], int(known.modality[n])) for n in range(len(x))]
        )

    assert_same(method, x, lambda: encode(tower, x, method, known).features, loop)


def test_the_missing_prompt_is_that_of_the_missing_modality() -> None:
    learner = dcp(small_tower(), 2).learner
    before = torch.stack(learner(), 1)
    with torch.no_grad():
        learner.base[1][0] += tokens(1, LENGTH)[0]  # the second modality's prompt for "missing"
    after = torch.stack(learner(), 1)
    complete, hsi_only = 2, 0  # rows of pattern_table: (1, 1) and (1, 0)
    assert torch.equal(after[complete], before[complete])
    assert (after[hsi_only, :, :DEPTH] - before[hsi_only, :, :DEPTH]).abs().max() > 1e-4


def test_prompts_have_the_documented_shapes() -> None:
    method = dcp(small_tower(), 3)
    state = method.begin(streams(3))
    assert state.prompts.shape == (7, 3, DEPTH + 1, LENGTH, WIDTH)
    assert method.prompts(0, state).shape == (5, 2 * LENGTH, WIDTH)
    assert method.prompts(1, state).shape == (5, LENGTH, WIDTH)


def test_last_norm_and_projection_begin_as_the_towers_and_are_copies() -> None:
    tower = small_tower()
    method = dcp(tower, 2)
    x, state = tokens(1, 3)[0], method.begin(streams(2))
    assert torch.equal(method.finish(x, tower, state), tower.finish(x))
    with torch.no_grad():
        method.end["visual"].projection += 1
        method.end["visual"].norm.weight += 1
    assert not torch.equal(method.finish(x, tower, state), tower.finish(x))
    assert not any(p.requires_grad for p in tower.parameters())


def test_parameters_at_vit_b_16() -> None:
    """The release's 5.67 M without head and embedding, plus the queries where they are trained."""
    with torch.device("meta"):
        released, trained = (build(METHODS[name], alone(vit_b_16(), 2), {}) for name in ("dcp_released", "dcp"))
    assert sum(p.numel() for p in released.parameters() if p.requires_grad) == 5_672_160
    assert sum(p.numel() for p in trained.parameters() if p.requires_grad) == 5_672_160 + 3 * 12 * 768


def test_dcp_released_keeps_and_stores_its_queries() -> None:
    network = toy_network(2, "dcp_released", prompt_length=6)
    queries = network.method.queries["visual"]
    assert isinstance(queries, nn.Parameter)
    assert not queries.requires_grad
    assert "method.queries.visual" in network.trainable_state()
    other = toy_network(2, "dcp_released", prompt_length=6)
    with torch.no_grad():
        queries.add_(1)
    other.load_trainable_state(network.trainable_state())
    assert torch.equal(other.method.queries["visual"], queries)


def test_lengths_and_depths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MamolError, match="prompt_length=16 must be a multiple of 3 for method=dcp"):
        DCPOptions(prompt_length=16)
    with pytest.raises(MamolError, match="prompt_depth=6: the tower has 4 blocks"):
        dcp(small_tower(), 2, DCPOptions())
