"""Eq. 12 to 17 of the paper written out: loops over samples, tokens and experts, one matrix product at a time."""

import torch
from torch import Tensor
from torch.nn import functional

from mamol.methods.mamol import MaMOLLayer


def mamol_layer(
    layer: MaMOLLayer, psi: torch.nn.Linear, z: Tensor, available: Tensor, modality: Tensor | None = None
) -> Tensor:
    """Δ of Eq. 12 for tokens ``z`` (N, T, d) of streams whose samples have ``available`` (N, M).

    ``modality`` is what stands for the modality of each token (N, T, 8), where the router sees it.
    """
    options, rank = layer.options, layer.options.rank
    down, up = layer.experts.down, layer.experts.up

    def expert(e: int, token: Tensor) -> Tensor:  # B_e A_e z, Eq. 13
        a, b = down[e * rank : (e + 1) * rank], up[:, e * rank : (e + 1) * rank]
        return b @ (a @ token)

    rows = []
    for n in range(z.shape[0]):
        pattern = psi.weight @ available[n] + psi.bias  # ψ(m), Eq. 15
        tokens = []
        for t in range(z.shape[1]):
            token, delta, e = z[n, t], torch.zeros_like(z[n, t]), 0
            if options.dynamic_experts:
                known = pattern if modality is None else torch.cat([modality[n, t], pattern])
                for k, gate in gates(layer, token, known):  # Eq. 14
                    delta = delta + gate * expert(k, token)
                e = options.experts_dynamic
            if options.shared_expert:  # Eq. 17, first term
                delta = delta + expert(e, token)
                e += 1
            if options.modality_experts:  # Eq. 17, second term: m_i B_i A_i z
                for i in range(available.shape[1]):
                    if available[n, i] == 1:
                        delta = delta + expert(e + i, token)
            tokens.append(delta)
        rows.append(torch.stack(tokens))
    return torch.stack(rows)


def gates(layer: MaMOLLayer, token: Tensor, known: Tensor) -> list[tuple[int, Tensor]]:
    """The kept experts of one token and their gates, Eq. 15; ``known`` is ψ(m), or [e_mod; ψ(m)]."""
    router, options = layer.router, layer.options
    together = torch.cat([token, known])
    seen = {"both": together, "modality": together, "features": token, "pattern": known}[options.router_input]
    hidden = functional.gelu(router.hidden.weight @ seen + router.hidden.bias)
    logits = router.out.weight @ hidden + router.out.bias
    probabilities = torch.exp(logits - logits.max()) / torch.exp(logits - logits.max()).sum()
    kept = torch.argsort(probabilities, descending=True)[: options.top_k].tolist()
    total = sum(probabilities[k] for k in kept) if options.gate_renormalise else 1.0
    return [(k, probabilities[k] / total) for k in kept]
