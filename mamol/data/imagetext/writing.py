"""Writes image-text tables, all or none; the images' bytes go in unchanged, a bounded number at a time."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from mamol.data import writing
from mamol.data.imagetext.info import ImageTextInfo, schema_of
from mamol.data.imagetext.raw import Item


def output_identity(info: ImageTextInfo, items: Mapping[str, Sequence[Item]]) -> str:
    """The sha256 that all files written together share; of an image only its size in bytes counts.

    Args:
        info: The information; its ``split`` and ``output`` do not count.
        items: Split -> items.
    """
    content = json.loads(dataclasses.replace(info, split="", output="").to_json())
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for split, members in items.items():
        for item in members:
            told = [split, item.id, item.texts, item.label, item.image.stat().st_size]
            digest.update(json.dumps(told).encode())
    return digest.hexdigest()


def write_tables(out: Path, info: ImageTextInfo, items: Mapping[str, Sequence[Item]]) -> list[Path]:
    """Writes an output.

    Args:
        out: The folder; it is created.
        info: The information, but for ``split`` and ``output``.
        items: Split -> items.

    Returns:
        The files.
    """
    info = dataclasses.replace(info, output=output_identity(info, items))
    jobs = {}
    for split, members in items.items():
        schema = schema_of(dataclasses.replace(info, split=split))
        jobs[split] = (schema, _batches(schema, info, members))
    return writing.write_files(out, jobs)


def _batches(schema: pa.Schema, info: ImageTextInfo, items: Sequence[Item]) -> Iterator[pa.RecordBatch]:
    start, size = 0, 0
    for number, item in enumerate(items):
        here = item.image.stat().st_size
        if number > start and size + here > writing.BATCH_BYTES:
            yield _batch(schema, info, items[start:number])
            start, size = number, 0
        size += here
    if items:
        yield _batch(schema, info, items[start:])


def _batch(schema: pa.Schema, info: ImageTextInfo, items: Sequence[Item]) -> pa.RecordBatch:
    columns = [
        [item.image.read_bytes() for item in items],
        [item.texts for item in items],
        [_label(item, info) for item in items],
        [item.id for item in items],
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.record_batch(arrays, schema=schema)


def _label(item: Item, info: ImageTextInfo) -> int | np.ndarray:
    if isinstance(item.label, int):
        return item.label
    hot = np.zeros(len(info.classes), np.int8)
    hot[list(item.label)] = 1
    return hot
