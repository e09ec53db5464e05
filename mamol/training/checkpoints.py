"""Checkpoints of the trainable part: a safetensors file whose header says what it belongs to."""

import errno
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mamol.core.backbone import RANDOM
from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.core.network import AnyNetwork
from mamol.core.plain import fitted, record, shown
from mamol.core.seal import KEY as SEAL
from mamol.core.seal import UNSEALED, seal, verify
from mamol.core.settings import check_plain
from mamol.core.spec import NetworkSpec
from mamol.core.version import VERSION
from mamol.data.tableinfo import Identity, TableInfo
from mamol.training.released_weights import is_released

logger = logging.getLogger(__name__)

FORMAT = 1
NAMED_BY_OLD_LIGHTNING = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"
KEY = "mamol"  # of the JSON in the safetensors header, and in Lightning's dictionary
ADAPTER = "adapter.safetensors"  # the one checkpoint of a folder that is handed on without its run
SETTINGS = "mamol_settings"  # of the options in Lightning's dictionary, as JSON
ARROW = b"ARROW1"  # how tables begin
CHOSEN = ("activation", "fusion")
"""Parts of a network that no plugin can add to; the others are looked up when it is built."""
DAMAGED = "take another checkpoint, or train again"


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint belongs to.

    Attributes:
        network: Sizes, modality names, classes and method; enough to build the trainable part again.
        backbone_fingerprint: sha256 of the frozen weights.
        backbone_origin: Where they came from.
        data: Dataset, protocol and fingerprint of the training table.
        epoch: Epochs done.
        score: On the validation table, in percent; None without one.
        format: Of the checkpoint.
        version: Of the program.
        random_weights: Whether the frozen weights were never trained.
    """

    network: NetworkSpec
    backbone_fingerprint: str
    backbone_origin: str
    data: Annotated[dict[str, Any], Identity]
    epoch: int
    score: float | None
    format: int = FORMAT
    version: str = VERSION
    random_weights: bool = False

    @property
    def dataset(self) -> str:
        """Of the training table; a custom scene where nobody knows."""
        return str(self.data.get("dataset", "scene"))

    def to_json(self) -> str:
        """JSON; keys stay in order, because that of the modalities counts."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps({**plain, "network": self.network.to_json()}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, path: Path) -> "CheckpointInfo":
        """Back from JSON.

        Args:
            text: Of ``to_json``; the first version did not write ``random_weights``.
            path: The file, for messages.

        Raises:
            MamolError: Not JSON, or of another format.
        """
        try:
            content = fitted(json.loads(text), dict[str, Any], "the description")
            content.pop(SEAL, None)
            written = content["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _undescribed(path, error) from error
        if written != FORMAT:
            raise MamolError(f"{path} has checkpoint format {shown(written)}, this version reads {FORMAT}")
        try:
            network = NetworkSpec.from_json(content.pop("network"))
            chosen = {name: value for name in CHOSEN if (value := getattr(network, name))}  # "" of networks without
            check_plain(chosen | network.method_options | network.options)
            content = record(content, cls)
            content.setdefault("random_weights", content["backbone_origin"].startswith(RANDOM))
            return cls(network=network, **content)
        except (ValueError, KeyError, TypeError) as error:
            raise _undescribed(path, error) from error


def _undescribed(path: Path, error: Exception) -> MamolError:
    return MamolError(f"{path} has no readable description of its network ({error}); train it again")


def describe(network: AnyNetwork, data: Mapping[str, Any], epoch: int, score: float | None) -> CheckpointInfo:
    """What is stored beside the weights of a network.

    Args:
        network: The network.
        data: Of ``data_identity``.
        epoch: Epochs done.
        score: On the validation table; None without one.
    """
    return CheckpointInfo(
        network.spec,
        network.fingerprint,
        network.origin,
        dict(data),
        epoch,
        score,
        random_weights=network.random_weights,
    )


def data_identity(info: TableInfo, fingerprint: str) -> dict[str, Any]:
    """Which training samples a checkpoint has seen.

    Args:
        info: What the training table says about itself.
        fingerprint: Of the training table.
    """
    return {**info.identity(), "fingerprint": fingerprint}


def save_checkpoint(path: Path, network: AnyNetwork, info: CheckpointInfo) -> None:
    """Writes the trainable part with its description, atomically.

    Args:
        path: A ``.safetensors`` file; its folder is created.
        network: Whose trainable part.
        info: Of ``describe``.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in network.trainable_state().items()}
    with replacing(path) as temporary:
        write_state(temporary, state, info)


def write_state(path: Path, state: Mapping[str, Tensor], info: CheckpointInfo) -> None:
    """Writes weights with their description and a checksum.

    Args:
        path: A new ``.safetensors`` file.
        state: Full name to weights.
        info: What they belong to.

    Raises:
        OSError: They cannot be written.
    """
    # In the one entry: several would come in any order, and equal weights be files of other bytes.
    described = json.dumps({**json.loads(info.to_json()), SEAL: UNSEALED}, ensure_ascii=False)
    try:
        save_file(dict(state), path, metadata={KEY: described})
    except SafetensorError as error:  # its own name for all that a disk can do
        raise OSError(errno.EIO, str(error), str(path)) from error
    seal(path)


def read_checkpoint(path: Path | str) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Reads a checkpoint of this program: ``best*.safetensors`` or Lightning's ``last*.ckpt``.

    Nothing is unpickled but tensors and plain values.

    Args:
        path: As of ``checkpoint_file``.

    Returns:
        What it says of itself, and the trainable part by full name.

    Raises:
        MamolError: Missing, truncated, of another program or format, or in need of arbitrary unpickling.
    """
    path = checkpoint_file(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return described(read_pickle(path), path)


def described(content: Mapping[str, Any], path: Path) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """The description and the weights in Lightning's dictionary of a run of this program.

    Args:
        content: Of ``read_pickle``.
        path: The file.

    Raises:
        MamolError: It is of the released code or of another program, or was damaged.
    """
    if is_released(content):
        raise MamolError(
            f"{path} is a checkpoint of the released code, which does not say its classes or bands: it can be tested "
            "(test_only=True with released) or trained on (load_path), nothing else"
        )
    if KEY not in content or "state_dict" not in content:
        raise MamolError(f"{path} is not a checkpoint of this program: it has no description under {KEY!r}")
    verify(path, DAMAGED)
    state = content["state_dict"]
    if not (isinstance(state, dict) and state and all(isinstance(value, Tensor) for value in state.values())):
        raise MamolError(f"{path} has no weights under 'state_dict'; {DAMAGED}")
    return CheckpointInfo.from_json(content[KEY], path), state


def checkpoint_file(path: Path | str) -> Path:
    """The file that ``load_path`` means.

    Args:
        path: A checkpoint, or a run's folder, of which it is the best one, or the folder of an adapter.

    Raises:
        MamolError: There is no such file, or the folder has no best checkpoint and no adapter.
    """
    path = Path(path)
    if path.is_dir():
        found = [*path.glob(ADAPTER), *sorted((path / "checkpoints").glob("best*.safetensors"))]
        if not found:
            raise MamolError(
                f"load_path={path}: no checkpoints/best*.safetensors in it, and no {ADAPTER}; "
                "give a run's folder or a file"
            )
        return found[-1]
    if not path.is_file():
        raise MamolError(f"load_path={path}: there is no such file; give a run's folder or a file of its checkpoints")
    return path


def run_of(checkpoint: Path) -> Path | None:
    """The folder of the run that a checkpoint lies in; None for a file by itself.

    Args:
        checkpoint: The file.
    """
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else None


def _read_safetensors(path: Path) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise MamolError(
            f"{path} cannot be read as safetensors ({error}); it is truncated or something else"
        ) from error
    if KEY not in metadata:
        raise MamolError(f"{path} is not a checkpoint of this program: it has no description under {KEY!r}")
    verify(path, DAMAGED)
    return CheckpointInfo.from_json(metadata[KEY], path), state


class _Inert:
    """Stands for the class by which the release's Lightning (1.1) files its callback's state; it does nothing."""


def read_pickle(path: Path) -> dict[str, Any]:
    """A ``.ckpt`` or ``.pt`` of tensors and plain values.

    Args:
        path: The file.

    Returns:
        Its dictionary; an empty one if it holds anything else.

    Raises:
        MamolError: Truncated, or it would have to run code to be read.
    """
    try:
        with torch.serialization.safe_globals([(_Inert, NAMED_BY_OLD_LIGHTNING)]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        with path.open("rb") as file:
            table = file.read(len(ARROW)) == ARROW
        if table:
            raise MamolError(f"{path} is a table, no checkpoint; give a run's folder or a file of one") from error
        raise MamolError(
            f"{path} is refused: reading it would run code stored in it (only tensors and plain values are read); "
            "save its state_dict alone, in the environment it comes from"
        ) from error
    except Exception as error:  # damaged pickles raise nearly anything
        first = str(error).splitlines()[0] if str(error) else "empty"
        raise MamolError(
            f"{path} cannot be read as a checkpoint ({first}); it is truncated or something else"
        ) from error
    return content if isinstance(content, dict) else {}
