"""The bare loops of bare.c as peers: compiled when they are used, called through ctypes."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.perf.ring.pair import SHARED, Inbox, Peer

SOURCE = Path(__file__).with_name("bare.c")
LINE_BYTES = 256 + 65_536 * 64
FUTEX, SPIN = -1, -2
C_SPIN, C_FUTEX = "C to C, spinning", "C to C, futex"


class _End(ctypes.Structure):
    _fields_ = (
        ("line", ctypes.c_void_p),
        ("event", ctypes.c_int),
        ("reserved", ctypes.c_int),
        ("done", ctypes.c_uint64),
    )


@cache
def library() -> ctypes.CDLL | str:
    """Return the compiled loops, or why there are none."""
    compiler = shutil.which("cc")
    if compiler is None:
        return "no C compiler (cc)"
    with tempfile.TemporaryDirectory() as folder:
        built = f"{folder}/bare.so"
        command = [compiler, "-std=gnu11", "-O2", "-shared", "-fPIC", "-o", built, str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return f"cc failed: {done.stderr.splitlines()[0]}"
        loops = ctypes.CDLL(built)
    loops.receive_all.restype = ctypes.c_uint64
    return loops


def _address(mapped: mmap.mmap) -> ctypes.c_void_p:
    return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(mapped)))


class Bare(Peer):
    """A loop in C at both ends."""

    def __init__(self, name: str, way: int) -> None:
        self.name = name
        self._way = way

    def missing(self) -> str:
        found = library()
        return found if isinstance(found, str) else ""

    def share(self, folder: Path) -> None:
        self._loops = library()
        self._line = mmap.mmap(-1, LINE_BYTES, SHARED)
        self._end = _End(_address(self._line), self._way, 0, 0)

    def be_writer(self) -> None:
        """The line is there since ``share``."""

    def be_reader(self) -> None:
        """The line is there since ``share``."""

    def send_all(self, due: NDArray[np.int64], rows: NDArray[np.void]) -> None:
        assert isinstance(self._loops, ctypes.CDLL)
        times, records = (array.ctypes.data_as(ctypes.c_void_p) for array in (due, rows))
        count = ctypes.c_uint64(len(rows))
        self._loops.send_all(ctypes.byref(self._end), times, records, count)

    def receive_all(self, inbox: Inbox) -> int:
        assert isinstance(self._loops, ctypes.CDLL)
        places = (_address(mapped) for mapped in (inbox.log, inbox.times, inbox.sizes))
        return int(self._loops.receive_all(ctypes.byref(self._end), *places))


class BareEventfd(Bare):
    """The loop that sleeps on an eventfd."""

    def __init__(self) -> None:
        super().__init__("C to C, eventfd", SPIN)

    def share(self, folder: Path) -> None:
        super().share(folder)
        self._end.event = os.eventfd(0)

    def close(self) -> None:
        os.close(self._end.event)


def loops() -> list[Peer]:
    """Return one of each."""
    return [Bare(C_SPIN, SPIN), Bare(C_FUTEX, FUTEX), BareEventfd()]
