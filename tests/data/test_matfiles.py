"""MATLAB files of every version: what scipy reads of a sound file, bit by bit, and what is refused."""

import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from mamol.core.errors import MamolError
from mamol.data.matfiles import read_mat

CUBE = np.arange(4 * 5 * 3).reshape(4, 5, 3)
KINDS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


def written(path: Path, variables: dict[str, Any], **options: Any) -> Path:
    scipy.io.savemat(path, variables, **options)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_every_type_and_shape_is_what_scipy_reads(tmp_path: Path, compressed: bool) -> None:
    arrays = {kind: CUBE.astype(kind) for kind in KINDS}
    arrays |= {"map": CUBE[:, :, 0] > 3, "one": np.array([[7.5]]), "row": np.arange(9.0), "none": np.zeros((0, 3))}
    arrays |= {"four": np.arange(48).reshape(2, 3, 4, 2).astype("u1"), "a_name_of_thirty_one_letters_xx": CUBE}
    path = written(tmp_path / "x.mat", arrays, do_compression=compressed)
    expected = scipy.io.loadmat(path)
    for name in arrays:
        found = read_mat(path, [name])
        np.testing.assert_array_equal(found, expected[name])
        assert (found.dtype, found.shape) == (expected[name].dtype, expected[name].shape)


@pytest.mark.parametrize("kind", ["float64", "float32", "int32", "int16", "uint16", "uint8"])
def test_version_4_is_what_scipy_reads(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "x.mat", {"before": "text", "HSI": CUBE[:, :, 0].astype(kind)}, format="4")
    found = read_mat(path, ["hsi"])
    np.testing.assert_array_equal(found, CUBE[:, :, 0])
    assert found.dtype == scipy.io.loadmat(path)["HSI"].dtype
    with pytest.raises(MamolError, match="'before' is of type char"):
        read_mat(path, ["before"])
    with pytest.raises(MamolError, match=r"'HSI.z' stops at 'z'; the struct has no fields"):
        read_mat(path, ["HSI.z"])


def test_numbers_of_the_other_byte_order(tmp_path: Path) -> None:
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    numbers = np.arange(6, dtype=">f8").reshape(2, 3)
    parts = (6, struct.pack(">II", 6, 0)), (5, struct.pack(">ii", 2, 3)), (1, b"big"), (9, numbers.tobytes("F"))
    body = b"".join(element(kind, content) for kind, content in parts)
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, body))
    found = read_mat(tmp_path / "x.mat")
    np.testing.assert_array_equal(found, numbers)
    assert found.dtype.isnative


def test_what_is_no_array_of_real_numbers(tmp_path: Path) -> None:
    cell = np.empty((1, 2), object)
    cell[0, 0], cell[0, 1] = CUBE, "x"
    kinds = {
        "char": "words",
        "complex": CUBE * 1j,
        "sparse": scipy.sparse.eye_array(3, format="csc"),
        "cell": cell,
        "struct": {"a": CUBE},
    }
    path = written(tmp_path / "x.mat", kinds)
    for name in kinds:
        with pytest.raises(MamolError, match=rf"is of type {name}|'struct' is a struct; name the field"):
            read_mat(path, [name])
    np.testing.assert_array_equal(read_mat(path, ["struct.a"]), CUBE)
    with pytest.raises(MamolError, match=r"'struct.a.b' stops at 'b'; the struct has no fields"):
        read_mat(path, ["struct.a.b"])


def test_a_named_variable_has_to_be_there_and_none_stands_for_the_only_one(tmp_path: Path) -> None:
    path = written(tmp_path / "x.mat", {"HSI": CUBE})
    np.testing.assert_array_equal(read_mat(path, ["Other", None]), CUBE)
    with pytest.raises(MamolError, match="no variable Other; it has HSI; name one of them"):
        read_mat(path, ["Other"])


def hdf5(path: Path, **variables: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in variables.items():
            file[name] = value
    return path


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("words", "is of type object"),
        (h5py.Empty("f4"), "is of type empty array"),
        (np.zeros((0, 3)), "is of type empty array"),
        (np.ones((2, 2)) * 1j, "is of type complex128"),
        (h5py.SoftLink("/x"), "not a readable MATLAB file"),
        (h5py.ExternalLink("other.h5", "/x"), "'x' lies in another file, other.h5"),
    ],
)
def test_what_version_73_can_hold_beside_arrays(tmp_path: Path, value: Any, found: str) -> None:
    with pytest.raises(MamolError, match=found) as refused:
        read_mat(hdf5(tmp_path / "x.mat", x=value))
    assert len(str(refused.value).splitlines()) == 1


def test_text_and_empty_arrays_as_matlab_writes_them_in_version_73(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "x.mat", text=np.array([[104], [105]], "u2"), none=np.array([0, 3], "u8"))
    with h5py.File(path, "a") as file:
        file["text"].attrs["MATLAB_class"] = np.bytes_("char")
        file["none"].attrs["MATLAB_empty"] = np.int32(1)
    for name, found in (("text", "char"), ("none", "empty array")):
        with pytest.raises(MamolError, match=f"is of type {found}"):
            read_mat(path, [name])


def test_numbers_in_other_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(64))
    path = hdf5(tmp_path / "x.mat")
    source = h5py.VirtualSource("y.mat", "x", shape=(4, 4))
    with h5py.File(path, "a") as file:
        file.create_dataset("raw", (4, 4), "f4", external=[(str(tmp_path / "secret"), 0, 64)])
        layout = h5py.VirtualLayout((4, 4), "f4")
        layout[:] = source
        file.create_virtual_dataset("virtual", layout)
    for name in ("raw", "virtual"):
        with pytest.raises(MamolError, match=f"the numbers of '{name}' lie in other files"):
            read_mat(path, [name])


def test_an_array_that_no_memory_holds_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "x.mat")
    with h5py.File(path, "a") as file:
        file.create_dataset("x", (10**7, 10**6), "f8", chunks=(64, 64))
    with pytest.raises(MamolError, match=r"10000000 x 1000000 of float64 are 8e\+04 GB, and this machine has"):
        read_mat(path)
