"""The Perceiver's volumetric component: what its 3-D U-Net sees, and that without it nothing changes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mamol
from mamol.core.backbone import RANDOM
from mamol.core.errors import MamolError
from mamol.core.groups import MethodSettings, NetworkSettings
from mamol.core.network import NETWORKS
from mamol.core.settings import Settings
from mamol.core.spec import NetworkSpec
from mamol.network.building import spec_of
from mamol.networks.resolutions import Norm
from mamol.networks.volume import SPECTRAL_STRIDE, WIDTHS, VolumeNorm, VolumeUNet, convolution
from mamol.training.checkpoints import describe, save_checkpoint
from mamol.training.restoring import load_into
from tests.networks.test_own import batch_of, made, spec
from tests.pages import ROOT
from tests.toys import BANDS, CLASSES, GRID, windows


def test_without_it_the_network_is_what_it_was() -> None:
    """The same weights in their places; with it they are the same, too, and others come along."""
    plain, volumetric = made("perceiver"), made("volumetric")
    off = NETWORKS["perceiver"].build(replace(spec("perceiver"), options={"volumetric": False}), RANDOM).eval()
    state, more = plain.trainable_state(), volumetric.trainable_state()
    assert off.trainable_state().keys() == state.keys()
    assert {name.split(".")[0] for name in more.keys() - state.keys()} == {"volume"}
    assert all(torch.equal(value, more[name]) for name, value in state.items())
    assert torch.equal(off(batch_of())[0], plain(batch_of())[0])
    assert not torch.allclose(volumetric(batch_of())[0], plain(batch_of())[0])


@pytest.mark.parametrize("bands", [1, 3, 4, 5, 13])
@pytest.mark.parametrize("side", [1, 2, 3, 8, 14])
def test_a_feature_for_every_pixel_of_any_stack(bands: int, side: int) -> None:
    network = VolumeUNet(bands, side, 6).eval()
    stack = torch.randn(2, bands, side, side)
    assert network(stack).shape == (2, side**2, 6)
    assert len(network.encoder) == min(4, side.bit_length() - 1) + 1
    assert network.leave.in_features == WIDTHS[0] * -(-bands // SPECTRAL_STRIDE)


def test_a_pixel_hears_of_its_neighbours_and_of_other_bands() -> None:
    """Row by row, column by column; a band at one pixel reaches the pixels around it."""
    torch.manual_seed(0)
    network, stack = VolumeUNet(9, 2, 5).eval(), torch.randn(1, 9, 2, 2)
    for band in (0, 8):
        other = stack.clone()
        other[0, band, 0, 1] += 5
        assert ((network(other) - network(stack)).abs().amax(2) > 0).all()
    for block in network.decoder:
        torch.nn.init.zeros_(block[0].weight[:, WIDTHS[1] :])  # nothing past the coarser map
    torch.nn.init.zeros_(network.encoder[0][0].weight)
    assert torch.equal(network(stack), network(stack + 1)), "everything comes through the encoder"


def test_a_step_is_torchs_convolution_norm_and_relu() -> None:
    """The norm counts batch, bands, rows and columns together, as torch's own does."""
    block = convolution(2, 3, 7, 4).train()
    own, x = torch.nn.BatchNorm3d(3), torch.randn(4, 2, 9, 5, 5)
    plain = torch.nn.functional.conv3d(x, block[0].weight, stride=(4, 1, 1), padding=(3, 1, 1))
    torch.testing.assert_close(block(x), own(plain).relu(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(block[1].running_var, own.running_var, rtol=1e-4, atol=1e-5)
    assert isinstance(block[1], VolumeNorm)
    assert issubclass(VolumeNorm, Norm)


def test_a_single_window_trains() -> None:
    """One band, one window: its coarsest map is one value."""
    modalities = windows({"lidar": BANDS["lidar"]})
    of_one = replace(spec("volumetric", side=2), modalities=modalities)
    network = NETWORKS["perceiver"].build(of_one, RANDOM).train()
    one = {"lidar": torch.randn(1, 1, 2, 2), "available": torch.ones(1, 1, dtype=torch.bool)}
    network(one)[0].sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_on_a_cpu_bfloat16_leaves_it_alone() -> None:
    """There torch's gradients of such kernels were nan now and then, at another step each time."""
    network, stack = VolumeUNet(9, 8, 5), torch.randn(2, 9, 8, 8)
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            feature = network(stack)
        assert feature.dtype == torch.float32
        feature.square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*gradients, strict=True))


def test_the_description_says_so() -> None:
    """And what an earlier version wrote means what it meant."""
    modalities = windows(BANDS)
    for options, expected in (({}, False), ({"volumetric": True}, True)):
        found = spec_of(modalities, CLASSES, GRID, NetworkSettings(network="perceiver", **options), MethodSettings())
        assert found.options == {"volumetric": expected}
        assert NetworkSpec.from_json(found.to_json()) == found
    assert "volumetric" not in spec_of(modalities, CLASSES, GRID, NetworkSettings(), MethodSettings()).options


def test_a_checkpoint_without_the_option_is_one_without_the_component(tmp_path: Path) -> None:
    old = made("perceiver")
    path = tmp_path / "old.safetensors"
    save_checkpoint(path, old, describe(old, {}, 1, None))
    assert old.spec.options == {}
    here = NETWORKS["perceiver"].build(replace(old.spec, options={"volumetric": False}), RANDOM, 1).eval()
    load_into(here, path)
    assert torch.equal(here(batch_of())[0], old(batch_of())[0])
    with pytest.raises(MamolError, match="other data: volumetric False there, True here; use the table"):
        load_into(made("volumetric"), path)


def test_a_run_keeps_it(table_folder: Path, tmp_path: Path) -> None:
    """From the option to the checkpoint and back."""
    options: dict[str, Any] = {"num_gpus": 0, "progress_bar": False, "max_epoch": 1, "window_shift": 0}
    found = mamol.train(table_folder, log_dir=tmp_path, network="perceiver", volumetric=True, **options)
    assert found.metrics["params"]["volume"] > 0
    again = mamol.load(found.folder, num_gpus=0, progress_bar=False)
    assert again.network.spec.options == {"volumetric": True}
    assert again.evaluate(table_folder, ratios=[0]).equals(found.evaluate(table_folder, ratios=[0]))


@pytest.mark.parametrize("network", ["clip", "unet"])
def test_other_networks_have_none(network: str) -> None:
    message = f"volumetric=True: network={network} has no volumetric to choose; leave it out, or use network=perceiver"
    with pytest.raises(MamolError, match=message) as caught:
        Settings.of({"network": network, "volumetric": True})
    assert "\n" not in str(caught.value)
    given: dict[str, Any] = {"network": "perceiver", "volumetric": True}
    assert Settings.of(given).network.volumetric
    with pytest.raises(MamolError, match="volumetric='yes' must be True or False"):
        Settings.of({**given, "volumetric": "yes"})


def test_the_page_says_how_large_it_is() -> None:
    page = " ".join((ROOT / "docs" / "NEIGHBOURS.md").read_text().split())
    sizes = [f"{made('volumetric', side=side).count_trainable()['volume']:,}" for side in (2, 4, 8, 16)]
    assert "it adds {} parameters at P = 2, {} at 4, {} at 8 to 15, {} from 16 on".format(*sizes) in page
