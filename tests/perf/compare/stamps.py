"""When each tick was in hand and when the strategy was given it, in memory that the measurer sees.

A file of two columns of int64 nanoseconds (CLOCK_MONOTONIC), a row for each tick sent; 0 means
that the strategy never saw it. Storing an item of a "q" memoryview is one move, so noting a tick
costs the same in every way that is measured, needs no end to be written, and survives a kill.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RECEIVED, SEEN = 0, 1


def create_stamps(path: Path, count: int) -> None:
    """Make the file, every page of it touched."""
    path.write_bytes(bytes(16 * count))


def open_columns(path: Path) -> tuple[memoryview, memoryview]:
    """Return the two columns for writing: received, seen."""
    with path.open("r+b") as file:
        words = memoryview(mmap.mmap(file.fileno(), 0)).cast("q")
    half = len(words) // 2
    return words[:half], words[half:]


def read_stamps(path: Path) -> NDArray[np.int64]:
    """Return both columns as they are now, shape (2, n): RECEIVED and SEEN."""
    return np.fromfile(path, np.int64).reshape(2, -1)
