"""A network with fewer modalities and experts, around the same frozen towers."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor

from mamol.core.backbone import Backbone
from mamol.core.errors import MamolError
from mamol.core.network import AnyNetwork
from mamol.core.pruning import Cut, Prunable
from mamol.network.network import Network

TAKEN = "prune takes runs of method=mamol on windows, and the folders of backbones that pretrain wrote"


def prunable(network: AnyNetwork, inputs: int) -> Network:
    """Refuses a network that cannot be pruned.

    Args:
        network: Any.
        inputs: How many modalities are to stay.

    Returns:
        It.

    Raises:
        MamolError: It has no experts that can be taken out, or would not be the same without a modality.
    """
    spec = network.spec
    if not isinstance(network, Network):
        raise MamolError(f"network={spec.network} has no experts to prune; {TAKEN}")
    if not spec.takes_windows:
        raise MamolError(f"this run takes {' and '.join(spec.names)}; {TAKEN}")
    if not isinstance(network.method, Prunable):
        raise MamolError(f"method={spec.method} has no experts that can be taken out; {TAKEN}")
    if network.compensator is not None and inputs < len(spec.modalities):
        raise MamolError(
            "compensate=True fills in what absent modalities would say, so that the head needs all of them: keep "
            f"{','.join(spec.names)}"
        )
    return network


def pruned(network: Network, cut: Cut) -> Network:
    """What is left of a network.

    The features of an absent modality are zeros to the head, so its columns go, too.

    Args:
        network: Of ``prunable``.
        cut: What stays.

    Returns:
        A network of its own, around the same towers, in evaluation mode on the same device.
    """
    spec = network.spec
    remains = cast(Prunable, network.method).pruned(cut)
    left = replace(
        spec,
        modalities=tuple(spec.modalities[i] for i in cut.inputs),
        method_options={**spec.method_options, **remains.options},
    )
    made = Network(left, {name: cast(Backbone, tower) for name, tower in network.towers.items()})
    state = {f"method.{name}": value for name, value in remains.state.items()}
    made.load_trainable_state(state | beside_method(network, cut.inputs, list(made.head.sizes.widths)))
    return made.to(next(network.embedding.parameters()).device).eval()


def beside_method(network: Network, inputs: Sequence[int], features: Sequence[str]) -> dict[str, Tensor]:
    """The weights of what is left beside the method when modalities go.

    Args:
        network: Of which.
        inputs: Numbers of the modalities that stay, ascending.
        features: Names of the features that the head gets then.

    Raises:
        MamolError: The head cannot say its weights for some features alone.
    """
    state = {f"head.{name}": value for name, value in network.head.state_for(features).items()}
    for now, then in enumerate(inputs):
        state |= {f"embedding.{now}.{name}": value for name, value in network.embedding[then].state_dict().items()}
    # What else there is, a compensation and trained towers, stays as it is.
    rest = network.trainable_state().items()
    return state | {name: value for name, value in rest if name.split(".")[0] not in ("method", "head", "embedding")}
