"""The U-Net's own: how deep it is, what enters it."""

import pytest
import torch

from mamol.core.errors import MamolError
from mamol.networks.resolutions import depth_of
from mamol.networks.unet import WIDTHS, UNet
from tests.networks.test_own import batch_of, made, spec
from tests.pages import ROOT


@pytest.mark.parametrize(
    ("side", "depth"), [(2, 1), (3, 1), (4, 2), (7, 2), (8, 3), (14, 3), (16, 4), (17, 4), (64, 4)]
)
def test_it_is_as_deep_as_the_window_can_be_halved(side: int, depth: int) -> None:
    assert depth_of(side) == depth
    network = UNet(spec("unet", side=side))
    assert (len(network.encoder), len(network.decoder)) == (depth + 1, depth)
    seen: list[tuple[int, ...]] = []
    for block in network.encoder:
        block.register_forward_hook(lambda _, inputs, out: seen.append((out.shape[1], out.shape[2])))
    network(batch_of(side))
    assert seen == [(WIDTHS[level], side // 2**level) for level in range(depth + 1)]


def test_all_bands_side_by_side_enter_it_with_zeros_where_nothing_was_seen() -> None:
    network, batch = made("unet"), batch_of()
    assert isinstance(network, UNet)
    entered: list[torch.Tensor] = []
    network.encoder[0].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0]))
    batch["hsi"][0, 2, 1, 3] = torch.nan
    network.normalise(
        {"hsi": [1.0] * 5, "lidar": [2.0], "sar": [3.0] * 2}, {"hsi": [2.0] * 5, "lidar": [1.0], "sar": [1.0] * 2}
    )
    network(batch)
    parts = [(batch["hsi"] - 1) / 2, batch["lidar"] - 2, batch["sar"] - 3]
    for number, part in enumerate(parts):
        part[~batch["available"][:, number]] = 0
    parts[0][0, :, 1, 3] = 0
    torch.testing.assert_close(entered[0], torch.cat(parts, 1), rtol=0, atol=0)


def test_a_single_window_trains() -> None:
    """The last batch of an epoch may be one window, whose coarsest map is one pixel."""
    network, batch = made("unet", side=2).train(), batch_of(2)
    one = {name: value[:1] for name, value in batch.items()}
    before = {name: value.clone() for name, value in network.trainable_state().items()}
    logits = network(one)[0]
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    still = {name for name, value in network.trainable_state().items() if torch.equal(value, before[name])}
    assert {"encoder.1.1.running_mean", "encoder.1.4.running_mean"} <= still
    assert "encoder.0.1.running_mean" not in still


def test_windows_of_one_pixel_are_refused() -> None:
    with pytest.raises(MamolError, match=r"network=unet: the windows are 1 × 1; build tables with --patch-size 2"):
        made("unet", side=1)


def test_the_page_says_how_large_it_is() -> None:
    page = (ROOT / "docs" / "NEIGHBOURS.md").read_text()
    sizes = [f"{sum(made('unet', side=side).count_trainable().values()):,}" for side in (2, 4, 8, 16)]
    assert "it has {} parameters at P = 2, {} at 4, {} at 8 to 15, {} from 16 on".format(*sizes) in page
