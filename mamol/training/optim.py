"""Optimiser and schedule: every trainable parameter in exactly one group."""

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

BETAS = (0.9, 0.98)  # the release's; the paper gives none


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two groups: matrices with weight decay, vectors (biases, norms) without.

    Chosen by shape, not by name: the release grouped by name and lost its classifier's weight.

    Args:
        network: Its parameters with ``requires_grad`` are taken, each once.
        weight_decay: Of the first group.

    Returns:
        Groups for a torch optimiser.
    """
    trainable = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def optimiser(network: nn.Module, kind: str, learning_rate: float, weight_decay: float) -> Optimizer:
    """AdamW (default), Adam as the paper says, or SGD with momentum 0.9.

    Args:
        network: Its parameters with ``requires_grad`` are trained.
        kind: ``adamw``, ``adam`` or ``sgd``.
        learning_rate: Of all parameters.
        weight_decay: Of matrices; vectors have none.
    """
    groups = parameter_groups(network, weight_decay)
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)
    return {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[kind](groups, lr=learning_rate, betas=BETAS)


def linear_schedule(optimizer: Optimizer, warmup: float, steps: int) -> LambdaLR:
    """Linear warm-up, then linear decay to zero.

    Args:
        optimizer: Its rates are multiplied.
        warmup: Share of the steps, or number of steps from 1 on.
        steps: All optimiser steps of the run.

    Returns:
        A scheduler to be advanced after every step.
    """
    rising = int(warmup * steps if warmup < 1 else warmup)

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return max(0.0, (steps - step) / max(1, steps - rising))

    return LambdaLR(optimizer, factor)
