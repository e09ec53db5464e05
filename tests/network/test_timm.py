"""Every method on timm's towers: it trains what is its own, and what is absent has no effect."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from mamol.core.method import METHODS
from mamol.network.network import Network
from tests.invariants import (
    assert_absent_content_is_inert,
    assert_neighbours_do_not_matter,
    features_of,
    gradients,
)
from tests.lines import run, trained
from tests.mixtures import trainable_names
from tests.timms import tower
from tests.toys import shake, toy_batch, toy_network

KINDS = ("dinov2", "swiglu", "siglip", "dinov3")
SMALL = {"expert_blocks": "last2", "prompt_depth": 2, "prompt_length": 6}


class Noted:
    """A norm that keeps of which type its tokens are."""

    def __init__(self, norm: Callable[[Tensor], Tensor]) -> None:
        self.norm = norm
        self.dtypes: set[torch.dtype] = set()

    def __call__(self, x: Tensor) -> Tensor:
        self.dtypes.add(x.dtype)
        return self.norm(x)


def made(kind: str, method: str = "mamol", m: int = 3, **options: Any) -> Network:
    """On four blocks, with other weights than it began with."""
    network = toy_network(m, method, tower=tower(kind), **{**SMALL, **options})
    shake(network)
    return network


@pytest.mark.parametrize("fusion", ["late", "single_stream"])
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", KINDS)
def test_a_method_trains_its_own_and_sees_nothing_of_what_is_absent(kind: str, method: str, fusion: str) -> None:
    network, batch = made(kind, method, fusion=fusion), toy_batch(m=3)
    before = {name: value.clone() for name, value in network.tower.state_dict().items()}
    found = gradients(network, batch)
    assert found.keys() == trainable_names(network)
    assert all(grad.isfinite().all() for grad in found.values())
    assert any(name.startswith("method.") and grad.any() for name, grad in found.items()) or not list(
        network.method.parameters()
    )
    assert_absent_content_is_inert(network, batch, float("nan"))
    assert all(torch.equal(value, before[name]) for name, value in network.tower.state_dict().items())


@pytest.mark.parametrize("fusion", ["late", "single_stream"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_samples_neighbours_and_the_shortcut_do_not_matter(kind: str, fusion: str) -> None:
    for method in ("mamol", "mmp"):
        network, batch = made(kind, method, fusion=fusion).eval(), toy_batch(m=3)
        assert_neighbours_do_not_matter(network, batch)
        plain = torch.stack(list(network.features(batch, shortcut=False)[0].values()), 1)
        torch.testing.assert_close(features_of(network, batch), plain, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_pixels_that_a_sensor_did_not_see_are_no_part_of_anything(kind: str) -> None:
    """Of a tower without class token, of the mean, too: whatever stands in an unseen pixel's other bands."""
    network, batch = made(kind).eval(), toy_batch(m=3)
    batch["hsi"][:, 0, 1, 2] = torch.nan
    expected = network(batch)[0]
    batch["hsi"][:, 1:, 1, 2] = 1e3
    assert torch.equal(network(batch)[0], expected)
    batch["hsi"][:, 0, 1, 2] = 0
    assert not torch.allclose(network(batch)[0], expected)


@torch.no_grad()
def test_without_a_class_token_every_token_is_of_its_modality() -> None:
    """Also where no sequence holds more than one window, and no token stands in front."""
    network, batch = made("siglip", "lora", fusion="single_stream").eval(), toy_batch(m=3)
    batch["available"] = torch.eye(3, dtype=torch.bool)[torch.arange(6) % 3]
    (streams,) = network.streams(batch).values()
    assert torch.equal(streams.owners(16), (torch.arange(6) % 3)[:, None].expand(-1, 16))


@pytest.mark.parametrize("kind", [*KINDS, "eva02"])
def test_under_autocast_tokens_stay_exact(kind: str) -> None:
    """What the blocks add to is float32, whatever the products are computed in."""
    network, batch = made(kind, "moe_ada").train(), toy_batch(m=3)
    network.tower.blocks[-1].norm_attention = noted = Noted(network.tower.blocks[-1].norm_attention)  # type: ignore[method-assign]
    with torch.autocast("cpu", torch.bfloat16):
        grads = gradients(network, batch)
    assert all(grad.isfinite().all() for grad in grads.values())
    assert noted.dtypes == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_reads_every_pixel(kind: str) -> None:
    network = made(kind, head="pixels", head_blocks=[1], fusion="late")
    assert network(toy_batch(m=3))[0].shape == (6, 4, 4, 3)


def test_a_run_trains_its_last_block_and_is_loaded_again(table_folder: Path, tmp_path: Path) -> None:
    """By the command line, around weights in a file; other weights in its place are refused."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = timm.create_model("test_vit3")
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
        save_file(model.state_dict(), tmp_path / name / "model.safetensors")
        model.norm.bias.data += 1
    own = ("max_epoch=1", "limit_batches=1", "train_backbone=last1", "expert_blocks=last2")
    weights, table = f"clip_weights={tmp_path / 'right'}", f"data_root={table_folder}"
    folder = trained(tmp_path, table, "backbone=timm:test_vit3", weights, *own)
    grid = (f"load_path={folder}", table, "num_gpus=0", "progress_bar=False", "evaluate_ratios=0.7")
    done = run("evaluate", "with", *grid, weights)
    assert done.returncode == 0, done.stderr[-2000:]
    other = run("evaluate", "with", *grid, f"clip_weights={tmp_path / 'wrong'}")
    assert other.returncode == 1
    assert "was trained on other frozen weights (timm's test_vit3: " in other.stderr
