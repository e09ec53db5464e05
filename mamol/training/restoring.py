"""A checkpoint back in a network: around the same frozen weights, for the same modalities, classes and method."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mamol.core.backbone import RANDOM
from mamol.core.errors import MamolError
from mamol.core.groups import NetworkSettings
from mamol.core.network import AnyNetwork
from mamol.core.spec import NetworkSpec
from mamol.network.building import assemble
from mamol.training.checkpoints import (
    CheckpointInfo,
    checkpoint_file,
    describe,
    described,
    read_checkpoint,
    read_pickle,
)
from mamol.training.released_weights import is_released, load_released

logger = logging.getLogger(__name__)


def restore(info: CheckpointInfo, state: Mapping[str, Tensor], clip_weights: str, path: Path | str) -> AnyNetwork:
    """The network of a checkpoint, around the frozen weights it was trained with.

    Args:
        info: Of ``read_checkpoint``.
        state: Of ``read_checkpoint``.
        clip_weights: Where those frozen weights are; random ones are drawn again.
        path: The checkpoint, for messages.

    Raises:
        MamolError: The weights that ``clip_weights`` gives are other ones, or the checkpoint does not fit.
    """
    try:
        network = assemble(info.network, RANDOM if info.random_weights else clip_weights)
        check_same_backbone(info, network, path)
        network.load_trainable_state(state)
    except (MamolError, TypeError, RuntimeError, OverflowError) as error:
        told = str(error).partition("\n")[0]
        raise error if str(path) in told else MamolError(f"{path}: its network cannot be built: {told}") from error
    return network


def load_into(network: AnyNetwork, path: Path | str) -> CheckpointInfo:
    """Loads a checkpoint into a network built from the settings.

    Args:
        network: Of the same sizes, method and frozen weights.
        path: A checkpoint of this program, or a ``.ckpt`` of the released code, whose own frozen weights become the
            network's tower.

    Returns:
        What the checkpoint says of itself; of a released one, what it was loaded into.

    Raises:
        MamolError: The checkpoint is of another network, other data or another backbone.
    """
    path = checkpoint_file(path)
    content = None if path.suffix == ".safetensors" else read_pickle(path)
    if content is not None and is_released(content):
        load_released(network, content["state_dict"], str(path))
        return describe(network, {}, int(content.get("epoch", 0)), None)
    info, state = read_checkpoint(path) if content is None else described(content, path)
    check_same_network(info.network, network.spec, path)
    check_same_backbone(info, network, path)
    network.load_trainable_state(state)
    return info


def check_same_network(stored: NetworkSpec, here: NetworkSpec, path: Path | str) -> None:
    """Refuses a checkpoint of other sizes, modalities, classes or method, naming what differs.

    Args:
        stored: Of the checkpoint.
        here: Of the network at hand.
        path: The checkpoint, for messages.

    Raises:
        MamolError: Something differs.
    """
    theirs, ours = ({**vars(NetworkSettings()), **each.to_json()} for each in (stored, here))
    for options in (theirs, ours):  # an earlier version did not write the options that it did not have
        options |= options.pop("method_options") | options.pop("options")
    different = [
        f"{key} {theirs.get(key)!r} there, {ours.get(key)!r} here"
        for key in sorted(theirs.keys() | ours.keys())
        if _plain(theirs.get(key)) != _plain(ours.get(key))
    ]
    if list(theirs["modalities"]) != list(ours["modalities"]) and not different:
        different = [f"order of modalities {list(theirs['modalities'])} there, {list(ours['modalities'])} here"]
    if different:
        raise MamolError(
            f"{path} belongs to another network or other data: {'; '.join(different)}; "
            "use the table and the options it was trained with"
        )


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def check_same_backbone(info: CheckpointInfo, network: AnyNetwork, path: Path | str) -> None:
    """Refuses a checkpoint trained on other frozen weights.

    Args:
        info: Of the checkpoint.
        network: The one at hand.
        path: The checkpoint, for messages.

    Raises:
        MamolError: Its frozen weights are other ones.
    """
    if info.backbone_fingerprint != network.fingerprint:
        raise MamolError(
            f"{path} was trained on other frozen weights ({info.backbone_origin}) than clip_weights gives now "
            f"({network.origin}); give the same clip_weights"
        )


def warn_of_other_pixels(stored: CheckpointInfo, here: Mapping[str, Any], path: Path | str, data_root: str) -> None:
    """Warns where a checkpoint was trained on another draw of pixels.

    Args:
        stored: Of the checkpoint.
        here: ``data_identity`` of the table at hand.
        path: The checkpoint.
        data_root: Folder of the table.
    """
    if stored.data.get("fingerprint") != here["fingerprint"]:
        logger.warning(
            "%s was trained on another draw of pixels than %s: some test pixels may be its training pixels",
            path,
            data_root,
        )
