"""The head that classifies every pixel: with every method and fusion, what it sees and what it does not."""

import pytest
import torch
from torch import Tensor

from mamol.core.errors import MamolError
from mamol.core.head import HeadSizes
from mamol.core.task import TASKS, UNLABELLED
from mamol.heads.pixels import AROUND, LEAST_VARIANCE, PixelHead
from tests.invariants import gradients
from tests.network.test_holes import Rubbish, both_fusions, every_method, holes, made, with_holes
from tests.toys import CLASSES, GRID, toy_batch, toy_network


def dense_labels(batch: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Some pixels of every window are labelled."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(CLASSES), (len(batch["label"]), GRID, GRID), generator=generator)
    hidden = torch.rand(labels.shape, generator=generator) < 0.7
    hidden[:, GRID // 2, GRID // 2] = False
    return {**batch, "label": labels.masked_fill(hidden, UNLABELLED)}


@every_method
@both_fusions
def test_every_pixel_has_logits_and_everything_trains(method: str, fusion: str) -> None:
    """(B, P, P, K), the sample's own in the middle; what the class token's head trains, this one trains."""
    network, batch = made(method, fusion, "pixels"), dense_labels(toy_batch(m=3))
    logits, _ = network(batch)
    assert logits.shape == (6, GRID, GRID, len(CLASSES))
    torch.testing.assert_close(network.classify(batch), logits[:, GRID // 2, GRID // 2])
    trained, of_class = gradients(network, batch), gradients(made(method, fusion), toy_batch(m=3))
    still = {name for name, gradient in trained.items() if not gradient.any() and not name.startswith("head.")}
    assert still <= {name for name, gradient in of_class.items() if not gradient.any()}


@every_method
@both_fusions
def test_what_was_not_seen_reaches_no_pixel(method: str, fusion: str) -> None:
    """Whatever number stands where a sensor saw nothing."""
    network, batch = made(method, fusion, "pixels", blocks=[1]), dense_labels(toy_batch(m=3))
    batch = with_holes(batch, holes(batch))
    logits, grads = network(batch)[0], gradients(network, batch)
    with Rubbish(network, 100.0) as rubbish:
        spoilt, others = network(batch)[0], gradients(network, batch)
    assert rubbish.spoilt
    torch.testing.assert_close(spoilt, logits, rtol=0, atol=0)
    for name, gradient in grads.items():
        torch.testing.assert_close(others[name], gradient, rtol=1e-5, atol=1e-6)


@every_method
@both_fusions
def test_tokens_of_earlier_blocks_stand_in_front_of_those_of_the_last(method: str, fusion: str) -> None:
    """As if the tower ended at each of them."""
    network, batch = made(method, fusion, "pixels", blocks=[1, 2]), toy_batch(m=3)
    several = network.features(batch)[0]
    network.head_blocks = ()
    whole, ends = network.tower.blocks, []
    for end in (2, 3, len(whole)):
        network.tower.blocks = whole[:end]
        ends.append(network.features(batch)[0])
    for name, features in several.items():
        torch.testing.assert_close(features, torch.cat([each[name] for each in ends], -1), rtol=0, atol=0)


def test_the_blocks_that_a_head_reads() -> None:
    """The last one is read anyway; a head of one token reads no other."""
    assert toy_network(head="pixels", head_blocks=[1, 11]).head_blocks == (1,)
    assert toy_network(head="pixels", head_blocks="last3").head_blocks == (9, 10)
    with pytest.raises(MamolError, match=r"head_blocks=\[99\]: the tower has the blocks 0 to 11; choose among them"):
        toy_network(head="pixels", head_blocks=[99])
    with pytest.raises(
        MamolError, match=r"head_blocks: goes with a head that reads all tokens, .* head=class reads one"
    ):
        toy_network(head_blocks=[1])


def head(**sizes: int) -> PixelHead:
    """With random weights."""
    torch.manual_seed(0)
    made_head = PixelHead(HeadSizes(sizes, 3, 9))
    torch.nn.init.normal_(made_head.linear.weight)
    torch.nn.init.normal_(made_head.linear.bias)
    return made_head


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_the_plain_form_of_the_head(share: float) -> None:
    """One linear map of the token and of mean and deviation of the seen tokens around it, inside the window."""
    own, available = head(hsi=4, sar=2), torch.ones(2, 2, dtype=torch.bool)
    seen = {name: torch.rand(2, 81) < share for name in ("hsi", "sar")}
    features = {n: torch.randn(2, 81, width) * seen[n][..., None] for n, width in (("hsi", 4), ("sar", 2))}
    logits = own(features, available, None if share == 1 else seen)
    for b, i, j in [(0, 0, 0), (0, 4, 4), (1, 8, 3), (1, 2, 7)]:
        parts = []
        for name, tokens in features.items():
            grid, there = tokens[b].reshape(9, 9, -1), seen[name][b].reshape(9, 9)
            parts.append(grid[i, j])
            for side in (*AROUND, 99):
                rows = slice(max(i - side // 2, 0), i + side // 2 + 1)
                cols = slice(max(j - side // 2, 0), j + side // 2 + 1)
                around = grid[rows, cols][there[rows, cols]]
                mean, variance = around.mean(0), around.var(0, correction=0)
                rough = (variance + LEAST_VARIANCE).sqrt() - LEAST_VARIANCE**0.5
                parts += [mean, rough] if there[i, j] else [torch.zeros_like(grid[i, j])] * 2
        torch.testing.assert_close(logits[b, i, j], own.linear(torch.cat(parts)), rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_mean_over_labelled_pixels() -> None:
    """Of all windows together; of class numbers it is what it was."""
    task, logits = TASKS.find("classes"), torch.randn(2, 3, 3, 4)
    labels = torch.full((2, 3, 3), UNLABELLED)
    labels[0, 0, 0], labels[1, 1, 2], labels[1, 2, 2] = 1, 0, 3
    chosen = labels != UNLABELLED
    expected = torch.nn.functional.cross_entropy(logits[chosen], labels[chosen])
    torch.testing.assert_close(task.loss(logits, labels), expected)
