"""The ring: one writer, many readers, never waits; a lapped reader knows what it lost (I1, I2).

The writer claims, writes, publishes. A reader copies first and then looks at *claimed*, not at
published: a slot is intact only if no claim has reached it again. x86-64 keeps stores in order
and loads in order, the interpreter does not reorder them, and storing an item of a "Q" memoryview
is one aligned eight-byte move: pure Python is exact there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.layout import CLAIMED, PUBLISHED, STATE, Kind, State
from pipeline.channels.readers import ReaderSlot
from pipeline.channels.segment import attach_segment, create_segment
from pipeline.channels.waiting import Bells


class RingWriter:
    """The only writer of a ring."""

    def __init__(
        self, path: Path, slot: np.dtype[np.void], capacity: int, bells: Bells | None = None
    ) -> None:
        self._segment = create_segment(path, Kind.RING, slot, capacity)
        self._words = self._segment.words
        self._slots = self._segment.slots
        self._seqs = self._slots["seq"]
        self._capacity = capacity
        self.bells = bells
        self.published = 0

    def publish(self, rows: NDArray[np.void]) -> None:
        """Make ``rows`` readable, in order, with the next seqs. Never waits for a reader."""
        for start in range(0, len(rows), self._capacity):
            self._publish(rows[start : start + self._capacity])

    def _publish(self, rows: NDArray[np.void]) -> None:
        count = len(rows)
        first = self.published
        after = first + count
        self._words[CLAIMED] = after
        at = first & (self._capacity - 1)
        if count == 1:
            self._slots[at : at + 1] = rows
            self._seqs[at] = after
        else:
            room = min(count, self._capacity - at)
            self._slots[at : at + room] = rows[:room]
            self._slots[: count - room] = rows[room:]
            numbers = np.arange(first + 1, after + 1, dtype=np.uint64)
            self._seqs[at : at + room] = numbers[:room]
            self._seqs[: count - room] = numbers[room:]
        self._words[PUBLISHED] = after
        self.published = after
        if self.bells is not None:
            self.bells.ring()

    def close(self) -> None:
        """Tell readers that nothing more will come, and unmap."""
        self._words[STATE] = State.CLOSED
        if self.bells is not None:
            self.bells.ring()
        self._seqs = self._seqs[:0].copy()
        self._slots = self._slots[:0].copy()
        self._segment.close()

    def __repr__(self) -> str:
        return f"<RingWriter {self._segment.path} published={self.published}>"


class RingReader:
    """One of many readers of a ring; its cursor and its losses stand in its reader slot."""

    def __init__(self, path: Path, slot: np.dtype[np.void], place: ReaderSlot) -> None:
        self._segment = attach_segment(path, Kind.RING, slot)
        self._words = self._segment.words
        self._slots = self._segment.slots
        self._capacity = self._segment.capacity
        self._place = place
        self._nothing = np.zeros(0, slot)
        self.cursor: int = self._words[PUBLISHED]
        self.lapped = 0
        self.lost = 0
        place.cursor = self.cursor

    @property
    def published(self) -> int:
        return self._words[PUBLISHED]

    @property
    def ready(self) -> bool:
        """True when a look is worth while: there is something to read, or the ring was closed."""
        return self._words[PUBLISHED] != self.cursor or self._words[STATE] == State.CLOSED

    @property
    def ended(self) -> bool:
        """True when the writer has closed the ring and everything in it was read."""
        return self._words[STATE] == State.CLOSED and self._words[PUBLISHED] == self.cursor

    def read(self, limit: int, up_to: int | None = None) -> NDArray[np.void]:
        """Return a copy of the next records, ``limit`` at most, none beyond seq ``up_to``.

        Records that the writer has overtaken are skipped and counted in ``lost``.
        """
        end = self._words[PUBLISHED]
        if up_to is not None and up_to < end:
            end = up_to
        if end <= self.cursor:
            return self._nothing
        first = max(self.cursor, end - self._capacity)
        count = min(end - first, limit)
        rows = self._copy(first, count)
        intact_from = self._words[CLAIMED] - self._capacity
        start = first
        if intact_from > first:
            start = min(intact_from, first + count)
            rows = rows[start - first :]
        if start > self.cursor:
            self._count_loss(start - self.cursor)
        self.cursor = first + count
        if not len(rows):
            return self.read(limit, up_to)
        assert rows["seq"][0] == start + 1, f"slot {start} holds seq {rows['seq'][0]}"
        return rows

    def _copy(self, first: int, count: int) -> NDArray[np.void]:
        at = first & (self._capacity - 1)
        room = self._capacity - at
        if count <= room:
            return self._slots[at : at + count].copy()
        return np.concatenate((self._slots[at:], self._slots[: count - room]))

    def _count_loss(self, count: int) -> None:
        self.lapped += 1
        self.lost += count
        self._place.count_loss(self.lapped, self.lost)

    def commit(self) -> None:
        """Say that everything read so far has been handled."""
        self._place.cursor = self.cursor

    def close(self) -> None:
        self._slots = self._slots[:0].copy()
        self._segment.close()

    def __repr__(self) -> str:
        return f"<RingReader {self._segment.path} cursor={self.cursor} lost={self.lost}>"
