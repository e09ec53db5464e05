"""What DIS2 adds to the loss: the student learns from the teacher, and a compensator what is not yet seen."""

import torch
from torch import Tensor
from torch.nn import functional

from mamol.networks.dis2_branch import Output
from mamol.networks.dis2_encoders import Pools

TEMPERATURE = 2.0
STRENGTH = 5.0
WARM_UP = 0.1
"""Share of the optimiser's steps in which the teacher is not yet listened to."""
TINY = 1e-6


def strength(progress: float) -> float:
    """λ, the weight of the distillation.

    Args:
        progress: Share of the optimiser's steps that are done.
    """
    return STRENGTH if progress >= WARM_UP else 0.0


def unlike(one: Tensor, other: Tensor) -> Tensor:
    """Mean squared distance of vectors of length one, over all their values.

    Args:
        one: (n, C) or (n, C, h, w); C is the vector.
        other: The same shape.
    """
    near, far = (functional.normalize(each, dim=1, eps=TINY) for each in (one, other))
    return functional.mse_loss(near, far)


def distillation(student: Output, teacher: Output, pools: Pools, rows: Tensor) -> Tensor:
    """How far the student's fused features, penultimate features and logits are from the teacher's.

    Args:
        student: Of all samples of a batch.
        teacher: Of the complete ones; no gradient reaches it.
        pools: Of the fused maps, of both.
        rows: (n,) bool, which samples of the student's these are.
    """
    with torch.no_grad():
        taught = [*pools(teacher.fused.levels), teacher.fused.token, teacher.penultimate]
        target = (teacher.logits.float() / TEMPERATURE).softmax(1)
    learned = [*pools([level[rows] for level in student.fused.levels]), student.fused.token[rows]]
    learned.append(student.penultimate[rows])
    guess = (student.logits[rows].float() / TEMPERATURE).log_softmax(1)
    features = torch.stack([unlike(own, there.detach()) for own, there in zip(learned, taught, strict=True)])
    return features.sum() + TEMPERATURE**2 * functional.kl_div(guess, target, reduction="none").mean()


def divergence(standing: Tensor, beside: Tensor, pairs: Tensor) -> Tensor:
    """The mean squared cosine of what stands in and what is there: 0 where orthogonal, 1 where parallel.

    Args:
        standing: (n, M, C), pooled features that stand in for each modality.
        beside: (n, M, C), pooled features of each modality.
        pairs: (n, M, M) bool, where the first modality is absent and the second present.
    """
    cosine = functional.normalize(standing, dim=-1) @ functional.normalize(beside, dim=-1).transpose(1, 2)
    return cosine.square().where(pairs, 0).sum() / pairs.sum().clamp(min=1)
