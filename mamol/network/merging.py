"""A network for one missing pattern whose low-rank updates are hidden units of the tower's own MLPs.

An update ``B A z`` stands beside an MLP, which is not linear, so it cannot be added to a matrix of it. But
``gelu(x) - gelu(-x) = x``, and so it is with QuickGELU: both are x times what adds up to 1 with its mirror image. So an
update of rank R is 2R more hidden units, ``[A; -A]`` in the first map and ``[B, -B]`` in the second, without a bias.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import cast

from mamol.core.errors import MamolError
from mamol.core.merging import Mergeable
from mamol.core.network import AnyNetwork
from mamol.core.streams import VISUAL
from mamol.network.network import Network
from mamol.network.pruning import beside_method

TAKEN = "merge takes runs of method=mamol, lora or lora_pattern on windows, around a CLIP or ViLT"
PLAIN = "baseline"
"""The method of a merged network: none."""


def mergeable(network: AnyNetwork, present: Sequence[int]) -> Network:
    """Refuses a network that cannot be merged.

    Args:
        network: Any.
        present: Numbers of the modalities of the pattern.

    Returns:
        It.

    Raises:
        MamolError: It has no updates that go into weights, or would not be the same.
    """
    spec = network.spec
    if not isinstance(network, Network):
        raise MamolError(f"network={spec.network} has no updates beside a frozen tower; {TAKEN}")
    if not spec.takes_windows:
        raise MamolError(f"this run takes {' and '.join(spec.names)}; {TAKEN}")
    if not isinstance(network.method, Mergeable):
        raise MamolError(f"method={spec.method} has no updates that go into the tower's weights; {TAKEN}")
    if network.compensator is not None and len(present) < len(spec.modalities):
        raise MamolError(
            "compensate=True fills in what absent modalities would say, so that the head needs all of them: merge "
            f"with present={'+'.join(spec.names)}"
        )
    return network


def merged(network: Network, present: Sequence[int]) -> Network:
    """The network under one pattern, as a plain tower with wider MLPs.

    Args:
        network: Of ``mergeable``.
        present: Numbers of the modalities of the pattern, ascending.

    Returns:
        A network of its own, of method ``baseline``, in evaluation mode on the same device.

    Raises:
        MamolError: Tokens choose among updates, or the MLPs of the tower cannot be made wider.
    """
    spec = network.spec
    updates = cast(Mergeable, network.method).constant(present)
    tower = deepcopy(network.tower)
    for number, update in updates.items():
        tower.blocks[number].feed_forward.absorb(*update)
    left = replace(
        spec,
        method=PLAIN,
        method_options={},
        modalities=tuple(spec.modalities[i] for i in present),
        options={
            **spec.options,
            "merged_ranks": [len(updates[n].down) if n in updates else 0 for n in range(len(tower.blocks))],
        },
    )
    made = Network(left, {VISUAL: deepcopy(network.tower)})
    of_tower = {f"towers.{VISUAL}.{name}": weight for name, weight in tower.state_dict().items()}
    state = beside_method(network, present, list(made.head.sizes.widths))
    made.load_trainable_state(state | {name: of_tower[name] for name in made.merged_weights()})
    return made.to(next(network.embedding.parameters()).device).eval()
