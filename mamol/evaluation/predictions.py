"""The predictions of a test, sample by sample: ``predictions.parquet``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.files import replacing
from mamol.core.names import pattern_name
from mamol.core.plain import fitted
from mamol.core.seal import KEY, UNSEALED, seal, verify
from mamol.core.task import TASKS
from mamol.data.missing import Mask
from mamol.data.tables import AnyTable

KEYS = ("row", "col")  # what tells a sample in files that do not say it: they are of scenes
PREDICTIONS = "predictions.parquet"
PROBABILITY = "p_"  # in front of the class name
TEST_AGAIN = "run the test again"


class Attributes(TypedDict, total=False):
    """What predictions say about themselves."""

    dataset: str
    task: str
    fingerprint: str
    keys: list[str]
    classes: list[str]
    scenes: list[str]
    method: str
    weights: str
    coverage: float


def frame(
    table: AnyTable,
    modalities: Sequence[str],
    mask: Mask,
    index: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    sets: NDArray[np.bool_] | None = None,
) -> pd.DataFrame:
    """The predictions of a test as a data frame.

    Args:
        table: The tested table, N samples.
        modalities: Names in the order of the features, M of them.
        mask: (N, M) bool, True where present.
        index: (n,) tested samples.
        probabilities: (n, K) of them, or what else the task keeps.
        sets: (n, K), which classes may be the true one; None: nobody knows.

    Returns:
        n rows with ``index``, the table's ``keys`` (``row`` and ``col``, of several scenes ``scene`` before them; or
        ``id`` and ``text``), ``label`` and ``prediction`` (class numbers from 0; where samples have any number of
        classes, lists of them), ``pattern`` (text), and ``p_<class>`` for each class; of tiles the columns of their
        task; and ``set`` where there are sets, lists of class numbers. ``attrs`` says which table it
        was, and the names of several scenes.
    """
    info = table.info
    columns: dict[str, Any] = {
        "index": index,
        **{name: column[index] for name, column in table.keys.items()},
        "pattern": [pattern_name(row, modalities) for row in mask[index]],
        **TASKS.find(info.task).columns(probabilities, table.label[index], info.classes),
        **({} if sets is None else {"set": [np.flatnonzero(row).tolist() for row in sets]}),
    }
    first = ("index", *table.keys, "label", "prediction", "pattern")
    kept = pd.DataFrame({name: columns[name] for name in (*first, *columns)})
    kept.attrs = {
        "dataset": info.dataset,
        "task": info.task,
        "fingerprint": table.fingerprint,
        "keys": list(table.keys),
        "classes": list(info.classes),
        **({"scenes": list(table.parts)} if table.parts else {}),
    }
    return kept


def write_predictions(path: Path, kept: pd.DataFrame, facts: Mapping[str, Any] | None = None) -> None:
    """Writes predictions, atomically.

    Args:
        path: The file.
        kept: Of ``frame``.
        facts: What else its metadata says, as plain values.
    """
    kept = kept.copy(deep=False)
    kept.attrs.update({**(facts or {}), KEY: UNSEALED})
    with replacing(path) as temporary:
        kept.to_parquet(temporary, index=False)
        seal(temporary)


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Reads predictions.

    Args:
        path: The file, or the folder of a run.

    Returns:
        As ``frame`` gave it.

    Raises:
        MamolError: Missing, truncated, or something else.
    """
    path = Path(path) / PREDICTIONS if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise MamolError(f"{path}: no such predictions; test a checkpoint, its run folder gets them")
    try:
        verify(path, TEST_AGAIN)
    except OSError as error:
        raise MamolError(f"{path}: cannot be read ({error.strerror}); {TEST_AGAIN}") from error
    try:
        kept = pd.read_parquet(path)
    except PermissionError as error:
        raise MamolError(f"{path}: cannot be read ({error.strerror}); give yourself the right to read it") from error
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        told = str(error).partition("\n")[0]
        raise MamolError(f"{path}: truncated or not a Parquet file ({told}); {TEST_AGAIN}") from error
    kept.attrs.pop(KEY, None)
    try:
        fitted(kept.attrs, Attributes, "attributes")
    except ValueError as error:
        raise MamolError(f"{path}: not the predictions of a test: {error}; {TEST_AGAIN}") from error
    columns = ("index", *kept.attrs.get("keys", KEYS), "label", "prediction", "pattern")
    absent = [name for name in columns if name not in kept]
    if absent or "fingerprint" not in kept.attrs:
        raise MamolError(f"{path}: not the predictions of a test: {', '.join(absent) or 'fingerprint'} missing")
    return kept
