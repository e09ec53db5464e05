"""MATLAB files of version 5 and 4, read without trust: scipy's reader crashes the process on some damaged ones.

A file is a list of elements: type, size in bytes, content. Every size is compared with what is there before anything
is read or allocated by it. The format is described in MathWorks' "MAT-File Format".
"""

import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np

MATRIX, COMPRESSED = 14, 15
INT8, INT32, UINT32 = 1, 5, 6
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Type of an element -> numpy's. Beside them there are only types of text."""
CELL, STRUCT, OBJECT, OPAQUE, NUMERIC = 1, 2, 3, 17, range(6, 16)
CALLED = {1: "cell", 2: "struct", 3: "object", 4: "char", 5: "sparse", 16: "function", 17: "opaque"}
COMPLEX = 0x800
DENSEST = 1040
"""Bytes that zlib makes of one byte at most, with something to spare."""
HEAD = 512
"""Bytes of a compressed variable that hold its name."""
FOUR = ("f8", "f4", "i4", "i2", "u2", "u1")
"""The types of numbers of version 4, by their code."""


class DamagedError(ValueError):
    """The file is not what the format promises."""


class NoFieldError(LookupError):
    """A struct has no such field, or it is no struct.

    Attributes:
        field: What was looked for.
        known: The fields that are there.
    """

    def __init__(self, field: str, known: Sequence[str]) -> None:
        """Takes both.

        Args:
            field: What was looked for.
            known: The fields that are there.
        """
        super().__init__(field)
        self.field, self.known = field, list(known)


@dataclass(frozen=True)
class Variable:
    """A variable of a file, not read yet.

    Attributes:
        name: Its name.
        start: Where its content begins.
        size: Of the content, in bytes.
        compressed: Whether the content is compressed.
    """

    name: str
    start: int
    size: int
    compressed: bool = False


@dataclass(frozen=True)
class _Piece:
    """A part of a file in memory, and the byte order of its numbers."""

    data: memoryview
    order: Literal["<", ">"]

    def element(self, at: int) -> tuple[int, "_Piece", int]:
        """Type and content of the element that begins there, and where the next one does."""
        first = self.number(at)
        if first >> 16:  # a small one: type and size share four bytes, and so does the content
            kind, size, start, after = first & 0xFFFF, first >> 16, at + 4, at + 8
            if size > 4:
                raise DamagedError(f"an element of {size} bytes is said to be small")
        else:
            kind, size, start = first, self.number(at + 4), at + 8
            after = start + size + -size % 8
        if start + size > len(self.data):
            raise DamagedError(f"an element of {size} bytes where {max(0, len(self.data) - start)} are left")
        return kind, _Piece(self.data[start : start + size], self.order), after

    def number(self, at: int) -> int:
        """The unsigned whole number of four bytes that lies there."""
        if at + 4 > len(self.data):
            raise DamagedError("it ends within an element")
        return int(struct.unpack_from(f"{self.order}I", self.data, at)[0])

    def values(self, kind: int, allowed: Sequence[int]) -> np.ndarray:
        """The numbers that it holds."""
        if kind not in allowed or len(self.data) % np.dtype(NUMBERS[kind]).itemsize:
            raise DamagedError(f"{len(self.data)} bytes of type {kind} where numbers are expected")
        return _native(np.frombuffer(self.data, np.dtype(NUMBERS[kind]).newbyteorder(self.order)))

    def text(self, kind: int) -> str:
        """The text that it holds, one byte a letter."""
        if kind != INT8:
            raise DamagedError(f"type {kind} where a name is expected")
        return bytes(self.data).partition(b"\0")[0].decode("latin1")


@dataclass(frozen=True)
class _Matrix:
    """The beginning of a variable, of a cell's content or of a struct's field."""

    piece: _Piece
    kind: int
    complex: bool
    shape: tuple[int, ...]
    name: str
    body: int

    @classmethod
    def of(cls, piece: _Piece) -> "_Matrix":
        """Reads it: flags, dimensions, name."""
        kind, flags, at = piece.element(0)
        numbers = flags.values(kind, (UINT32,))
        if len(numbers) == 2 and numbers[0] & 0xFF == OPAQUE:  # of newer classes; nothing here reads them
            return cls(piece, OPAQUE, False, (0, 0), "", at)
        kind, dims, at = piece.element(at)
        shape = tuple(int(each) for each in dims.values(kind, (INT32,)))
        kind, name, body = piece.element(at)
        if len(numbers) != 2 or not 2 <= len(shape) <= 32 or min(shape) < 0:
            raise DamagedError(f"a variable of {shape}")
        return cls(piece, int(numbers[0]) & 0xFF, bool(numbers[0] & COMPLEX), shape, name.text(kind), body)

    def numbers(self) -> np.ndarray:
        """Its array."""
        kind, content, _ = self.piece.element(self.body)
        values = content.values(kind, tuple(NUMBERS))
        if math.prod(self.shape) != len(values):
            raise DamagedError(f"{len(values)} numbers for an array of {self.shape}")
        return values.reshape(self.shape, order="F")

    def part(self, number: int, at: int) -> "_Matrix":
        """Of the matrices that it holds, one."""
        for _ in range(number):
            at = self.piece.element(at)[2]
        kind, content, _ = self.piece.element(at)
        if kind != MATRIX:
            raise DamagedError(f"an element of type {kind} where an array is expected")
        return _Matrix.of(content)

    def fields(self) -> tuple[list[str], int]:
        """Names of a struct's fields, and where their contents begin."""
        at = self.piece.element(self.body)[2] if self.kind == OBJECT else self.body  # an object's class is before them
        kind, length, at = self.piece.element(at)
        each = length.values(kind, (INT32,))
        kind, names, at = self.piece.element(at)
        if len(each) != 1 or each[0] <= 0 or kind != INT8 or len(names.data) % each[0]:
            raise DamagedError("the names of a struct's fields do not fit together")
        letters, long = bytes(names.data), int(each[0])
        cut = (letters[start : start + long] for start in range(0, len(letters), long))
        return [name.partition(b"\0")[0].decode("latin1") for name in cut], at


def _native(values: np.ndarray) -> np.ndarray:
    """Numbers in this machine's byte order."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


class MatFile:
    """A file of version 5 or 4, open to be read."""

    def __init__(self, file: BinaryIO) -> None:
        """Reads the header, and where the variables lie.

        Args:
            file: The file, at its beginning.

        Raises:
            DamagedError: If it is no such file.
        """
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        head = self._bytes(0, min(128, self.size))
        self.four = 0 in head[:4]
        if self.four:
            self.order: Literal["<", ">"] = "<" if int.from_bytes(head[:4], "little") < 5000 else ">"
            self.variables = list(self._listed_of_four())
            return
        if len(head) < 128 or head[126:128] not in (b"IM", b"MI"):
            raise DamagedError("it has no header of a MATLAB file")
        self.order = "<" if head[126:128] == b"IM" else ">"
        self.variables = list(self._listed())

    def find(self, variable: Variable, fields: Sequence[str]) -> np.ndarray | str:
        """An array, or what is there instead.

        Args:
            variable: One of ``variables``.
            fields: The fields to follow, from outside in; a cell on the way stands for its first.

        Returns:
            The array, as it is stored; else what MATLAB calls what is there.

        Raises:
            DamagedError: If the variable is.
            NoFieldError: If a field is not there.
        """
        if self.four:
            if fields:
                raise NoFieldError(fields[0], ())
            return self._of_four(variable)
        matrix = _Matrix.of(self._content(variable))
        for field in fields:
            if matrix.kind == CELL and 0 not in matrix.shape:
                matrix = matrix.part(0, matrix.body)
            names, at = matrix.fields() if matrix.kind in (STRUCT, OBJECT) else ([], 0)
            if field not in names or 0 in matrix.shape:
                raise NoFieldError(field, names)
            matrix = matrix.part(names.index(field), at)
        if matrix.kind not in NUMERIC:
            return CALLED.get(matrix.kind, f"{matrix.kind}, which is unknown")
        return "complex" if matrix.complex else matrix.numbers()

    def _listed(self) -> Iterator[Variable]:
        at = 128
        while at < self.size:
            kind, size = self._tag(self._bytes(at, 8))
            if kind not in (MATRIX, COMPRESSED):
                raise DamagedError(f"an element of type {kind} where a variable is expected")
            if size > self.size - at - 8:
                raise DamagedError(f"a variable of {size} bytes where {self.size - at - 8} are left")
            head = self._bytes(at + 8, min(size, HEAD))
            if kind == COMPRESSED:
                head = zlib.decompressobj().decompress(head, HEAD)[8:]
            name = _Matrix.of(_Piece(memoryview(head), self.order)).name
            yield Variable(name, at + 8, size, kind == COMPRESSED)
            at += 8 + size

    def _content(self, variable: Variable) -> _Piece:
        stored = self._bytes(variable.start, variable.size)
        if not variable.compressed:
            return _Piece(memoryview(stored), self.order)
        packed = zlib.decompressobj()
        kind, size = self._tag(packed.decompress(stored, 8))
        if kind != MATRIX or size > DENSEST * len(stored):
            raise DamagedError(f"a variable of {size} bytes in {len(stored)} compressed ones")
        content = packed.decompress(packed.unconsumed_tail, size)
        more = packed.decompress(packed.unconsumed_tail, 1)
        if len(content) != size or more or not packed.eof:
            raise DamagedError("a compressed variable is not as long as it says")
        return _Piece(memoryview(content), self.order)

    def _listed_of_four(self) -> Iterator[Variable]:
        at = 0
        while at < self.size:
            kind, rows, cols, imaginary, length = struct.unpack(f"{self.order}5i", self._bytes(at, 20))
            if kind % 1000 // 100 or kind % 10 > 2 or kind // 10 % 10 >= len(FOUR) or imaginary not in (0, 1):
                raise DamagedError(f"a variable of kind {kind}, which version 4 does not have")
            size = rows * cols * np.dtype(FOUR[kind // 10 % 10]).itemsize * (1 + imaginary)
            if min(rows, cols, length) < 0 or length + size > self.size - at - 20:
                raise DamagedError(f"a variable of {rows} x {cols} where {max(0, self.size - at - 20)} bytes are left")
            name = self._bytes(at + 20, length).partition(b"\0")[0].decode("latin1")
            yield Variable(name, at, 20 + length + size)
            at += 20 + length + size

    def _of_four(self, variable: Variable) -> np.ndarray | str:
        stored = self._bytes(variable.start, variable.size)
        kind, rows, cols, imaginary, length = struct.unpack_from(f"{self.order}5i", stored)
        if kind % 10 or imaginary:
            return "complex" if imaginary else ("char", "sparse")[kind % 10 - 1]
        values = np.frombuffer(stored, np.dtype(FOUR[kind // 10 % 10]).newbyteorder(self.order), offset=20 + length)
        return _native(values).reshape((rows, cols), order="F")

    def _tag(self, data: bytes) -> tuple[int, int]:
        if len(data) < 8:
            raise DamagedError("it ends within an element")
        kind, size = struct.unpack(f"{self.order}II", data)
        return int(kind), int(size)

    def _bytes(self, at: int, size: int) -> bytes:
        self.file.seek(at)
        data = self.file.read(size)
        if len(data) < size:
            raise DamagedError("it ends within a variable")
        return data
