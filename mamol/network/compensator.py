"""``compensate=True``: what a present modality would have added, instead of zeros; learnt from complete samples.

After DIS2 (arXiv 2601.13502): a compensation is orthogonal to what is there already, and makes an incomplete sample
look to the head as the complete one does. A complete sample of a batch is its own teacher. DIS2's student decodes by
itself; here it has the teacher's head and towers, so that distillation trains the compensator and nothing else.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from mamol.core.errors import MamolError
from mamol.core.head import Head
from mamol.core.method import Batch
from mamol.core.spec import NetworkSpec
from mamol.data.missing import incomplete_patterns

RANK = 16
WARM_UP = 0.1  # share of the steps without distillation
WEIGHT, TEMPERATURE = 5.0, 2.0  # of the distillation behind it

Seen = dict[str, Tensor] | None
"""Modality to the tokens (B, T) that stand for something; None if all of those of present modalities do."""


class Encoding(NamedTuple):
    """What towers make of a batch.

    Attributes:
        features: Modality to (B, width), or (B, T, width) where the head reads all tokens; zero where absent.
        seen: Of the tokens.
        auxiliary: The sum of the method's auxiliary losses, if it has any.
    """

    features: dict[str, Tensor]
    seen: Seen
    auxiliary: Tensor | None


class Outcome(NamedTuple):
    """What a head gets and says.

    Attributes:
        features: As of ``Encoding``, with compensations.
        logits: (B, K), or (B, P, P, K) of a dense head.
    """

    features: dict[str, Tensor]
    logits: Tensor


class Compensator(nn.Module):
    """``c_j = B_j GELU(A_j [mean of the present features; m] + a_j) + b_j`` in place of the zeros of an absent j.

    Attributes:
        parts: Of each modality.
    """

    def __init__(self, modalities: int, width: int) -> None:
        """Makes it; the weights are torch's, so that a compensation has a direction from the first step on.

        Args:
            modalities: M.
            width: Of a feature, the same for all modalities.
        """
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Linear(width + modalities, RANK), nn.GELU(), nn.Linear(RANK, width))
            for _ in range(modalities)
        )

    def forward(self, features: Mapping[str, Tensor], available: Tensor, seen: Seen) -> tuple[dict[str, Tensor], Seen]:
        """Fills in absent features; a batch of complete samples is given back as it is.

        Where the head reads all tokens, a modality that is absent from the whole window is compensated at each token
        that a present one saw. A pixel that a present modality did not see stays zero.

        Args:
            features: As of ``Encoding``.
            available: (B, M) bool.
            seen: Of the present modalities.

        Returns:
            Features and seen tokens with the compensations.
        """
        if not torch.compiler.is_exporting() and available.all():
            return dict(features), seen
        tokens = _tokens(features)
        there = available[..., None] if seen is None else torch.stack(list(seen.values()), 1)  # (B, M, T or 1)
        count = there.sum(1)[..., None]
        pattern = available[:, None].expand(-1, tokens.shape[2], -1).to(tokens.dtype)
        known = torch.cat([tokens.sum(1) / count.clamp(min=1), pattern], -1)
        filled, now_seen = dict(features), None if seen is None else dict(seen)
        for number, (name, part) in enumerate(zip(features, self.parts, strict=True)):
            # Of all samples, so that weights have a gradient and the graph one shape; it costs next to nothing.
            compensation = part(known).where(count > 0, 0).to(tokens.dtype)
            mine, own = available[:, number, None], features[name]
            filled[name] = own.where(mine if own.ndim == 2 else mine[..., None], compensation.reshape_as(own))
            if now_seen is not None:
                now_seen[name] = now_seen[name] | (~mine & (count[..., 0] > 0))
        return filled, now_seen


def compensator_of(spec: NetworkSpec, widths: Mapping[str, int]) -> Compensator | None:
    """The compensator that a network is to have, if any.

    Args:
        spec: Of the network.
        widths: Feature to its width, as the head gets it.

    Raises:
        MamolError: It is asked for where there is nothing to compensate.
    """
    if not spec.options.get("compensate", False):  # checkpoints of earlier versions do not say
        return None
    if spec.fusion != "late":
        raise MamolError(
            f"compensate=True: fusion={spec.fusion} leaves absent modalities out and has no zeros in their place; use "
            "fusion=late, or compensate=False"
        )
    if not spec.takes_windows:
        raise MamolError(
            f"compensate=True is for windows of scenes, and this table has {', '.join(spec.kinds)}; use "
            "compensate=False"
        )
    if len(widths) == 1:
        raise MamolError(f"compensate=True: {spec.names[0]} is alone and never absent; use compensate=False")
    (width,) = set(widths.values())
    return Compensator(len(widths), width)


def distilled(
    compensator: Compensator, head: Head, encode: Callable[[Batch], Encoding], batch: Batch, progress: float
) -> dict[str, Tensor]:
    """What complete samples teach the compensator: each with a drawn pattern is to look as it does by itself.

    Samples that miss something are left out, whatever stands at what they miss. Patterns come from torch's generator.

    Args:
        compensator: What is taught.
        head: The network's; its weights get no gradient.
        encode: The network, as far as the head; neither do its.
        batch: As of ``AnyNetwork.forward``.
        progress: Share of the steps that are done.

    Returns:
        The terms ``distill`` and ``divergence``, zero without complete samples.
    """
    available = batch["available"]
    complete = available.all(1)
    if not complete.any():
        return {name: torch.zeros((), device=available.device) for name in ("distill", "divergence")}
    whole = {name: values[complete] for name, values in batch.items()}
    patterns = torch.from_numpy(incomplete_patterns(available.shape[1]))
    drawn = patterns[torch.randint(len(patterns), (len(whole["available"]),))].to(available.device)
    with torch.no_grad():
        there = encode({**whole, "available": drawn})
    features, seen = compensator(there.features, drawn, there.seen)
    weight, distill = weight_at(progress), torch.zeros((), device=available.device)
    if weight:
        held = {name: weights.detach() for name, weights in head.named_parameters()}
        student = Outcome(features, functional_call(head, held, (features, drawn, seen)))
        with torch.no_grad():
            full = encode(whole)
            teacher = Outcome(full.features, head(full.features, whole["available"], full.seen))
        distill = weight * distance(student, teacher)
    return {"distill": distill, "divergence": divergence(features, drawn)}


def weight_at(progress: float) -> float:
    """λ: zero at first, while the teacher does not know anything.

    Args:
        progress: Share of the steps that are done.
    """
    return 0.0 if progress < WARM_UP else WEIGHT


def distance(student: Outcome, teacher: Outcome) -> Tensor:
    """``MSE(n(s), n(t)) + T² KL(softmax(y_t / T) ‖ softmax(y_s / T))``; n makes all features together one unit vector.

    Args:
        student: Of the incomplete samples.
        teacher: Of the complete ones.

    Returns:
        Mean over the samples; of a dense head over the pixels of which the student has something.
    """
    ours, theirs = (torch.cat(list(each.features.values()), -1).float() for each in (student, teacher))
    heard = ours.detach().any(-1)
    apart = (functional.normalize(ours[heard], dim=-1) - functional.normalize(theirs[heard], dim=-1)).square().mean(-1)
    logits = (each.logits.reshape(*heard.shape, -1)[heard].float() / TEMPERATURE for each in (student, teacher))
    said, meant = (functional.log_softmax(each, -1) for each in logits)
    unlike = functional.kl_div(said, meant, reduction="none", log_target=True).sum(-1)
    return (apart + TEMPERATURE**2 * unlike).sum() / max(len(apart), 1)


def divergence(features: Mapping[str, Tensor], available: Tensor) -> Tensor:
    """Mean of cos² between compensations and present features: 0 if they are orthogonal, 1 if parallel.

    Args:
        features: As of ``Outcome``; of tokens their mean counts.
        available: (B, M) bool; absent ones are compensations.

    Returns:
        Mean over all pairs of an absent and a present modality of a sample.
    """
    directions = functional.normalize(_tokens(features).float().sum(2), dim=-1)  # a sum has the mean's direction
    squares = (directions @ directions.transpose(1, 2)).square()
    pairs = ~available[:, :, None] & available[:, None, :]
    return squares[pairs].mean()


def _tokens(features: Mapping[str, Tensor]) -> Tensor:
    """(B, M, T, width); of one feature per modality T is 1."""
    stacked = torch.stack(list(features.values()), 1)
    return stacked.reshape(*stacked.shape[:2], -1, stacked.shape[-1])
