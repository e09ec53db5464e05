"""The gates of a mixture of experts, and how evenly and how specifically its experts are used."""

import torch
from torch import Tensor


def top_k_gates(logits: Tensor, top_k: int, renormalise: bool = False) -> tuple[Tensor, Tensor]:
    """Eq. 15: softmax, of which the ``top_k`` largest are kept.

    Args:
        logits: (N, T, K).
        top_k: How many gates stay.
        renormalise: Whether the kept gates are divided by their sum; the paper and the release do not.

    Returns:
        The gates (N, T, K), zero where not kept, and all probabilities (N, T, K), both float32.
    """
    probabilities = logits.float().softmax(-1)
    kept, index = probabilities.topk(top_k, dim=-1)
    if renormalise:
        kept = kept / kept.sum(-1, keepdim=True)
    return torch.zeros_like(probabilities).scatter(-1, index, kept), probabilities


def balance_loss(gates: Tensor, probabilities: Tensor, mask: Tensor | None = None) -> Tensor:
    """Load balancing, ``K Σ_k mean(p_k) · share(k)``; 1 when the experts are used evenly (Fedus et al. 2022).

    Args:
        gates: (N, T, K), zero where an expert is not used.
        probabilities: (N, T, K).
        mask: (N, T) bool, False at padding, which does not count; None counts all tokens.

    Returns:
        A scalar; zero in a graph that is exported, which is never trained.
    """
    if torch.compiler.is_exporting():
        return probabilities.new_zeros(())
    if mask is not None:
        gates, probabilities = gates[mask][None], probabilities[mask][None]
    used = (gates > 0).float()
    share = used.mean((0, 1)) / used.sum(-1).mean()
    return gates.shape[-1] * (probabilities.mean((0, 1)) * share).sum()


def balance_per_modality(gates: Tensor, probabilities: Tensor, modality: Tensor, mask: Tensor | None = None) -> Tensor:
    """``Σ_μ balance_loss`` over the tokens of one modality each; pooled, it would work against experts of a modality.

    Args:
        gates: (N, T, K), zero where an expert is not used.
        probabilities: (N, T, K).
        modality: (N, T) long, or (N, 1) where all tokens of a stream are of one: ``Streams.owners``. Tokens of several
            modalities are a group by themselves.
        mask: (N, T) bool, False at padding, which does not count; None counts all tokens.

    Returns:
        A scalar; the number of groups that occur when each uses its experts evenly.
    """
    if torch.compiler.is_exporting():
        return probabilities.new_zeros(())
    owners = modality.expand(gates.shape[:2])
    counts = torch.ones_like(owners, dtype=torch.bool) if mask is None else mask
    groups = [(owners == number) & counts for number in owners[counts].unique()]
    return torch.stack([balance_loss(gates, probabilities, own) for own in groups]).sum()


def mutual_information(probabilities: Tensor, modality: Tensor, mask: Tensor | None = None) -> Tensor:
    """``I(expert; modality) = H(mean_μ p_μ) - mean_μ H(p_μ)``, p_μ the mean probabilities of modality μ's tokens.

    Every modality counts the same, however many tokens it has.

    Args:
        probabilities: (N, T, K).
        modality: (N,) long, of each stream.
        mask: As of ``balance_per_modality``.

    Returns:
        A scalar in nats: 0 where all modalities use the same experts, at most ``log(min(K, modalities))``.
    """
    kept = torch.ones_like(probabilities[..., 0]) if mask is None else mask.to(probabilities.dtype)
    use = []
    for number in modality.unique():
        own = modality == number
        weight = kept[own][..., None]
        use.append((weight * probabilities[own]).sum((0, 1)) / weight.sum().clamp(min=1))
    each = torch.stack(use)
    return _entropy(each.mean(0)) - _entropy(each).mean()


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p).sum(-1)
