"""QuickGELU that keeps one tensor for the backward pass where the plain expression keeps three."""

from typing import Any

import torch
from torch import Tensor, nn

SLOPE = 1.702


class _QuickGELU(torch.autograd.Function):
    """``x · sigmoid(1.702 x)``; its derivative is that of SiLU at 1.702 x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        """Keeps ``x`` alone: in a frozen MLP its gradient is all that is asked for."""
        ctx.save_for_backward(x)
        return x.mul(SLOPE).sigmoid_().mul_(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401
        """The gradient of ``x``."""
        (x,) = ctx.saved_tensors
        gradient: Tensor = torch.ops.aten.silu_backward(grad, x.mul(SLOPE))
        return gradient


class QuickGELU(nn.Module):
    """OpenAI's activation, to the bit that of open_clip's module of the same name."""

    def forward(self, x: Tensor) -> Tensor:
        """The activation, element by element.

        Args:
            x: Any shape.
        """
        activated: Tensor = _QuickGELU.apply(x)  # type: ignore[no-untyped-call]
        return activated
