"""The masked autoencoder: what is hidden stays hidden, what is absent has no effect, what counts is what was hidden."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mamol.backbones.mixture.tower import Sizes
from mamol.network.masked import MaskedAutoencoder, routing_scores
from tests.toys import windows

SENSORS = windows({"hsi": 3, "lidar": 1, "sar": 2})
GRID = 4


def network(**changes: Any) -> MaskedAutoencoder:
    """Of two grounds: HSI and LiDAR, and SAR alone."""
    sizes = Sizes(16, 2, 2, 24, GRID, 4, 1, (1,), SENSORS)
    ratio, told = changes.get("mask_ratio", 0.75), changes.get("told", True)
    return MaskedAutoencoder(sizes, [SENSORS[:2], SENSORS[2:]], ratio, told=told)


def batch() -> dict[str, Tensor]:
    """Complete, HSI hidden, LiDAR absent by nature; a hole in the HSI of the first window."""
    generator = torch.Generator().manual_seed(0)
    made = {"hsi": torch.randn(3, 3, GRID, GRID, generator=generator)}
    made["lidar"] = torch.randn(3, 1, GRID, GRID, generator=generator)
    made["hsi"][0, :, 0, :2] = float("nan")
    return made | {
        "available": torch.tensor([[True, True], [False, True], [True, False]]),
        "natural": torch.tensor([[True, True], [True, True], [True, False]]),
        "noise": torch.rand(3, 2, GRID**2, generator=generator),
        "ground": torch.tensor(0),
    }


def gradients(own: MaskedAutoencoder, given: dict[str, Tensor]) -> dict[str, Tensor]:
    own.zero_grad()
    terms = own.loss(given, 0.1, 0.1)
    (terms["loss"] + terms["routing"]).backward()
    return {name: p.grad.clone() for name, p in own.named_parameters() if p.grad is not None}


def test_a_quarter_of_the_pixels_is_visible_and_all_others_that_were_seen_count() -> None:
    made = network()(batch())
    assert made.visible[0].sum(1).tolist() == [4, 4]
    assert made.counts[0].sum(1).tolist() == [GRID**2 - 2 - 4, GRID**2 - 4]
    assert made.counts[1].sum(1).tolist() == [GRID**2, GRID**2 - 4]  # all of what was hidden
    assert made.counts[2].sum(1).tolist() == [GRID**2 - 4, 0]  # nothing of what is not there
    assert not (made.counts & made.visible).any()


def test_what_a_hidden_pixel_holds_changes_nothing_but_the_truth() -> None:
    own, given = network(), batch()
    before = own(given)
    for i, name in enumerate(before.names):
        counts = before.counts[:, i].unflatten(1, (GRID, GRID))[:, None]
        given[name] = torch.where(counts, given[name] + 100, given[name])
    after = own(given)
    for i in range(2):
        assert torch.equal(after.said[i], before.said[i])
        assert not torch.equal(after.true[i], before.true[i])


@pytest.mark.parametrize("content", [float("nan"), 1e30])
def test_absent_content_is_inert(content: float) -> None:
    own, given = network(), batch()
    expected, grads = own.loss(given, 0.1, 0.1), gradients(own, given)
    given["lidar"][2] = content
    given["noise"][2, 1] = 0.5
    for name, value in own.loss(given, 0.1, 0.1).items():
        assert torch.equal(value, expected[name])
    for name, value in gradients(own, given).items():
        assert torch.equal(value, grads[name]), name


def test_a_window_alone_is_said_as_among_others() -> None:
    own, given = network(), batch()
    together = own(given)
    for n in range(3):
        alone = own({name: value if name == "ground" else value[n : n + 1] for name, value in given.items()})
        for one, among in zip(alone.said, together.said, strict=True):
            torch.testing.assert_close(one[0], among[n], atol=1e-5, rtol=1e-5)


def test_every_weight_has_a_gradient_and_those_of_other_sensors_have_zero() -> None:
    own = network()
    found = gradients(own, batch())
    assert found.keys() == {name for name, _ in own.named_parameters()}
    assert not found["embedding.2.project.0.weight"].any()
    assert not found["decoder.leave.2.weight"].any()
    assert found["embedding.0.project.0.weight"].any()
    assert found["tower.weights.class_token"].any()
    assert found["tower.weights.layers.1.feed_forward.router.weight"].any()


def test_the_error_is_the_mean_over_modalities() -> None:
    own, given = network(), batch()
    made = own(given)
    errors = []
    for i in range(2):
        pixels = [
            (made.said[i][b, t] - made.true[i][b, t]).square().mean()
            for b in range(3)
            for t in range(GRID**2)
            if made.counts[b, i, t]
        ]
        errors.append(torch.stack(pixels).mean())
    torch.testing.assert_close(own.loss(given, 0.1, 0.1)["loss"], torch.stack(errors).mean())
    evenly, known = routing_scores(made)
    torch.testing.assert_close(own.loss(given, 0.1, 0.3)["routing"], 0.1 * evenly - 0.3 * known)
    torch.testing.assert_close(own.loss(given, 0.1, 0.3)["information"], known)


def test_the_seed_decides_the_weights() -> None:
    sizes = Sizes(16, 2, 2, 24, GRID, 4, 1, (1,), SENSORS)
    one, same, other = (MaskedAutoencoder(sizes, [SENSORS], 0.75, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["decoder.enter.weight"], other["decoder.enter.weight"])


def test_the_loss_falls() -> None:
    own, given = network(mask_ratio=0.5), batch()
    optimizer = torch.optim.Adam(own.parameters(), 0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        losses.append(loss := own.loss(given, 0, 0)["loss"])
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_routers_that_are_not_told_of_the_modality_see_zeros_for_good() -> None:
    """All other weights are as ever, and train."""
    told, other = network(), network(told=False)
    hidden = "tower.weights.knowledge.modality"
    for name, value in told.state_dict().items():
        assert torch.equal(other.state_dict()[name], value) == (name != hidden), name
    assert not other.state_dict()[hidden].any()
    assert gradients(told, batch()).keys() - gradients(other, batch()).keys() == {hidden}
