"""Files of this program that were damaged: refused in one line, or read with the very content that was written."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mamol.backbones.mixture.folder import read_pretrained, write_pretrained
from mamol.core.errors import MamolError
from mamol.core.seal import UNSEALED, read_sealed_json, seal, verify, write_sealed_json
from mamol.data.scenetable import SceneTable
from mamol.evaluation.predictions import read_predictions
from mamol.evaluation.results import read_metrics
from mamol.training.checkpoints import read_checkpoint, read_pickle
from tests.faults.commands import Places
from tests.faults.mutations import mutations
from tests.mixtures import small_mixture

WHOLE = 10_000
"""Mutations of ``make faults``, of all kinds of files together."""


def of_table(path: Path) -> object:
    table = SceneTable.open(path)
    windows = {name: table.windows(name, np.arange(len(table))) for name in table.info.modalities}
    return table.info.to_json(), windows, table.label, table.row, table.col, table.natural


def of_checkpoint(path: Path) -> object:
    info, state = read_checkpoint(path)
    return info.to_json(), state


def of_last(path: Path) -> object:
    return of_checkpoint(path), read_pickle(path)


def of_metrics(path: Path) -> object:
    return read_metrics(path.parent)


def of_backbone(path: Path) -> object:
    found = read_pretrained(path.parent)
    return found.sizes.to_json(), found.tensors(), found.sources, found.card


def of_predictions(path: Path) -> object:
    kept = read_predictions(path)
    return kept, kept.attrs


KINDS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "table": ("train.arrow", of_table),
    "table of tiles": ("train.arrow", of_table),
    "best checkpoint": ("checkpoints/best*.safetensors", of_checkpoint),
    "last checkpoint": ("checkpoints/last.ckpt", of_last),
    "metrics": ("metrics.json", of_metrics),
    "predictions": ("predictions.parquet", of_predictions),
    "backbone": ("backbone.json", of_backbone),
    "weights of a backbone": ("backbone.safetensors", of_backbone),
}


def told(content: Any) -> bytes:
    """All of a content, value by value."""
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, dict):
            for key, value in part.items():
                add(key)
                add(value)
        elif isinstance(part, (list, tuple)):
            for value in part:
                add(value)
        elif isinstance(part, (np.ndarray, torch.Tensor)):
            array = np.asarray(part.float() if isinstance(part, torch.Tensor) and part.is_floating_point() else part)
            digest.update(str((array.shape, array.dtype)).encode() + array.tobytes())
        elif isinstance(part, pd.DataFrame):
            digest.update(part.to_json(double_precision=15).encode())
        else:
            digest.update(repr(part).encode())

    add(content)
    return digest.digest()


def outcome(read: Callable[[Path], object], path: Path) -> bytes | str:
    """The content, or what refuses the file; any other exception is a fault."""
    try:
        return told(read(path))
    except MamolError as error:
        return str(error)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone as of ``pretrain``, but small."""
    made = replace(small_mixture({"hsi": 3, "sar": 2}, layers=2), sources={"a/hsi.npy": "0" * 64}, card={"steps": 3})
    folder = tmp_path_factory.mktemp("made") / "backbone"
    write_pretrained(folder, made)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_is_read_as_another_value(
    kind: str, places: Places, backbone: Path, tmp_path: Path, share: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither is there another end than one line."""
    caplog.set_level(logging.ERROR)
    pattern, read = KINDS[kind]
    folder = {"table": places.table, "table of tiles": places.tiles}.get(kind, places.finished)
    (source,) = (backbone if read is of_backbone else folder).glob(pattern)
    content, path = source.read_bytes(), tmp_path / source.name
    if read is of_backbone:
        shutil.copytree(backbone, tmp_path, dirs_exist_ok=True)
    path.write_bytes(content)
    wanted, refused = told(read(path)), 0
    for what, damaged in mutations(content, int(WHOLE * share / len(KINDS)), seed=len(kind)):
        path.write_bytes(damaged)
        found = outcome(read, path)
        if isinstance(found, str):
            assert "\n" not in found, what
            assert path.name in found, what
            refused += 1
        else:
            assert found == wanted, what
    assert refused > 0


def test_a_mark_is_asked_of_the_writer(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"no mark")
    with pytest.raises(ValueError, match="nowhere to write its checksum"):
        seal(path)


def test_the_checksum_is_of_all_bytes_with_its_digits_as_zeros(tmp_path: Path) -> None:
    """However often it stands there, at the beginning or at the end of a large file."""
    for number, middle in enumerate((b"", bytes(9 * 2**20))):
        path, content = tmp_path / str(number), b"a" + UNSEALED.encode() + middle + UNSEALED.encode() + b"z"
        path.write_bytes(content)
        seal(path)
        digest = hashlib.sha256(content).hexdigest()
        assert verify(path, "") == digest
        assert path.read_bytes().count(digest.encode()) == 2


def test_a_file_without_one_is_read_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"test": {"n": 1, "OA": 50.0}}))
    for _ in range(2):
        assert read_metrics(tmp_path) == {"test": {"n": 1, "OA": 50.0}}
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} has no checksum, as of an earlier version or another program: damage stays unseen"
    ]


def test_json_with_a_checksum_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_sealed_json(path, {"a": [1, None, "ö"]})
    assert read_sealed_json(path, "") == {"a": [1, None, "ö"]}
    path.write_text(path.read_text().replace("1,", "2,"))
    with pytest.raises(MamolError, match=r"a\.json: its content does not fit its checksum, .* edited; do it again"):
        read_sealed_json(path, "do it again")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "is not what this program wrote"),
        ('{"seal": "x"}', "is not what this program wrote"),
        pytest.param("[" * 100_000, "cannot be read", id="deep"),
        ('{"test": 3}', "has no scores of a test under 'test'; test or train the run again"),
        ('{"test": {"OA": 1e9}}', "OA is 1000000000.0, expected at most 100 percent; test or train the run again"),
        ('{"test": {"OA": NaN}}', "OA is nan, expected"),
    ],
)
def test_results_that_are_none(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(MamolError, match=rf"metrics\.json: .*{message}"):
        read_metrics(tmp_path)
