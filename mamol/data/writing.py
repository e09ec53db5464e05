"""Writes the tables of one output, all or none."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mamol.core.errors import MamolError
from mamol.core.files import publishing
from mamol.core.seal import KEY, UNSEALED, seal
from mamol.data.area import Area
from mamol.data.holes import natural_at
from mamol.data.patches import Cutter
from mamol.data.progress import shown
from mamol.data.sceneinfo import SCENE, SceneInfo, schema_of
from mamol.data.splits import SPLITS, Pixels

BATCH_BYTES = 32 * 2**20
"""Size of a record batch, and so of the memory that writing takes."""
LIMIT_BYTES = 4 * 10**9
"""Size beyond which layout ``patches`` is refused."""


def output_identity(info: SceneInfo, pixels: Mapping[str, Pixels]) -> str:
    """The sha256 that all files written together share.

    Args:
        info: The information; its ``split``, ``output`` and ``colours`` do not count.
        pixels: Split -> pixels.
    """
    content = json.loads(dataclasses.replace(info, split="", output="", colours=()).to_json())
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    for split in SPLITS:
        for column in (pixels[split].rows, pixels[split].cols, pixels[split].labels, pixels[split].scenes):
            digest.update(b"" if column is None else column.tobytes())
    return digest.hexdigest()


def bytes_as_patches(modalities: Mapping[str, int], patch_size: int, samples: int) -> int:
    """Size of windows on disk, in bytes.

    Args:
        modalities: Modality -> number of bands.
        patch_size: Side P of the windows, in pixels.
        samples: How many samples there are.
    """
    return sum(modalities.values()) * patch_size**2 * 4 * samples


def check_size(modalities: Mapping[str, int], patch_size: int, samples: int) -> None:
    """Refuses windows that would fill the disk.

    Args:
        modalities: Modality -> number of bands.
        patch_size: Side P of the windows, in pixels.
        samples: How many samples there are.

    Raises:
        MamolError: If layout ``patches`` would take more than 4 GB.
    """
    size = bytes_as_patches(modalities, patch_size, samples)
    if size > LIMIT_BYTES:
        raise MamolError(
            f"layout patches: the windows of {samples} samples would take {size / 1e9:.1f} GB, more than "
            f"{LIMIT_BYTES / 1e9:.0f} GB; use --layout scene, which stores each raster once"
        )


def check_folder(out: Path) -> None:
    """Refuses to write over something that is not a table of make_arrow.py.

    Args:
        out: Folder of the tables; it need not be there yet.

    Raises:
        MamolError: If ``out`` is a file, or one of the names is taken by another file.
    """
    if out.exists() and not out.is_dir():
        raise MamolError(f"out {out}: is a file; give a folder")
    for path in _paths(out):
        if path.exists() and not _is_ours(path):
            raise MamolError(f"out {out}: {path.name} is there and not a table of make_arrow.py; give another folder")


def _paths(out: Path) -> list[Path]:
    return [out / f"{name}.arrow" for name in (*SPLITS, SCENE)]


def _is_ours(path: Path) -> bool:
    # A damaged table, or one of another version, still says in its schema, at its beginning, whose it is.
    with path.open("rb") as file:
        return b'{"format_version"' in file.read(2**20)


def write_tables(
    out: Path,
    info: SceneInfo,
    area: Area,
    pixels: Mapping[str, Pixels],
    there: Sequence[NDArray[np.bool_]] | None = None,
) -> list[Path]:
    """Writes an output; it replaces an earlier one as a whole, or not at all.

    Args:
        out: The folder; it is created.
        info: The information, but for ``split`` and ``output``.
        area: The rasters.
        pixels: Split -> pixels.
        there: (N,) of each modality, where samples have it; None: everywhere.

    Returns:
        The files.
    """
    info = dataclasses.replace(info, output=output_identity(info, pixels))
    cutters = {name: area.cutter(name, info.stored_size) for name in info.modalities}
    jobs = {
        split: _split_batches(dataclasses.replace(info, split=split), cutters, pixels[split], there) for split in SPLITS
    }
    if info.layout == "scene":
        jobs[SCENE] = _scene_batches(dataclasses.replace(info, split=SCENE), area)
    optional = {split: ("polygon",) for split in SPLITS if pixels[split].polygons is not None}
    schemas = {name: schema_of(dataclasses.replace(info, split=name), optional.get(name, ())) for name in jobs}
    return write_files(out, {name: (schemas[name], jobs[name]) for name in jobs})


def write_files(out: Path, jobs: Mapping[str, tuple[pa.Schema, Iterable[pa.RecordBatch]]]) -> list[Path]:
    """Writes the files of an output, which replace earlier ones together; a batch at a time is in memory.

    Args:
        out: The folder; it is created.
        jobs: Name of the file -> its schema and record batches.

    Returns:
        The files.
    """
    with publishing(out, () if SCENE in jobs else [f"{SCENE}.arrow"]) as place:
        for name, (schema, batches) in jobs.items():
            temporary = place(f"{name}.arrow")
            marked = schema.with_metadata({**schema.metadata, KEY: UNSEALED})
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, marked) as writer:
                for batch in shown(batches, f"writing {name}"):
                    writer.write_batch(batch)
            seal(temporary)
    return [out / f"{name}.arrow" for name in jobs]


def _split_batches(
    info: SceneInfo, cutters: Mapping[str, Cutter], pixels: Pixels, there: Sequence[NDArray[np.bool_]] | None
) -> Iterator[pa.RecordBatch]:
    schema = schema_of(info, () if pixels.polygons is None else ("polygon",))
    stored = cutters if info.layout == "patches" else {}
    per_sample = bytes_as_patches(info.modalities, info.stored_size, 1) if stored else 16 + pixels.labels[:1].nbytes
    for part in _slices(len(pixels), per_sample):
        rows, cols = pixels.rows[part], pixels.cols[part]
        scenes = None if pixels.scenes is None else pixels.scenes[part]
        columns = [_tensor_column(cutter.cut(rows, cols, scenes)) for cutter in stored.values()]
        label = pixels.labels[part]
        columns += [_tensor_column(label) if info.tiled else pa.array(label), pa.array(rows), pa.array(cols)]
        available = natural_at(there, len(cutters), info.extents.numbers(rows, cols, scenes))
        columns += [pa.FixedSizeListArray.from_arrays(pa.array(available.ravel()), len(cutters))]
        optional = (None if pixels.polygons is None else pixels.polygons[part], scenes)
        columns += [pa.array(each) for each in optional if each is not None]
        yield pa.record_batch(columns, schema=schema)


def _scene_batches(info: SceneInfo, area: Area) -> Iterator[pa.RecordBatch]:
    """The image rows of a scene; of several scenes the pixels of one after the other, as an image of one column."""
    schema = schema_of(info)
    width = info.scene_shape[1]
    for scene in area.scenes:
        rasters = [scene.rasters[name].reshape(-1, width, bands) for name, bands in info.modalities.items()]
        for part in _slices(len(rasters[0]), width * sum(info.modalities.values()) * 4):
            rows = [np.ascontiguousarray(each[part], dtype=np.float32) for each in rasters]
            yield pa.record_batch([_tensor_column(each) for each in rows], schema=schema)


def _slices(length: int, item_bytes: int) -> Iterator[slice]:
    step = max(1, BATCH_BYTES // item_bytes)
    return (slice(start, min(start + step, length)) for start in range(0, length, step))


def _tensor_column(array: np.ndarray) -> pa.Array:
    # By way of the storage: from_numpy_ndarray guesses an order of axes from the strides, wrongly where one is 1 long.
    storage = pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array[0].size)
    kind = pa.fixed_shape_tensor(storage.type.value_type, array.shape[1:])
    return pa.ExtensionArray.from_storage(kind, storage)
