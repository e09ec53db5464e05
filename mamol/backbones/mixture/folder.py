"""The folder of a pre-trained mixture, ``backbone=<folder>``: ``backbone.json`` and ``backbone.safetensors``."""

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mamol.backbones.mixture.tower import MixtureTower, Sizes, Weights
from mamol.backbones.weights import interpolate_positions
from mamol.core.backbone import BACKBONES, BackboneFamily, BackboneRequest, Origin
from mamol.core.errors import MamolError
from mamol.core.files import replacing_folder
from mamol.core.fingerprint import fingerprint
from mamol.core.modality import Modality
from mamol.core.plain import fitted
from mamol.core.seal import KEY as SEAL
from mamol.core.seal import UNSEALED, read_sealed_json, seal, verify, write_sealed_json
from mamol.core.version import VERSION

FOLDER = "backbone"
"""Its name in the folder of a pre-training."""
DESCRIPTION, WEIGHTS = "backbone.json", "backbone.safetensors"
FORMAT = 1
AGAIN = "copy the folder again, or pre-train again"
TOWER, EMBEDDING = "tower.", "embedding."
"""How the names of tensors begin; behind the second comes the number of the sensor."""


class Description(TypedDict):
    """What JSON says beside format and version."""

    sizes: dict[str, Any]
    weights: str
    sources: dict[str, str]
    card: dict[str, Any]


@dataclass(frozen=True)
class Pretrained:
    """What a folder holds.

    Attributes:
        sizes: Of the tower.
        state: Weights of the tower by name.
        embeddings: Weights of each sensor's embedding, in the order of ``sizes.sensors``.
        sources: Raw file that it saw -> sha256.
        card: What else a reader should know: how it was trained, what came out.
    """

    sizes: Sizes
    state: Mapping[str, Tensor]
    embeddings: Sequence[Mapping[str, Tensor]]
    sources: Mapping[str, str] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)

    def tensors(self) -> dict[str, Tensor]:
        """All of them by the names of the file."""
        named = {TOWER + name: value for name, value in self.state.items()}
        for number, own in enumerate(self.embeddings):
            named |= {f"{EMBEDDING}{number}.{name}": value for name, value in own.items()}
        return {name: value.detach().float().cpu().contiguous() for name, value in named.items()}


def is_pretrained(name: str) -> bool:
    """Whether a ``backbone=`` or ``clip_weights=`` is a folder of this kind.

    Args:
        name: The option.
    """
    return bool(name) and (Path(name).expanduser() / DESCRIPTION).is_file()


def write_pretrained(folder: Path, made: Pretrained) -> None:
    """Writes the folder, whole or not at all.

    Args:
        folder: It is not there, or empty.
        made: What it is to hold.

    Raises:
        OSError: It cannot be written.
    """
    with replacing_folder(folder) as temporary:
        fill_pretrained(temporary, made)


def fill_pretrained(folder: Path, made: Pretrained) -> None:
    """Writes the two files into a folder that nobody reads yet.

    Args:
        folder: It is there.
        made: What it is to hold.

    Raises:
        OSError: They cannot be written.
    """
    tensors = made.tensors()
    try:
        save_file(tensors, folder / WEIGHTS, metadata={SEAL: UNSEALED})
    except SafetensorError as error:  # its own name for all that a disk can do
        raise OSError(errno.EIO, str(error), str(folder / WEIGHTS)) from error
    seal(folder / WEIGHTS)
    described = {
        "format": FORMAT,
        "version": VERSION,
        "sizes": made.sizes.to_json(),
        "weights": fingerprint(tensors),
        "sources": dict(made.sources),
        "card": dict(made.card),
    }
    write_sealed_json(folder / DESCRIPTION, described)


def read_pretrained(folder: Path) -> Pretrained:
    """Reads the folder.

    Args:
        folder: Of ``write_pretrained``.

    Raises:
        MamolError: A file is missing, damaged, of another format or of another backbone.
    """
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise MamolError(f"backbone={folder}: {name} is not there; give the folder of a pre-trained backbone")
    path, weights = folder / DESCRIPTION, folder / WEIGHTS
    content = read_sealed_json(path, AGAIN)
    if content.get("format") != FORMAT:
        raise MamolError(f"{path}: has format {content.get('format')!r}, this version reads {FORMAT}; {AGAIN}")
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise MamolError(f"{weights}: cannot be read as safetensors ({error}); {AGAIN}") from error
    verify(weights, AGAIN)
    if content.get("weights") != fingerprint(tensors):
        raise MamolError(f"{weights}: belongs to another {DESCRIPTION} than the one beside it; {AGAIN}")
    try:
        described: Description = fitted(content, Description, "its description")
        sizes = Sizes.from_json(described["sizes"])
    except ValueError as error:
        raise MamolError(f"{path}: {error}; {AGAIN}") from error
    state = _beginning_with(TOWER, tensors)
    embeddings = [_beginning_with(f"{EMBEDDING}{number}.", tensors) for number in range(len(sizes.sensors))]
    return Pretrained(sizes, state, embeddings, described["sources"], described["card"])


def _beginning_with(start: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies: safetensors maps the file, and a frozen weight must not change with it."""
    return {name.removeprefix(start): value.clone() for name, value in tensors.items() if name.startswith(start)}


def tower_of(made: Pretrained, grid: int, origin: Origin) -> MixtureTower:
    """The frozen tower.

    Args:
        made: Of ``read_pretrained``.
        grid: Tokens per side of the windows; positions are interpolated where it is another one.
        origin: Where the weights come from.

    Raises:
        MamolError: The weights are not those of the sizes.
    """
    sizes = replace(made.sizes, grid=grid)
    with torch.device("meta"):  # no number needs to be drawn
        weights = Weights(sizes)
    state = dict(made.state)
    try:
        state["positions"] = interpolate_positions(state["positions"], grid)
        weights.load_state_dict(state, assign=True)
    except (RuntimeError, KeyError) as error:
        raise MamolError(f"{origin}: its weights are not those of its sizes ({_first(error)}); {AGAIN}") from error
    return MixtureTower(sizes, weights, origin, starts(made))


def starts(made: Pretrained) -> dict[tuple[str, int], Mapping[str, Tensor]]:
    """Name and bands of each sensor to where its embedding begins.

    Args:
        made: Of ``read_pretrained``.
    """
    return {_key(sensor): own for sensor, own in zip(made.sizes.sensors, made.embeddings, strict=True)}


def _key(sensor: Modality) -> tuple[str, int]:
    return sensor.name, sensor.size


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[1] if len(lines) > 1 else lines[0]


@BACKBONES.register("pretrained")
class PretrainedFamily(BackboneFamily):
    """Folders that ``python run.py pretrain`` writes: ``backbone=<folder>``; they say the sizes themselves.

    A folder that was moved behind a training is given by ``clip_weights=<folder>``.
    """

    summary = "a folder of `python run.py pretrain`: a mixture of experts, pre-trained without labels, for windows"

    def claims(self, name: str, weights: str) -> bool:
        """A folder; a path that is none is refused here, in words."""
        return "/" in name or is_pretrained(name) or is_pretrained(weights)

    def visual(self, request: BackboneRequest, grid: int) -> MixtureTower:
        """The tower for windows of ``grid`` × ``grid`` pixels."""
        if request.activation == "quickgelu":
            raise MamolError(
                f"activation=quickgelu: backbone={request.name} was trained with gelu; use activation=auto"
            )
        folder = Path(request.weights if is_pretrained(request.weights) else request.name).expanduser()
        made = read_pretrained(folder)
        origin = Origin(f"pre-trained without labels: {folder}", seen=frozenset(made.sources.values()))
        return tower_of(made, grid, origin)
