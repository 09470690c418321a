"""The ring: one writer, many readers, never waits; a lapped reader knows what it lost (I1, I2).

The writer claims, writes, publishes. A reader copies first and then looks at *claimed*, not at
published: a slot is intact only if no claim has reached it again. x86-64 keeps stores in order
and loads in order, the interpreter does not reorder them, and storing an item of a "Q" memoryview
is one aligned eight-byte move: pure Python is exact there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.layout import CLAIMED, PUBLISHED, STATE, Kind, State
from pipeline.channels.readers import ReaderSlot
from pipeline.channels.segment import attach_segment, create_segment
from pipeline.channels.waiting import PARK_SLICE_NS, Bell, Bells, Words


class RingWriter:
    """The only writer of a ring."""

    def __init__(
        self, path: Path, slot: np.dtype[np.void], capacity: int, bells: Bells | None = None
    ) -> None:
        self._segment = create_segment(path, Kind.RING, slot, capacity)
        self._words = self._segment.words
        self._slot = slot
        self._capacity = capacity
        self.bells = bells
        self.published = 0

    def publish(self, rows: NDArray[np.void]) -> None:
        """Make ``rows`` readable, in order, with the next seqs. Never waits for a reader."""
        assert rows.dtype == self._slot, f"rows of {rows.dtype}, slots of {self._slot}"
        if len(rows) <= self._capacity:
            self._publish(rows)
            return
        for start in range(0, len(rows), self._capacity):
            self._publish(rows[start : start + self._capacity])

    def _publish(self, rows: NDArray[np.void]) -> None:
        after = self.published + len(rows)
        self._words[CLAIMED] = after
        self._segment.store(self.published, rows)
        self._words[PUBLISHED] = after
        self.published = after
        if self.bells is not None:
            self.bells.ring()

    def close(self, *, failed: bool = False) -> None:
        """Tell readers that nothing more will come, and unmap."""
        self._words[STATE] = State.ABANDONED if failed else State.CLOSED
        if self.bells is not None:
            self.bells.ring()
        self._segment.close()

    def __repr__(self) -> str:
        return f"<RingWriter {self._segment.path} published={self.published}>"


class RingReader:
    """One of many readers of a ring; its cursor and its losses stand in its reader slot."""

    def __init__(self, path: Path, slot: np.dtype[np.void], place: ReaderSlot) -> None:
        self._segment = attach_segment(path, Kind.RING, slot)
        self._words = self._segment.words
        self._capacity = self._segment.capacity
        self._place = place
        self._nothing = np.zeros(0, slot)
        self.cursor: int = self._words[PUBLISHED]
        self.lapped = 0
        self.lost = 0
        place.cursor = self.cursor
        place.count_loss(0, 0)

    @property
    def published(self) -> int:
        return self._words[PUBLISHED]

    @property
    def watched(self) -> Words:
        """The words that change when there is something to read, or the ring is closed."""
        mapped = self._segment.mapped
        return ((mapped, 8 * PUBLISHED), (mapped, 8 * STATE))

    @property
    def ready(self) -> bool:
        """True when a look is worth while: there is something to read, or the ring was closed."""
        return self._words[PUBLISHED] != self.cursor or self._words[STATE] != State.OPEN

    @property
    def ended(self) -> bool:
        """True when the writer has closed the ring and everything in it was read."""
        return self._words[STATE] != State.OPEN and self._words[PUBLISHED] == self.cursor

    @property
    def abandoned(self) -> bool:
        """True when the writer ended by an error."""
        return self._words[STATE] == State.ABANDONED

    def read(self, limit: int, up_to: int | None = None) -> NDArray[np.void]:
        """Return a copy of the next records, 1 to ``limit``, none beyond seq ``up_to``.

        Empty when there are none. Records that the writer has overtaken are skipped and counted
        in ``lost``.
        """
        assert limit > 0, f"limit {limit}"
        end = self._words[PUBLISHED]
        if up_to is not None and up_to < end:
            end = up_to
        if end <= self.cursor:
            return self._nothing
        before, rows = self.cursor, self._nothing
        while not len(rows) and self.cursor < end:
            rows = self._read_intact(end, limit)
        if self.cursor > before + len(rows):
            self._count_loss(self.cursor - before - len(rows))
        return rows

    def wait_for_rows(
        self, limit: int, spin_ns: int, yielding: bool = False, bell: Bell | None = None
    ) -> NDArray[np.void]:
        """Wait until there is something to read, and return what ``read(limit)`` returns.

        Spins for ``spin_ns``, bare or ``yielding``, then parks on ``bell`` where one is given:
        once, so that the caller can look at signals and peers. Empty when nothing came.
        """
        deadline = time.monotonic_ns() + spin_ns
        while not self.ready and time.monotonic_ns() < deadline:
            if yielding:
                os.sched_yield()
        if bell is not None and not self.ready:
            bell.park(lambda: self.ready, PARK_SLICE_NS)
        return self.read(limit)

    def _read_intact(self, end: int, limit: int) -> NDArray[np.void]:
        """Copy from the oldest record on, then drop what a claim has reached meanwhile."""
        first = max(self.cursor, min(self._words[CLAIMED] - self._capacity, end))
        rows = self._segment.load(first, min(end - first, limit))
        self.cursor = first + len(rows)
        torn = self._words[CLAIMED] - self._capacity - first
        if torn > 0:
            rows = rows[torn:]
        if len(rows):
            expected = self.cursor - len(rows) + 1
            assert rows["seq"][0] == expected, f"seq {rows['seq'][0]} in place of {expected}"
        return rows

    def _count_loss(self, count: int) -> None:
        self.lapped += 1
        self.lost += count
        self._place.count_loss(self.lapped, self.lost)

    def commit(self) -> None:
        """Say that everything read so far has been handled."""
        self._place.cursor = self.cursor

    def close(self) -> None:
        self._segment.close()

    def __repr__(self) -> str:
        return f"<RingReader {self._segment.path} cursor={self.cursor} lost={self.lost}>"
