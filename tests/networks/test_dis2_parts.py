"""DIS2's parts against their plain equations, at the size of map where all levels halve, as in the source."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mamol.networks.dis2_branch import Branch, ClassAttention, ClassDecoder, Fused, Fusion, PreNormed
from mamol.networks.dis2_encoders import WIDTHS, Encoder, OwnDecoder, Pool, sides_of
from tests.toys import CLASSES

SIDE, K = 32, len(CLASSES)
SLOPE = 0.2


@pytest.fixture(autouse=True)
def same_numbers() -> Iterator[None]:
    """Random weights and inputs, the same in each test; no gradients."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        yield


def shaken(module: nn.Module) -> nn.Module:
    """Random weights and statistics wherever a part begins with zeros and ones."""
    for value in [*module.parameters(), *module.buffers()]:
        if value.is_floating_point() and (value == value.flatten()[0]).all():
            value.add_(torch.rand(value.shape))
    return module.eval()


def maps(samples: int = 2) -> list[Tensor]:
    return [torch.randn(samples, width, side, side) for width, side in zip(WIDTHS, sides_of(SIDE)[1:], strict=True)]


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def plain_norm(x: Tensor, norm: nn.Module) -> Tensor:
    """Batch norm in evaluation."""
    assert isinstance(norm, nn.BatchNorm2d)
    mean, var, weight, bias = (
        each[:, None, None] for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x - mean) / (var + norm.eps).sqrt() * weight + bias


def plain_prenormed(layer: nn.Module, x: Tensor, pad: str = "constant") -> Tensor:
    """Instance norm over (C, H, W), as the source's norm of volumes makes it of its maps, leaky ReLU, convolution."""
    assert isinstance(layer, PreNormed)
    x = nn.InstanceNorm3d(len(x))(x)
    x = torch.where(x > 0, x, SLOPE * x)
    size = layer.weight.shape[-1] // 2
    return functional.conv2d(functional.pad(x, [size] * 4, mode=pad), layer.weight, layer.bias)


def plain_pool(pool: nn.Module, x: Tensor) -> Tensor:
    """Position by position."""
    assert isinstance(pool, Pool)
    result = []
    for sample in x:
        positions = [sample[:, i, j] for i in range(x.shape[2]) for j in range(x.shape[3])]
        scores = torch.stack([pool.scores(each)[0] for each in positions])
        weights = scores.exp() / scores.exp().sum()
        result.append(sum(w * each for w, each in zip(weights, positions, strict=True)))
    return torch.stack(result)


@pytest.mark.parametrize(
    ("side", "sides"),
    [
        (2, [2, 2]),
        (3, [3, 3]),
        (5, [5, 2, 2]),
        (8, [8, 4, 2, 2]),
        (14, [14, 7, 3, 3]),
        (16, [16, 8, 4, 2, 2]),
        (32, [32, 16, 8, 4, 2]),
        (512, [512, 256, 128, 64, 32]),
    ],
)
def test_no_map_has_a_single_position(side: int, sides: list[int]) -> None:
    """A softmax over one position is one, whatever the classes ask."""
    assert sides_of(side) == sides


@pytest.mark.parametrize("side", [3, 14, 16])
def test_the_maps_have_these_sides(side: int) -> None:
    levels = Encoder([2], side).eval()([torch.randn(1, 2, side, side)], torch.tensor([[True]]))
    assert [tuple(each.shape[1:]) for each in levels] == [
        (width, each, each) for width, each in zip(WIDTHS, sides_of(side)[1:], strict=False)
    ]
    assert OwnDecoder(side, K).eval()(levels, side).shape == (1, K, side, side)


def test_an_encoder_is_four_convolutions_with_norm_at_the_second_and_third() -> None:
    encoder, x = shaken(Encoder([3], SIDE)), torch.randn(2, 3, SIDE, SIDE)
    found = encoder([x], torch.ones(2, 1, dtype=torch.bool))
    layers = [encoder.enter[0], *(each[0] for each in encoder.deeper)]  # type: ignore[index,union-attr]
    level = x
    for number, layer in enumerate(layers):
        assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))
        into = level if number == 0 else torch.where(level > 0, level, SLOPE * level)
        level = functional.conv2d(into, layer.weight, layer.bias, stride=2, padding=1)
        if number in (1, 2):
            level = plain_norm(level, encoder.deeper[number - 1][1])  # type: ignore[index]
        near(found[number], level)
    assert len(found) == 4


def test_a_compensator_adds_what_it_sees_of_each_present_modality() -> None:
    """So it is an encoder of the one that is left, where there are two; and it is told which are present by biases."""
    both, windows = shaken(Encoder([3, 2], SIDE)), [torch.randn(3, bands, SIDE, SIDE) for bands in (3, 2)]
    found = both(windows, torch.tensor([[True, True], [True, False], [False, True]]))
    ways = [layer(each) for layer, each in zip(both.enter, windows, strict=True)]  # type: ignore[arg-type]
    near(found[0][0], ways[0][0] + ways[1][0])
    near(found[0][1], ways[0][1])
    near(found[0][2], ways[1][2])
    one = Encoder([3], SIDE).eval()
    state = both.state_dict()
    one.load_state_dict({name: value for name, value in state.items() if not name.startswith("enter.1")})
    alone = one([windows[0][1:2]], torch.tensor([[True]]))
    for level, expected in zip(found, alone, strict=True):
        near(level[1:2], expected)


def test_a_modality_s_own_decoder_is_a_u_net_s_way_back() -> None:
    decoder, (e1, e2, e3, x) = shaken(OwnDecoder(SIDE, K)), maps()
    found = decoder([e1, e2, e3, x], SIDE)
    for number, skip in enumerate((e3, e2, e1)):
        up = decoder.ups[number]  # type: ignore[index]
        x = functional.conv_transpose2d(x.relu(), up.weight, up.bias, stride=2, padding=1)
        x = torch.cat([plain_norm(x, decoder.norms[number]), skip], 1)  # type: ignore[index]
    up = decoder.ups[3]  # type: ignore[index]
    near(found, functional.conv_transpose2d(x.relu(), up.weight, up.bias, stride=2, padding=1))


def test_a_pool_is_a_weighted_mean_of_positions() -> None:
    pool, x = Pool(5), torch.randn(2, 5, 3, 3)
    near(pool(x), plain_pool(pool, x))


def plain_transformer(fusion: Fusion, x: Tensor) -> Tensor:
    """Two layers, norms behind: attention of eight heads, then a feed-forward part."""
    assert len(fusion.transformer.layers) == 2
    for layer in fusion.transformer.layers:
        assert isinstance(layer, nn.TransformerEncoderLayer)
        mha = layer.self_attn
        q, k, v = (
            each.unflatten(-1, (8, -1)).transpose(1, 2)
            for each in functional.linear(x, mha.in_proj_weight, mha.in_proj_bias).chunk(3, -1)
        )
        mixed = ((q @ k.transpose(2, 3)) / q.shape[-1] ** 0.5).softmax(-1) @ v
        x = layer.norm1(x + mha.out_proj(mixed.transpose(1, 2).flatten(2)))
        x = layer.norm2(x + layer.linear2(layer.linear1(x).relu()))
    return x


@pytest.mark.parametrize("modalities", [2, 3])
def test_the_fusion_is_hierarchical_and_hybrid(modalities: int) -> None:
    """Of two modalities as in the source, whose sequence is the token, both grids, the pooled third level."""
    fusion = Fusion(modalities, SIDE)
    shaken(fusion)
    slots = [list(each) for each in zip(*(maps() for _ in range(modalities)), strict=True)]
    found = fusion(slots)
    levels: list[Tensor] = []
    for number in range(3):
        x = torch.cat(slots[number], 1)
        for layer in fusion.mix[number]:  # type: ignore[union-attr]
            x = plain_prenormed(layer, x)
        if levels:
            down, norm = fusion.residual[number - 1]  # type: ignore[misc]
            before = functional.conv2d(levels[-1], down.weight, down.bias, stride=2, padding=1)
            x = x + plain_norm(before, norm)
        levels.append(x)
        near(found.levels[number], x)
    assert fusion.pool is not None
    pooled = fusion.pool[1](plain_pool(fusion.pool[0], levels[2]))
    grids = [x.flatten(2).transpose(1, 2) + fusion.position[i] for i, x in enumerate(slots[3])]
    out = plain_transformer(fusion, torch.cat([fusion.token.expand(2, 1, -1), *grids, pooled[:, None]], 1))
    near(found.token, out[:, 0])
    read = [out[:, 1 + 4 * i : 5 + 4 * i] for i in range(modalities)]
    unified = fusion.unify(torch.cat(read, -1)).transpose(1, 2).view(2, 256, 2, 2)
    near(found.levels[3], unified)


def test_a_class_attends_to_positions_and_keeps_them_apart() -> None:
    attention, x = ClassAttention(5, K), torch.randn(2, 5, 3, 2)
    found = attention(x)
    for n in range(2):
        for k in range(K):
            scores = torch.tensor([[attention.queries[k] @ x[n, :, i, j] for j in range(2)] for i in range(3)]) / 5**0.5
            near(found[n, k], scores.exp() / scores.exp().sum())


def test_each_class_has_its_way_back_with_the_same_weights() -> None:
    """Class by class, as the source goes."""
    decoder = ClassDecoder(SIDE, K)
    levels, attention = maps(), torch.rand(2, K, 2, 2)
    found = decoder(Fused(levels, levels[-1].mean((2, 3))), attention)
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    logits: list[list[Tensor]] = [[] for _ in range(4)]
    finest = []
    for k in range(K):
        x = attention[:, k, None] * levels[3]
        for number in range(4):
            head = decoder.heads[number]
            logits[number].append((x * head.weight[k][None]).sum(1) + head.bias[k])  # type: ignore[operator,index]
            if number < 3:
                risen = plain_prenormed(decoder.rise[number], up(x), "reflect")
                x = plain_prenormed(decoder.merge[number], torch.cat([levels[2 - number], risen], 1), "reflect")
        assert x.shape[1] == 4
        finest.append(up(x))
    for number, each in enumerate(logits):
        larger = nn.Upsample(scale_factor=2 ** (4 - number), mode="bilinear", align_corners=True)
        near(found.scales[number], larger(torch.stack(each, 1)))
    x = torch.cat(finest, 1)
    for layer in decoder.mix:
        x = plain_prenormed(layer, x, "reflect")
    near(found.penultimate, x)
    near(found.logits, decoder.last(x))
    assert [layer.out_channels for layer in decoder.mix if isinstance(layer, PreNormed)] == [64, 32]


def test_a_branch_has_more_than_one_position_to_attend_to() -> None:
    for side in (2, 3, 8, 16):
        levels = [torch.randn(1, w, s, s) for w, s in zip(WIDTHS, sides_of(side)[1:], strict=False)]
        output = Branch(2, side, K).eval()([[each, each] for each in levels])
        assert output.attention[0, 0].numel() >= 4
        assert not torch.equal(output.attention[0, 0], output.attention[0, 1])
    assert all(fine >= coarse for fine, coarse in pairwise(sides_of(16)))
