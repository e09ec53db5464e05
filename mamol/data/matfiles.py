"""Arrays from MATLAB files: version 5 by scipy, version 7.3 (HDF5) by h5py."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from mamol.core.errors import MamolError

UNREADABLE = (
    *(OSError, ValueError, TypeError, LookupError, NotImplementedError, EOFError, zlib.error),
    scipy.io.matlab.MatReadError,
)
"""What scipy and h5py raise on damaged files."""


def read_mat(path: Path, variables: Sequence[str] = ()) -> np.ndarray:
    """One array of a MATLAB file.

    Args:
        path: The file.
        variables: Names in the order in which they are tried, in any letter case, or dotted paths into a struct such as
            ``hsi.Lidar.z`` (a cell array on the way stands for its first cell). If the file has none of them: the
            variable called like the file, else the only one.

    Returns:
        The array with MATLAB's axes, whatever the version of the file.

    Raises:
        MamolError: If the file cannot be read or does not say which of several variables is meant.
    """
    try:
        if h5py.is_hdf5(path):
            return _read_hdf5(path, variables)
        return _read_version5(path, variables)
    except MamolError:
        raise
    except UNREADABLE as error:
        raise MamolError(f"{path}: not a readable MATLAB file ({error}); copy or download it again") from error


def _read_version5(path: Path, variables: Sequence[str]) -> np.ndarray:
    name, *fields = _path_to_variable(path, [name for name, _, _ in scipy.io.whosmat(path)], variables)
    if not fields:
        return _numeric(scipy.io.loadmat(path, variable_names=[name])[name], path, name)
    value = scipy.io.loadmat(path, variable_names=[name], squeeze_me=True, struct_as_record=False)[name]
    for field in fields:
        if isinstance(value, np.ndarray) and value.dtype == object and value.size:
            value = value.flat[0]
        if not hasattr(value, field):
            raise MamolError(
                f"{path}: {'.'.join([name, *fields])!r} stops at {field!r}; the struct has {_fields(value)}"
            )
        value = getattr(value, field)
    return _numeric(value, path, name)


def _fields(struct: Any) -> str:  # noqa: ANN401 - whatever lies in the file
    return ", ".join(getattr(struct, "_fieldnames", [])) or "no fields"


def _read_hdf5(path: Path, variables: Sequence[str]) -> np.ndarray:
    with h5py.File(path) as file:
        name, *fields = _path_to_variable(path, [name for name in file if not name.startswith("#")], variables)
        value = file[name]
        for field in fields:
            if isinstance(value, h5py.Dataset) and value.dtype == object:
                value = file[value[()].flat[0]]
            if not isinstance(value, h5py.Group) or field not in value:
                found = ", ".join(value) if isinstance(value, h5py.Group) else "no fields"
                raise MamolError(f"{path}: {'.'.join([name, *fields])!r} stops at {field!r}; the struct has {found}")
            value = value[field]
        if not isinstance(value, h5py.Dataset):
            raise MamolError(f"{path}: {name!r} is a struct; name the field that holds the array")
        # HDF5 stores MATLAB's axes in reverse order.
        return _numeric(value[()].T, path, name)


def _path_to_variable(path: Path, names: Sequence[str], variables: Sequence[str]) -> list[str]:
    """The name as it stands in the file, then the fields to follow."""
    names = [name for name in names if not name.startswith("__")]
    for variable in (*variables, path.stem):
        wanted, *fields = variable.split(".")
        found = next((name for name in names if name.lower() == wanted.lower()), None)
        if found:
            return [found, *fields]
    if len(names) == 1:
        return [names[0]]
    wanted, listed = (" or ".join(variables) or path.stem), (", ".join(names) or "none")
    raise MamolError(f"{path}: no variable {wanted}; it has {listed}; name one of them as 'variable' in a scene.json")


def _numeric(value: Any, path: Path, name: str | None) -> np.ndarray:  # noqa: ANN401 - whatever lies in the file
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise MamolError(f"{path}: variable {name!r} is of type {array.dtype}; expected an array of real numbers")
    return array
