"""Damaged raw files: whatever a byte is turned into, a reader reads or says in one line what is wrong."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from mamol.core.errors import MamolError
from mamol.data.reading import read_array
from tests.faults.mutations import mutations

CUBE = np.arange(90, dtype=np.uint16).reshape(6, 5, 3)


def outcome(path: Path, variable: str) -> str:
    """What became of reading an array; any other exception than a MamolError goes on and fails the test."""
    try:
        return f"read {read_array(path, [variable]).shape}"
    except MamolError:
        return "refused"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_changed_matlab_file_is_read_or_refused(tmp_path: Path, compressed: bool) -> None:
    path, cell = tmp_path / "HSI.mat", np.empty((1, 1), object)
    cell[0, 0] = {"z": CUBE[:, :, 0]}
    scipy.io.savemat(path, {"HSI": CUBE, "s": {"Lidar": cell, "t": "x"}}, do_compression=compressed)
    found = []
    for _, changed in mutations(path.read_bytes(), 200, seed=0):
        path.write_bytes(changed)
        found += [outcome(path, "HSI"), outcome(path, "s.Lidar.z")]
    assert {"refused", "read (6, 5, 3)", "read (6, 5)"} <= set(found)
