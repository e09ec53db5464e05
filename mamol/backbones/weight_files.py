"""Tensors out of weight files, read as data: no code of a file is ever run.

Reads PyTorch files (``weights_only``), safetensors, and TorchScript archives. ``torch.jit.load`` would run the
``__setstate__`` of the archive's classes, and TorchScript can write files, so archives are not loaded but read: the
object tree by torch's own inert unpickler (the one behind ``torch.utils.model_dump``), the tensors from the zip file.
"""

import io
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.show_pickle import DumpUnpickler, FakeObject

from mamol.core.errors import MamolError
from mamol.core.files import sha256_of
from mamol.core.seal import verify

_STORAGE_TYPES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
}


_SHA256 = re.compile(r"[0-9a-f]{64}")


def read_tensors(path: Path) -> tuple[dict[str, Tensor], bool]:
    """Reads all tensors of a weight file.

    Args:
        path: ``.safetensors``, a PyTorch file (a state dict, or a training checkpoint with a ``state_dict``, whose
            names may begin with ``module.``), or a TorchScript archive.

    Returns:
        The tensors by name, as stored; and whether the file is a TorchScript archive.

    Raises:
        MamolError: No such file; truncated or damaged, or another sha256 than that in ``<file>.sha256`` beside it or
            in its name in the cache of huggingface_hub;
            content that only arbitrary unpickling could read.
    """
    if not path.is_file():
        raise MamolError(
            f"clip_weights={path}: no such file or folder; give the path of a weight file, 'openai' or 'random'"
        )
    _check_sum(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path), False
    if not _is_zip(path):
        return _read_torch(path), False
    try:
        with zipfile.ZipFile(path) as archive:
            # torch itself does not look at the checksums.
            damaged = archive.testzip()
            script = next((name for name in archive.namelist() if name.split("/")[-1] == "constants.pkl"), None)
    except Exception as error:  # a damaged directory raises nearly anything
        raise _unreadable(path, f"damaged zip file: {_first_line(error)}") from error
    if damaged:
        raise _unreadable(path, f"checksum of '{damaged}' is wrong")
    if script is None:
        return _read_torch(path), False
    return _read_torchscript(path, script.removesuffix("constants.pkl")), True


def _check_sum(path: Path) -> None:
    """Compares with ``<file>.sha256``, as sha256sum writes it, or with the checksum inside; zip files have their own.

    The cache of huggingface_hub names a file by its sha256.

    Raises:
        MamolError: It is another one.
    """
    beside, cached = path.with_name(f"{path.name}.sha256"), path.resolve().name
    if _SHA256.fullmatch(cached):
        if cached != sha256_of(path):
            raise _unreadable(path, "its sha256 is not the one that the cache names it by")
    elif beside.is_file():
        told = beside.read_text("utf-8", errors="replace").split()
        if not told or told[0].lower() != sha256_of(path):
            raise _unreadable(path, f"its sha256 is not the one in {beside.name}")
    elif not _is_zip(path) and path.stat().st_size:
        verify(path, "get the file again")


def _is_zip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"


def _unreadable(path: Path, reason: str) -> MamolError:
    return MamolError(
        f"clip_weights={path}: not a readable weight file of {path.stat().st_size} bytes ({reason}): "
        "truncated, damaged or of another format; get the file again"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, _first_line(error)) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    """Reads a file of ``torch.save``, zip or older format; only tensors and plain containers are accepted."""
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path) if _is_zip(path) else []
        if unsafe:
            raise MamolError(
                f"clip_weights={path}: holds Python objects that only arbitrary unpickling could read "
                f"({', '.join(sorted(unsafe)[:3])}); refused because that can run code: save the plain state dict, "
                "or use .safetensors"
            )
        content = torch.load(path, map_location="cpu", weights_only=True)
    except MamolError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything
        raise _unreadable(path, f"weights-only loading failed with {type(error).__name__}") from error
    if isinstance(content, Mapping) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise MamolError(
            f"clip_weights={path}: holds no state dict (a mapping from parameter names to tensors, or one under "
            f"'state_dict'), but {_kind(content)}; save model.state_dict()"
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _read_torchscript(path: Path, folder: str) -> dict[str, Tensor]:
    """Reads the tensors of a TorchScript archive whose records lie in ``folder`` of the zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            root = DumpUnpickler(io.BytesIO(archive.read(f"{folder}data.pkl"))).load()
            return {name: _tensor(leaf, archive, folder) for name, leaf in _tensor_leaves(root.state, "")}
    except Exception as error:  # an ill-made archive raises nearly anything
        raise _unreadable(path, f"no TorchScript archive of a module: {type(error).__name__}") from error


def _tensor_leaves(attributes: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, FakeObject]]:
    """The tensors among a module's attributes and its submodules', with the names that a state dict gives them."""
    for name, value in attributes.items():
        if not isinstance(value, FakeObject):
            continue
        if value.name.startswith("_rebuild_tensor"):
            yield prefix + name, value
        elif isinstance(value.state, dict):
            yield from _tensor_leaves(value.state, f"{prefix}{name}.")


def _tensor(leaf: FakeObject, archive: zipfile.ZipFile, folder: str) -> Tensor:
    """The tensor that an unpickled ``_rebuild_tensor_v2(storage, offset, size, stride, …)`` stands for."""
    storage, offset, size, stride = leaf.args[:4]
    _, kind, key, *_ = storage.args[0]
    values = torch.frombuffer(bytearray(archive.read(f"{folder}data/{key}")), dtype=_STORAGE_TYPES[kind.name])
    return values.as_strided(size, stride, offset)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _kind(content: Any) -> str:  # noqa: ANN401 - whatever the file holds
    if isinstance(content, Mapping):
        return f"a mapping with {', '.join(str(key) for key in list(content)[:5]) or 'nothing'}"
    return f"a {type(content).__name__}"
