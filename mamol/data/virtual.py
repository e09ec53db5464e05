"""VRTs: GDAL's files without pixels, which name other files. Which ones is read here before GDAL opens any."""

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from mamol.core.errors import MamolError
from mamol.data.opening import unreadable

LARGEST = 64 * 2**20
"""Bytes of a VRT; it holds names and numbers only."""
DEEPEST = 8
"""VRTs within VRTs."""
HEAD = 1024
"""Bytes at the beginning of a file by which GDAL knows its format."""
MARK = b"<VRTDataset"
NAMES = ("sourcefilename", "sourcedataset")
"""Elements that name a file, in small letters: GDAL does not tell large ones from small ones."""
KINDS = ("", *["vrtdataset", "vrtwarpeddataset", "vrtrasterband", "vrtsourcedrasterband", "vrtwarpedrasterband"])
KINDS = (*KINDS, "vrtrawrasterband", "vrtderivedrasterband")
"""Of datasets and bands that name files in no other way."""
PYTHON = "pixelfunctionlanguage"


def is_vrt(path: Path) -> bool:
    """Whether GDAL would take a file for a VRT, whatever it is called.

    Args:
        path: The file.
    """
    return MARK in _head(path)


def sources(path: Path, depth: int = DEEPEST) -> Iterator[Path]:
    """The files that a VRT reads, those of VRTs that it reads among them.

    Args:
        path: The VRT.
        depth: VRTs within it that are followed.

    Yields:
        The files, as their names say, without resolving links.

    Raises:
        MamolError: If it cannot be read, names what is no file, or is of a kind that is not known here.
    """
    for element in _tree(path).iter():
        tag, said = element.tag.lower(), {name.lower(): value for name, value in element.attrib.items()}
        kind = said.get("subclass", "").lower()
        if kind not in KINDS or (tag == PYTHON and (element.text or "").strip().lower() == "python"):
            raise MamolError(
                f"{path}: a VRT with {kind or 'a function in Python'}, which is not read; write it as a GeoTIFF with "
                "gdal_translate"
            )
        if tag not in NAMES:
            continue
        named = (element.text or "").strip()
        # What is not relative to the VRT is relative to wherever the program runs.
        base = path.resolve().parent if said.get("relativetovrt") == "1" else Path.cwd()
        source = Path(os.path.abspath(base / named))
        if not named or not source.is_file():
            raise MamolError(f"{path}: it reads {named!r}, and there is no such file; VRTs of files are read")
        yield source
        if is_vrt(source):
            if not depth:
                raise MamolError(f"{path}: VRTs within VRTs, more than {DEEPEST}; write one of them as a GeoTIFF")
            yield from sources(source, depth - 1)
        elif _head(source).lstrip()[:1] in (b"<", b"{"):
            raise MamolError(f"{path}: it reads {source}, which is a description and no raster; name rasters in it")


def outside(path: Path, folder: Path) -> list[Path]:
    """Files that a VRT reads beyond a folder and beyond its own.

    Args:
        path: The VRT.
        folder: Where files may lie.

    Raises:
        MamolError: As ``sources`` does.
    """
    allowed = (Path(os.path.abspath(folder)), folder.resolve(), path.resolve().parent)
    return [source for source in sources(path) if not any(source.is_relative_to(each) for each in allowed)]


def _tree(path: Path) -> ElementTree.Element:
    try:
        if path.stat().st_size > LARGEST:
            raise MamolError(f"{path}: {path.stat().st_size / 1e6:.0f} MB are no VRT, which has {LARGEST / 1e6:.0f}")
        content = path.read_bytes()
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise MamolError(f"{path}: a VRT declares no document type; write it again with gdalbuildvrt")
        return ElementTree.fromstring(content)  # noqa: S314 - without a document type there are no entities
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        if isinstance(error, MamolError):
            raise
        raise unreadable(path, "VRT", error) from error


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise unreadable(path, "raster", error) from error
