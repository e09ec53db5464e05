"""Fewer sensors and fewer experts of a pre-trained mixture."""

from dataclasses import replace

from torch import Tensor

from mamol.backbones.mixture.folder import Pretrained
from mamol.core.pruning import Cut


def pruned(made: Pretrained, cut: Cut) -> Pretrained:
    """What is left of a backbone.

    For inputs of the sensors that stay, leaving out others changes nothing: their e_mod is not read, and an absent one
    is a zero in the pattern. Only a sensor that the folder does not know gets the mean of fewer e_mod than before.

    Args:
        made: It.
        cut: Numbers of its sensors, and the experts of each mixture, that stay.

    Returns:
        The same card; sources stay, as the weights have seen them.
    """
    sizes, inputs = made.sizes, list(cut.inputs)
    state: dict[str, Tensor] = dict(made.state)
    # Rows of sensors, then columns: one number of m each, whose bias stays.
    state["knowledge.modality"] = state["knowledge.modality"][inputs]
    state["knowledge.pattern.0.weight"] = state["knowledge.pattern.0.weight"][:, inputs]
    for block in sizes.mixtures:
        before, kept = f"layers.{block}.feed_forward.", list(cut.experts[block])
        state[f"{before}router.weight"] = state[f"{before}router.weight"][kept]
        own = {name.removeprefix(f"{before}experts."): name for name in state if name.startswith(f"{before}experts.")}
        parts = {name: state.pop(full) for name, full in own.items()}
        for now, then in enumerate(kept):
            start = f"{then}."
            found = {n.removeprefix(start): value for n, value in parts.items() if n.startswith(start)}
            state |= {f"{before}experts.{now}.{name}": value for name, value in found.items()}
    counts = tuple(len(cut.experts[block]) for block in sizes.mixtures)
    same = counts == tuple(sizes.experts_of(block) for block in sizes.mixtures)
    left = replace(
        sizes,
        sensors=tuple(sizes.sensors[i] for i in inputs),
        experts_per_block=sizes.experts_per_block if same else counts,
    )
    return replace(made, sizes=left, state=state, embeddings=[made.embeddings[i] for i in inputs])
