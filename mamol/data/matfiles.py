"""Arrays from MATLAB files: versions 5 and 4 by ``matversion5``, version 7.3 (HDF5) by h5py."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mamol.core.errors import MamolError
from mamol.data.matversion5 import MatFile, NoFieldError
from mamol.data.opening import check_memory, unreadable

UNREADABLE = (OSError, ValueError, TypeError, LookupError, RuntimeError, zlib.error)
"""What damaged files raise; h5py has most of them."""
Wanted = Sequence[str | None]
"""Names of a variable in the order in which they are tried; None: the one called like the file, else the only one."""


def read_mat(path: Path, variables: Wanted = (None,)) -> np.ndarray:
    """One array of a MATLAB file.

    Args:
        path: The file.
        variables: Names in the order in which they are tried, in any letter case, or dotted paths into a struct such as
            ``hsi.Lidar.z`` (a cell array on the way stands for its first cell). None, and no name at all, stand for the
            variable called like the file, else the only one.

    Returns:
        The array with MATLAB's axes, whatever the version of the file; it may be read-only.

    Raises:
        MamolError: If the file cannot be read, does not say which of several variables is meant, or says that an array
            is larger than this machine's memory.
    """
    try:
        if h5py.is_hdf5(path):
            return _read_hdf5(path, variables or (None,))
        return _read_version5(path, variables or (None,))
    except MamolError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, "MATLAB file", error) from error


def _read_version5(path: Path, variables: Wanted) -> np.ndarray:
    with path.open("rb") as opened:
        file = MatFile(opened)
        name, *fields = _path_to_variable(path, [each.name for each in file.variables if each.name], variables)
        try:
            found = file.find(next(each for each in file.variables if each.name == name), fields)
        except NoFieldError as error:
            raise _no_field(path, [name, *fields], error.field, error.known) from error
    if isinstance(found, str):
        raise _no_array(path, name, found)
    return found.squeeze() if fields else found


def _read_hdf5(path: Path, variables: Wanted) -> np.ndarray:
    with h5py.File(path) as file:
        name, *fields = _path_to_variable(path, [name for name in file if not name.startswith("#")], variables)
        value = _member(path, file, name)
        for field in fields:
            if isinstance(value, h5py.Dataset) and value.dtype == object:
                value = file[_first(path, value, name)]
            if not isinstance(value, h5py.Group) or field not in value:
                raise _no_field(path, [name, *fields], field, list(value) if isinstance(value, h5py.Group) else [])
            value = _member(path, value, field)
        if isinstance(value, h5py.Group):
            raise _no_array(path, name, "struct")
        return _numbers(path, value, name)


def _member(path: Path, group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """A variable or field; another file is never opened for it."""
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise MamolError(f"{path}: {name!r} lies in another file, {link.filename}; give that file, or save it whole")
    return group[name]


def _first(path: Path, cells: h5py.Dataset, name: str) -> h5py.Reference:
    """What the first cell refers to."""
    if not cells.size:
        raise _no_array(path, name, "empty cell")
    return cells[(0,) * cells.ndim]


def _numbers(path: Path, value: h5py.Dataset, name: str) -> np.ndarray:
    """The array of a dataset, whose kind and size are looked at before it is read."""
    called = value.attrs.get("MATLAB_class", b"")
    if bytes(called if isinstance(called, bytes) else str(called).encode()) == b"char":
        raise _no_array(path, name, "char")
    if value.shape is None or "MATLAB_empty" in value.attrs or not value.size:
        raise _no_array(path, name, "empty array")
    if value.dtype.kind not in "biuf":
        raise _no_array(path, name, str(value.dtype))
    if value.external or value.is_virtual:
        raise MamolError(f"{path}: the numbers of {name!r} lie in other files; save it whole")
    check_memory(path, value.shape, value.dtype)
    # HDF5 stores MATLAB's axes in reverse order.
    return value[()].T


def _path_to_variable(path: Path, names: Sequence[str], variables: Wanted) -> list[str]:
    """The name as it stands in the file, then the fields to follow."""
    names = [name for name in names if not name.startswith("__")]
    for variable in variables:
        wanted, *fields = (variable or path.stem).split(".") if variable else [path.stem]
        found = next((name for name in names if name.lower() == wanted.lower()), None)
        if found:
            return [found, *fields]
    if len(names) == 1 and None in variables:
        return [names[0]]
    wanted = " or ".join(filter(None, variables)) or path.stem
    listed = ", ".join(names) or "none"
    raise MamolError(f"{path}: no variable {wanted}; it has {listed}; name one of them as 'variable' in a scene.json")


def _no_field(path: Path, dotted: Sequence[str], field: str, known: Sequence[str]) -> MamolError:
    has = ", ".join(known) or "no fields"
    return MamolError(f"{path}: {'.'.join(dotted)!r} stops at {field!r}; the struct has {has}")


def _no_array(path: Path, name: str, found: Any) -> MamolError:  # noqa: ANN401 - whatever lies in the file
    if found == "struct":
        return MamolError(f"{path}: {name!r} is a struct; name the field that holds the array")
    return MamolError(f"{path}: variable {name!r} is of type {found}; expected an array of real numbers")
