"""What networks with several resolutions share: how many there are, and a norm that one value does not break."""

from torch import Tensor, nn
from torch.nn import functional

MOST = 4  # halvings, those of the first U-Net


def depth_of(side: int) -> int:
    """How often a window is halved: at most four times, and never below one pixel.

    Args:
        side: P.
    """
    return min(MOST, side.bit_length() - 1)


class Norm(nn.BatchNorm2d):
    """Over the batch, as U-Nets usually have it; one value alone has no spread and takes the running statistics.

    So a last batch of one window, whose coarsest map is one pixel, trains like any other.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalises.

        Args:
            x: (B, C, H, W).

        Returns:
            The same shape.
        """
        if self.training and x[:, 0].numel() == 1:
            return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
