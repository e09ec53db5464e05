"""QuickGELU with less memory is the plain one."""

import pytest
import torch
from open_clip.transformer import QuickGELU as Plain

from mamol.backbones.activation import QuickGELU


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_it_is_the_plain_one_to_the_bit(dtype: torch.dtype) -> None:
    x = torch.cat([torch.randn(5000), torch.tensor([0.0, -0.0, 1e4, -1e4])]).to(dtype)
    assert torch.equal(QuickGELU()(x), Plain()(x))


def test_its_gradient_is_the_plain_ones() -> None:
    x = (3 * torch.randn(7, 11, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(QuickGELU(), x)
    target = torch.randn(7, 11, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad((layer(x) * target).sum(), x)[0] for layer in (QuickGELU(), Plain()))
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_it_keeps_its_input_alone() -> None:
    def kept(layer: torch.nn.Module) -> int:
        sizes = []
        x = torch.randn(1000, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            layer(2 * x)
        return sum(size for size in sizes if size > 1)

    assert kept(QuickGELU()) == 1000
    assert kept(Plain()) >= 2000
