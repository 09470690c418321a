"""The ring: one writer, many readers, never waits; a lapped reader knows what it lost (I1, I2).

The writer claims, writes, publishes. A reader copies first and then looks at *claimed*, not at
published: a slot is intact only if no claim has reached it again. x86-64 keeps stores in order
and loads in order, the interpreter does not reorder them, and storing an item of a "Q" memoryview
is one aligned eight-byte move: pure Python is exact there.

A writer that is started where a ring stands goes on in a new segment of that name; its readers
read the old one to its end and then ``follow``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.layout import CLAIMED, PUBLISHED, STATE, Kind, State
from pipeline.channels.readers import ReaderSlot
from pipeline.channels.segment import Segment, attach_segment, attach_successor, create_segment
from pipeline.channels.waiting import PARK_SLICE_NS, Bell, Bells, Words
from pipeline.errors import ReaderLapped, explain
from pipeline.records import Gap, GapReason, WhenLapped


class RingWriter:
    """The only writer of a ring. It goes on counting where the ring before had claimed."""

    def __init__(
        self, path: Path, slot: np.dtype[np.void], capacity: int, bells: Bells | None = None
    ) -> None:
        self._segment = create_segment(path, Kind.RING, slot, capacity)
        self._words = self._segment.words
        self._slot = slot
        self._capacity = capacity
        self.bells = bells
        self.published = self._segment.base
        self._call_readers_over()

    def _call_readers_over(self) -> None:
        """Wake whoever is parked on the ring before this one."""
        if self.bells is not None:
            self.bells.ring()

    @property
    def epoch(self) -> int:
        """The number of the segment that is written, 1 for the first of its name."""
        return self._segment.epoch

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
        if not self._segment.superseded:
            self._words[STATE] = State.ABANDONED if failed else State.CLOSED
        if self.bells is not None:
            self.bells.ring()
        self._segment.close()

    def __repr__(self) -> str:
        return f"<RingWriter {self._segment.path} published={self.published}>"


class RingReader:
    """One of many readers of a ring; its cursor and its losses stand in its reader slot.

    ``lost`` counts every seq that it did not see since it was opened: those of laps, and those
    that were claimed in one epoch and never published.
    """

    def __init__(
        self,
        path: Path,
        slot: np.dtype[np.void],
        place: ReaderSlot,
        when_lapped: WhenLapped = WhenLapped.OLDEST,
    ) -> None:
        self._open(attach_segment(path, Kind.RING, slot), slot, place, when_lapped)
        self._words = self._segment.words
        self._capacity = self._segment.capacity
        self._viewed: tuple[int, int] | None = None  # the records behind, and how many
        self.cursor: int = self._words[PUBLISHED]
        self.lapped = 0
        self.lost = 0
        place.cursor = self.cursor
        place.count_loss(0, 0)

    def _open(
        self, segment: Segment, slot: np.dtype[np.void], place: ReaderSlot, when_lapped: WhenLapped
    ) -> None:
        self._segment = segment
        self._slot = slot
        self._place = place
        self._when_lapped = when_lapped
        self._nothing = np.zeros(0, slot)

    @property
    def epoch(self) -> int:
        """The number of the segment that is read, 1 for the first of its name."""
        return self._segment.epoch

    @property
    def published(self) -> int:
        return self._words[PUBLISHED]

    @property
    def words(self) -> memoryview:
        """The words of the segment that is read. After ``follow`` they are others."""
        return self._segment.words

    @property
    def watched(self) -> Words:
        """The words that change when there is something to read, or the ring is closed or
        superseded. After ``follow`` they are others."""
        mapped = self._segment.mapped
        return ((mapped, 8 * PUBLISHED), (mapped, 8 * STATE))

    @property
    def ready(self) -> bool:
        """True when a look is worth while: there is something to read, or the ring was closed or
        superseded. Also while there is nothing to follow yet: a reader that parked then could
        sleep through the writer that takes over (tests/model/handover.py)."""
        return self._words[PUBLISHED] != self.cursor or self._words[STATE] != State.OPEN

    @property
    def ended(self) -> bool:
        """True when the writer has closed the ring and everything in it was read."""
        state = self._words[STATE]
        over = state in (State.CLOSED, State.ABANDONED)
        return over and self._words[PUBLISHED] == self.cursor

    @property
    def abandoned(self) -> bool:
        """True when the writer ended by an error."""
        return self._words[STATE] == State.ABANDONED

    @property
    def superseded(self) -> bool:
        """True when another writer goes on elsewhere and everything here was read: ``follow``."""
        return self._segment.superseded and self.published == self.cursor

    def follow(self) -> Gap | None:
        """Go on in the ring that took the place of this one, once this one is read to its end.

        Return the gap between the two; None when there is nothing to follow, or not yet. The
        mapping and ``watched`` are others then: what waits on them must be made anew. Raises
        SegmentRefused when the new file is no ring of ours, or does not go on where this one ended.
        """
        if not self.superseded:
            return None
        segment = attach_successor(self._segment, self._slot)
        if segment is None:
            return None
        lost, before = segment.base - self.cursor, self._segment
        self._go_on_in(segment)
        self._segment = segment
        before.close()
        return Gap(GapReason.RESTART, lost)

    def _go_on_in(self, segment: Segment) -> None:
        assert self._viewed is None, "a view was not released"
        self._words = segment.words
        self._capacity = segment.capacity
        self.lost += segment.base - self.cursor
        self.cursor = segment.base
        self._place.count_loss(self.lapped, self.lost)

    def read(self, limit: int, up_to: int | None = None) -> NDArray[np.void]:
        """Return a copy of the next records, 1 to ``limit``, none beyond seq ``up_to``.

        Empty when there are none, and on a superseded ring that was read to its end. Records that
        the writer has overtaken are counted in ``lost``; what follows is as ``when_lapped`` says,
        and ReaderLapped when it says so: nothing was copied then, and the next read goes on.
        """
        assert limit > 0, f"limit {limit}"
        assert self._viewed is None, "a view was not released"
        before, rows, end = self.cursor, self._nothing, self._end(up_to)
        while not len(rows) and self.cursor < end:
            rows, end = self._read_intact(end, limit, up_to)
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

    def _end(self, up_to: int | None) -> int:
        end: int = self._words[PUBLISHED]
        return end if up_to is None else min(end, up_to)

    def _read_intact(self, end: int, limit: int, up_to: int | None) -> tuple[NDArray[np.void], int]:
        """Copy up to ``end``; return what is intact, and up to where to look if that is nothing."""
        first = self._first(end)
        if self._when_lapped is WhenLapped.RAISE and first > self.cursor:
            self.cursor = first
            return self._nothing, first
        rows = self._segment.load(first, min(end - first, limit))
        torn = self._torn(first, len(rows))
        if torn and self._when_lapped is WhenLapped.LATEST:
            return self._nothing, self._end(up_to)  # the cursor is overtaken: on with the newest
        if torn and self._when_lapped is WhenLapped.RAISE:
            self.cursor = first + torn
            return self._nothing, self.cursor
        self.cursor = first + len(rows)
        return self._numbered(rows[torn:]), end

    def _first(self, end: int) -> int:
        """Return from where a reader goes on: the oldest intact record, or the newest."""
        first: int = max(self.cursor, min(self._words[CLAIMED] - self._capacity, end))
        if self._when_lapped is WhenLapped.LATEST and self.cursor < first < end:
            return end - 1
        return first

    def _torn(self, first: int, count: int) -> int:
        """Return how many of the ``count`` records behind ``first`` a claim has reached."""
        return min(max(0, self._words[CLAIMED] - self._capacity - first), count)

    def _numbered(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        if len(rows):
            expected = self.cursor - len(rows) + 1
            assert rows["seq"][0] == expected, f"seq {rows['seq'][0]} in place of {expected}"
        return rows

    def _count_loss(self, count: int) -> None:
        if not count:
            return
        self.lapped += 1
        self.lost += count
        self._place.count_loss(self.lapped, self.lost)
        if self._when_lapped is WhenLapped.RAISE:
            self._refuse_lap(count)

    def _refuse_lap(self, count: int) -> NoReturn:
        raise ReaderLapped(
            explain(
                f"{self._place.name} was overtaken on {self._segment.path} and lost {count} ticks",
                rule='this reader must see every tick: when_lapped = "raise"',
                cure="see what kept it, raise channels.ring_capacity, "
                'or let it go on with what is there: when_lapped = "latest" or "oldest"',
            )
        )

    def view(self, limit: int) -> NDArray[np.void]:
        """Return the next records as they lie in the ring, not copied and not writable.

        1 to ``limit`` rows, fewer at the edge where the ring wraps; empty when there are none.
        The writer does not wait: call ``release`` when done, which says how many of the rows were
        overtaken meanwhile, and only then rely on what they said. Kept longer, a view shows what
        the writer puts there next, and it keeps the mapping. Laps before it are as with ``read``.
        """
        assert limit > 0, f"limit {limit}"
        assert self._viewed is None, "a view was not released"
        before, end = self.cursor, self._end(None)
        if end == before:
            return self._nothing
        self.cursor = first = self._first(end)
        self._count_loss(first - before)
        return self._show(first, min(end - first, limit))

    def _show(self, first: int, count: int) -> NDArray[np.void]:
        at = first & (self._capacity - 1)
        count = min(count, self._capacity - at)
        self._viewed = (first, count) if count else None
        self.cursor = first + count
        return self._segment.slots[at : at + count]

    def release(self) -> int:
        """End the view; return how many of its oldest rows were overtaken while it lasted.

        They are counted in ``lost``, as one lap; the rows behind them were whole. 0 where nothing
        is viewed. Raises ReaderLapped where ``when_lapped`` says so, with ``lost`` counted.
        """
        if self._viewed is None:
            return 0
        torn = self._torn(*self._viewed)
        self._viewed = None
        self._count_loss(torn)
        return torn

    def read_again(self, after_seq: int) -> NDArray[np.void]:
        """Return a copy of the records behind ``after_seq`` up to ``cursor``, as far as the ring
        that is read still has them: those before its base were on rings that are gone.

        Counts nothing. Another segment may have the path by now; this one is asked.
        """
        segment, words = self._segment, self._segment.words
        first = max(after_seq, segment.base, words[CLAIMED] - segment.capacity)
        rows = segment.load(first, max(0, self.cursor - first))
        torn = max(0, words[CLAIMED] - segment.capacity - first)
        return rows[torn:]

    def commit(self) -> None:
        """Say that everything read so far has been handled."""
        self._place.cursor = self.cursor

    def check_whole(self) -> None:
        """Raise SegmentRefused when the ring's file was shortened or deleted behind our back.

        For the liveness slice: reading beyond the end of a shortened file is SIGBUS and no error.
        """
        self._segment.check_whole()

    def close(self) -> None:
        self._segment.close()

    def __repr__(self) -> str:
        return f"<RingReader {self._segment.path} cursor={self.cursor} lost={self.lost}>"
