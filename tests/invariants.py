"""Checks that hold for every method and every fusion."""

import torch
from torch import Tensor
from torch.nn import functional

from mamol.models.network import Network
from tests.toys import BANDS


def gradients(network: Network, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient of every parameter that gets one from a training step's loss."""
    network.zero_grad()
    logits, auxiliary = network(batch)
    loss = functional.cross_entropy(logits, batch["label"])
    (loss if auxiliary is None else loss + auxiliary).backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


def assert_absent_content_is_inert(network: Network, batch: dict[str, Tensor], content: float) -> None:
    """Whatever the windows of absent modalities hold, outputs and gradients are the same to the bit."""
    expected, grads = network(batch)[0], gradients(network, batch)
    for i, name in enumerate(name for name in BANDS if name in batch):
        batch[name][~batch["available"][:, i]] = content
    assert torch.equal(network(batch)[0], expected)
    for name, grad in gradients(network, batch).items():
        assert torch.equal(grad, grads[name]), name


def assert_neighbours_do_not_matter(network: Network, batch: dict[str, Tensor]) -> None:
    """A sample alone gives what it gives among others."""
    together = network(batch)[0]
    for n in range(len(together)):
        alone = network({k: v[n : n + 1] for k, v in batch.items()})[0]
        torch.testing.assert_close(alone[0], together[n], atol=1e-5, rtol=1e-5)
