"""What a strategy was given, tick by tick, for another process to read: a file in memory.

A count at the start, then TAPE_ROWS rows in a circle: the tick's number, when the feed had it,
when ``on_tick`` was called. The writer stores the row and then the count; the reader comes often
enough, or fails. It is deliberately not a ring of the product, which is what is under test.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROW = np.dtype([("number", "<u8"), ("received_ns", "<i8"), ("handled_ns", "<i8")])
TAPE_ROWS = 16_384
HEAD_BYTES = 64
_ROW = struct.Struct("<Qqq")
_BYTES = HEAD_BYTES + TAPE_ROWS * ROW.itemsize


def _open(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR)
    try:
        mapped = mmap.mmap(descriptor, _BYTES)
    finally:
        os.close(descriptor)
    sum(mapped[::4_096])  # every page is there now and counts as this process's memory
    return mapped


class TapeWriter:
    """The strategy's end."""

    def __init__(self, path: Path) -> None:
        self._mapped = _open(path)
        self._count = memoryview(self._mapped)[:8].cast("Q")

    def write(self, number: int, received_ns: int, handled_ns: int) -> None:
        count = self._count[0]
        at = HEAD_BYTES + count % TAPE_ROWS * ROW.itemsize
        _ROW.pack_into(self._mapped, at, number, received_ns, handled_ns)
        self._count[0] = count + 1


class TapeReader:
    """Makes the file and reads it from its beginning."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(_BYTES))
        self._mapped = _open(path)
        self._count = memoryview(self._mapped)[:8].cast("Q")
        self._rows = np.frombuffer(self._mapped, ROW, TAPE_ROWS, HEAD_BYTES)
        self._read = 0

    def new(self) -> NDArray[np.void]:
        """Return a copy of the rows since the last call."""
        count = self._count[0]
        rows = self._rows[np.arange(self._read, count) % TAPE_ROWS]
        assert self._count[0] - self._read < TAPE_ROWS, "the tape was read too late"
        self._read = count
        return rows
