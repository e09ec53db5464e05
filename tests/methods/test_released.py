"""The released adapter equals its plain form, and the named config makes the release's choices."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from config import ex
from mamol.backbones.activation import QuickGELU
from mamol.core.backbone import BackboneRequest, family_of
from mamol.core.errors import MamolError
from mamol.core.settings import Settings
from mamol.core.streams import Streams, Trace
from mamol.data.serving import WindowDataset
from mamol.methods.released import Released, ReleasedLayer, ReleasedOptions, missing_code
from mamol.methods.router import Routed
from mamol.training.released_weights import to_our_names
from tests.invariants import features_of
from tests.released import adapter
from tests.streams import alone, randomise, vit_b_16
from tests.toys import GRID, shake, toy_batch, toy_network

WIDTH, BLOCK = 12, "transformer.resblocks.0.mamol."


def weights(m: int, options: ReleasedOptions) -> dict[str, Tensor]:
    """Random weights of one adapter and its ``missing_proj``, as the release names them."""
    generator = torch.Generator().manual_seed(m)
    shapes: dict[str, tuple[int, ...]] = {"missing_proj.weight": (8, 3 if m == 2 else m), "missing_proj.bias": (8,)}
    for kind, count in (("dyn", options.experts_dynamic), ("stat", options.experts_static)):
        shapes |= {f"{BLOCK}A_{kind}.{k}": (WIDTH, options.rank) for k in range(count)}
        shapes |= {f"{BLOCK}B_{kind}.{k}": (options.rank, WIDTH) for k in range(count)}
    for name, rows, columns in (
        ("router.0", WIDTH // 2, WIDTH + 8),
        ("router.2", options.experts_dynamic, WIDTH // 2),
        ("out_proj", WIDTH, WIDTH),
    ):
        shapes |= {f"{BLOCK}{name}.weight": (rows, columns), f"{BLOCK}{name}.bias": (rows,)}
    return {name: torch.randn(shape, generator=generator) * 0.5 for name, shape in shapes.items()}


def patterns(m: int) -> Tensor:
    """Every pattern in which something is present, (2^M - 1, M)."""
    return torch.cartesian_prod(*[torch.tensor([1.0, 0.0])] * m).reshape(-1, m)[:-1]


def streams_of(available: Tensor) -> Streams:
    """A stream of the first modality for each sample."""
    return Streams(available, torch.arange(len(available)), torch.zeros(len(available), dtype=torch.long))


@pytest.mark.parametrize("m", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "options",
    [
        ReleasedOptions(rank=2, expert_blocks=[0]),
        ReleasedOptions(experts_dynamic=4, top_k=2, rank=3, expert_blocks=[0], experts_static=4),
    ],
)
def test_equals_the_plain_form_with_every_gradient(m: int, options: ReleasedOptions) -> None:
    theirs = {name: value.requires_grad_() for name, value in weights(m, options).items()}
    tower: Any = SimpleNamespace(width=WIDTH, blocks=[None])
    ours = Released(alone(tower, m), options)
    ours.load_state_dict({name: value.detach() for name, value in to_our_names(theirs)[1].items()})
    generator = torch.Generator().manual_seed(9)
    available = patterns(m)
    z, target = (torch.randn(len(available), 3, WIDTH, generator=generator) for _ in range(2))
    z.requires_grad_()

    code = missing_code(available)
    e = code @ theirs["missing_proj.weight"].T + theirs["missing_proj.bias"]
    plain = {name.removeprefix(BLOCK): value for name, value in theirs.items()}
    expected = adapter(plain, z, e, options.top_k, first=1 if m == 2 else 0)
    gradients = torch.autograd.grad((expected * target).sum(), [z, *theirs.values()], allow_unused=True)
    filled = [torch.zeros_like(v) if g is None else g for v, g in zip([z, *theirs.values()], gradients, strict=True)]
    expected_gradients = to_our_names(dict(zip(theirs, filled[1:], strict=True)))[1]

    state = ours.begin(streams_of(available))
    found = ours.feed_forward(0, z, torch.zeros_like, state)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    z_gradient, *rest = torch.autograd.grad((found * target).sum(), [z, *ours.parameters()])
    torch.testing.assert_close(z_gradient, filled[0], atol=2e-5, rtol=1e-4)
    for (name, _), gradient in zip(ours.named_parameters(), rest, strict=True):
        torch.testing.assert_close(gradient, expected_gradients[name], atol=2e-5, rtol=1e-4, msg=name)


def test_two_modalities_have_a_code_and_others_missing_bits() -> None:
    two = missing_code(torch.tensor([[1.0, 1], [0, 1], [1, 0]]))
    assert two.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert missing_code(torch.tensor([[1.0, 0, 1]])).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(("m", "component"), [(2, 1), (3, 0)])
def test_specific_experts_follow_the_embedding_and_not_the_presence(m: int, component: int) -> None:
    options = ReleasedOptions()
    layer, z = ReleasedLayer(WIDTH, m, options), torch.randn(3, 4, WIDTH, generator=torch.Generator().manual_seed(1))
    randomise(layer)
    dynamic, rank = options.experts_dynamic, options.rank
    with torch.no_grad():
        layer.experts.up[:, : dynamic * rank] = 0  # the routed ones add nothing
    pattern = torch.zeros(3, 8)
    pattern[:, component] = torch.tensor([0.5, 0.5001, -3])
    found = layer.adapter(0, z, Routed(streams_of(torch.ones(3, m)), pattern=pattern))
    for n, gates in enumerate([[1, 0, 0], [1, 1, 0], [1, 0, 0]]):
        on = [slice((dynamic + k) * rank, (dynamic + k + 1) * rank) for k, gate in enumerate(gates) if gate]
        mixed = sum(z[n] @ layer.experts.down[own].T @ layer.experts.up[:, own].T for own in on)
        torch.testing.assert_close(found[n], layer.out(functional.gelu(mixed)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("m", [2, 3])
def test_the_release_has_this_many_parameters(m: int) -> None:
    assert sum(p.numel() for p in Released(alone(vit_b_16(), m), ReleasedOptions()).parameters()) == 5_707_052


def test_experts_start_at_random_so_it_does_not_start_as_clip() -> None:
    torch.manual_seed(0)
    experts = ReleasedLayer(256, 2, ReleasedOptions()).experts
    assert experts.down.std().item() == pytest.approx(0.02, rel=0.05)
    assert experts.up.std().item() == pytest.approx(0.02, rel=0.05)
    network, batch = toy_network(2, "released"), toy_batch()
    plain = toy_network(2, "baseline", tower=network.tower)
    plain.embedding.load_state_dict(network.embedding.state_dict())
    assert (features_of(network, batch) - features_of(plain, batch)).abs().max() > 1e-3


def test_routing_is_recorded_where_asked() -> None:
    network, batch = toy_network(2, "released", expert_blocks="last2"), toy_batch()
    trace = Trace()
    network.features(batch, trace)
    routing = trace.routing["visual"]
    assert sorted(routing) == [10, 11]
    assert ((routing[10] > 0).sum(-1) == 1).all()


def config(**change: object) -> dict[str, Any]:
    """What ``with released`` sets, then changed."""
    return {**ex.named_configs["released"](), **change}


def test_the_named_config_makes_the_releases_choices() -> None:
    settings = Settings.of(config())
    training = settings.training
    assert (settings.method.method, settings.network.activation) == ("released", "gelu")
    assert not settings.data.normalise
    assert (training.learning_rate, training.val_check_interval) == (1e-4, 20)
    assert (training.optim_type, training.weight_decay, training.max_epoch, training.batch_size) == (
        "adamw",
        2e-2,
        201,
        128,
    )


def test_the_releases_fill_of_absent_windows_is_accepted_without_effect() -> None:
    assert Settings.of(config(missing_fill=1.0)) == Settings.of(config())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "relu"}, "activation='relu' must be one of auto, quickgelu, gelu"),
        ({"adapter_scale": float("nan")}, "adapter_scale=nan must be a finite number"),
    ],
)
def test_wrong_options_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(MamolError, match=message):
        Settings.of(config(**change))


def tiny(activation: str) -> Any:
    return family_of("tiny").visual(BackboneRequest("tiny", "random", activation), GRID)


@pytest.mark.parametrize(("activation", "layer"), [("auto", QuickGELU), ("quickgelu", QuickGELU), ("gelu", nn.GELU)])
def test_activation_is_that_of_the_frozen_mlps(activation: str, layer: type[nn.Module]) -> None:
    tower = tiny(activation)
    assert all(isinstance(block.feed_forward.gelu, layer) for block in tower.blocks)
    assert tower.fingerprint == tiny("auto").fingerprint


def test_absent_windows_are_not_read_and_the_releases_fill_would_change_nothing() -> None:
    read = {}

    class Table:
        label = row = col = np.zeros(6, np.int32)

        def windows(self, modality: str, index: np.ndarray, shift: np.ndarray | None = None) -> np.ndarray:
            read[modality] = index.tolist()
            return toy_batch()[modality].numpy()[index]

    batch, network = toy_batch(), toy_network(2, "released")
    shake(network)
    drawn = (np.arange(6), batch["available"].numpy())
    table: Any = Table()
    zeros = WindowDataset(table, ("hsi", "lidar"))[drawn]
    ones = {name: value.clone() for name, value in zeros.items()}
    for i, name in enumerate(("hsi", "lidar")):
        present = batch["available"][:, i]
        assert read[name] == present.nonzero().squeeze(1).tolist()
        assert (zeros[name][~present] == 0).all()
        assert torch.equal(zeros[name][present], batch[name][present])
        ones[name][~present] = 1  # as in the release
    assert not batch["available"].all()
    assert torch.equal(network(ones)[0], network(zeros)[0])
