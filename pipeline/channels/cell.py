"""The cell: one writer, many readers, the latest value only; nobody waits on it.

A ring of four slots of which a reader wants the newest: a writer that dies in mid-write leaves
the value before, and a reader is never stuck on a half-written one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.layout import CLAIMED, PUBLISHED, Kind
from pipeline.channels.segment import attach_segment, create_segment

SLOTS = 4


class CellWriter:
    """The only writer of a cell."""

    def __init__(self, path: Path, slot: np.dtype[np.void]) -> None:
        self._segment = create_segment(path, Kind.CELL, slot, SLOTS)
        self._words = self._segment.words
        self._slot = slot

    def publish(self, row: NDArray[np.void]) -> None:
        """Make ``row`` (shape ``(1,)``) the cell's value."""
        assert row.dtype == self._slot, f"row of {row.dtype}, slots of {self._slot}"
        before = self._words[PUBLISHED]
        self._words[CLAIMED] = before + 1
        self._segment.store(before, row)
        self._words[PUBLISHED] = before + 1

    def close(self) -> None:
        self._segment.close()


class CellReader:
    """One of many readers of a cell."""

    def __init__(self, path: Path, slot: np.dtype[np.void]) -> None:
        self._segment = attach_segment(path, Kind.CELL, slot)
        self._words = self._segment.words
        self._seen = 0

    def latest(self) -> NDArray[np.void] | None:
        """Return a copy of the value, shape ``(1,)``; None if there is none newer than the last."""
        published = self._words[PUBLISHED]
        if published == self._seen:
            return None
        while True:
            row = self._segment.load(published - 1, 1)
            if self._words[CLAIMED] < published + SLOTS:
                self._seen = published
                return row
            published = self._words[PUBLISHED]

    @property
    def superseded(self) -> bool:
        """True when another writer goes on in a new cell of that name, or is about to."""
        return self._segment.superseded

    def close(self) -> None:
        self._segment.close()
