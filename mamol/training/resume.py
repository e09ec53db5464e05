"""Whether an interrupted run may be continued with these options: whatever decides its result must be the same."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mamol.core.errors import MamolError
from mamol.core.network import AnyNetwork
from mamol.core.settings import Settings
from mamol.training.checkpoints import SETTINGS, read_checkpoint, read_pickle
from mamol.training.restoring import check_same_backbone, check_same_network
from mamol.training.runs import folder_to_continue

MAY_GROW = "max_epoch"


@dataclass(frozen=True)
class Resumed:
    """A run that can be continued.

    Attributes:
        checkpoint: Its ``last.ckpt``.
        folder: Where it lies.
        options: Its options by flat names, those that decide the result equal to the ones given now.
    """

    checkpoint: Path
    folder: Path
    options: dict[str, Any]


def resumable(path: Path, settings: Settings, network: AnyNetwork, identity: Mapping[str, Any]) -> Resumed:
    """Checks that a run can be continued; nothing is written.

    Paths, the machine and what is shown may change, and ``max_epoch`` may grow.

    Args:
        path: ``resume_from``.
        settings: The options given now.
        network: The network that they make.
        identity: ``data_identity`` of the training table.

    Returns:
        The run.

    Raises:
        MamolError: It is finished, unreadable, or something that decides the result is another one, which is named.
    """
    folder = folder_to_continue(path)
    info, state = read_checkpoint(path)
    stored = stored_settings(path)
    refuse_other_options(path, stored, settings)
    other = [
        f"{key} {info.data.get(key)!r} there, {value!r} here"
        for key, value in identity.items()
        if info.data.get(key) != value
    ]
    if other:
        raise MamolError(
            f"resume_from={path}: that run trains on another table: {'; '.join(other)}; give its data_root"
        )
    check_same_network(info.network, network.spec, path)
    check_same_backbone(info, network, path)
    network.load_trainable_state(state)
    return Resumed(path, folder, stored.flat())


def stored_settings(path: Path) -> Settings:
    """The options of an interrupted run: in its ``last.ckpt``; of the first version, in ``config.json`` beside it.

    Args:
        path: ``last.ckpt``.

    Raises:
        MamolError: Neither has them.
    """
    content = read_pickle(path)
    config = path.parent.parent / "config.json"
    try:
        flat = json.loads(content[SETTINGS] if SETTINGS in content else config.read_text("utf-8"))
        flat.pop("mamol_version", None)
        return Settings.of(flat)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:  # MamolError is a ValueError
        raise MamolError(
            f"resume_from={path}: the options of that run cannot be read ({error}); "
            f"to train on from its weights use load_path={path}"
        ) from error


def refuse_other_options(
    path: Path, stored: Settings, here: Settings, decisive: Callable[[Settings], Mapping[str, Any]] = Settings.decisive
) -> None:
    """Refuses to go on with other options than a run began with.

    Args:
        path: Its ``last.ckpt``.
        stored: Its options.
        here: Those given now.
        decisive: Which of them count.

    Raises:
        MamolError: Naming those that differ.
    """
    theirs, ours = (json.loads(json.dumps(decisive(each))) for each in (stored, here))
    differing = [
        f"{name} {theirs.get(name)!r} there, {ours.get(name)!r} here"
        for name in {**theirs, **ours}
        if theirs.get(name) != ours.get(name) and name != MAY_GROW
    ]
    if ours[MAY_GROW] < theirs[MAY_GROW]:
        differing.append(f"{MAY_GROW} {theirs[MAY_GROW]} there, {ours[MAY_GROW]} here (it may only grow)")
    if differing:
        raise MamolError(
            f"resume_from={path}: that run has other options: {'; '.join(differing)}; continue it with its own "
            f"({path.parent.parent / 'config.json'}), or start anew from its weights with load_path={path}"
        )
