"""readers.ctl: one slot per reader of the run, with its cursor, its losses and its bell.

Anyone of the run may look; a reader writes its own slot and nobody else's, except that whoever
saw it die may set ``gone`` there.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from pipeline.channels.layout import PARKED_OFFSET, READER, READERS_MAX, SLOTS_OFFSET, Kind
from pipeline.channels.segment import Segment, attach_segment, create_segment
from pipeline.channels.waiting import Bell, Bells, Words

FILE_NAME = "readers.ctl"


def _offset(name: str) -> int:
    fields = READER.fields
    assert fields is not None
    return fields[name][1]


_CURSOR, _LAPPED, _LOST = (_offset(name) // 8 for name in ("cursor", "lapped", "lost"))
_PID, _GONE = (_offset(name) // 4 for name in ("pid", "gone"))


class ReaderSlot:
    """One reader's slot."""

    def __init__(self, table: mmap.mmap, index: int, name: str) -> None:
        self.table = table
        self.index = index
        self.name = name
        self._start = SLOTS_OFFSET + index * READER.itemsize
        self._bytes = memoryview(table)[self._start : self._start + READER.itemsize]
        self._words = self._bytes.cast("Q")
        self._halves = self._bytes.cast("I")
        self._parked = memoryview(table)[PARKED_OFFSET + index : PARKED_OFFSET + index + 1]

    @property
    def cursor(self) -> int:
        """Seq of the last tick this reader is done with."""
        return self._words[_CURSOR]

    @cursor.setter
    def cursor(self, seq: int) -> None:
        self._words[_CURSOR] = seq

    def count_loss(self, lapped: int, lost: int) -> None:
        self._words[_LAPPED] = lapped
        self._words[_LOST] = lost

    @property
    def lapped(self) -> int:
        return self._words[_LAPPED]

    @property
    def lost(self) -> int:
        return self._words[_LOST]

    @property
    def pid(self) -> int:
        """The process that reads here, 0 = nobody yet."""
        return self._halves[_PID]

    @property
    def gone(self) -> bool:
        return self._halves[_GONE] == 1

    @property
    def watched(self) -> Words:
        """The words that change when it has committed more, or is gone."""
        gone = 4 * _GONE // 8 * 8  # the word that holds it
        return ((self.table, self._start + 8 * _CURSOR), (self.table, self._start + gone))

    def take(self) -> None:
        """Become this reader."""
        self._halves[_GONE] = 0
        self._halves[_PID] = os.getpid()

    def declare_gone(self) -> None:
        """Say that nobody need wait for this reader any more."""
        self._halves[_GONE] = 1
        self._parked[0] = 0  # killed in its sleep it would be rung for ever

    def close(self) -> None:
        self._parked.release()
        self._halves.release()
        self._words.release()
        self._bytes.release()


def private_slot(name: str) -> ReaderSlot:
    """Return a slot that nobody else sees, for a reader for which nobody waits."""
    size = SLOTS_OFFSET + READERS_MAX * READER.itemsize  # as the whole table, which readers check
    return ReaderSlot(mmap.mmap(-1, size), 0, name)


class Readers:
    """The whole table, opened by every process of the run."""

    bell_class: type[Bell] = Bell
    bells_class: type[Bells] = Bells

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._opened: list[ReaderSlot | Bell | Bells] = []

    @classmethod
    def create(cls, directory: Path, names: Sequence[str]) -> Self:
        """Create the table for the readers ``names``, at most eight."""
        assert len(names) <= READERS_MAX, f"{len(names)} readers, at most {READERS_MAX}"
        rows = np.zeros(len(names), READER)
        rows["name"] = [name.encode() for name in names]
        path = directory / FILE_NAME
        return cls(create_segment(path, Kind.READERS, READER, READERS_MAX, rows))

    @classmethod
    def attach(cls, directory: Path) -> Self:
        return cls(attach_segment(directory / FILE_NAME, Kind.READERS, READER, writable=True))

    @property
    def names(self) -> tuple[str, ...]:
        """The readers of this run."""
        return tuple(bytes(name).decode() for name in self._segment.slots["name"] if name)

    @property
    def created_ns(self) -> int:
        """When the table, with which a run begins, was created; CLOCK_REALTIME."""
        return self._segment.created_ns

    def _index(self, name: str) -> int:
        return list(self.names).index(name)

    def slot(self, name: str) -> ReaderSlot:
        slot = ReaderSlot(self._segment.mapped, self._index(name), name)
        self._opened.append(slot)
        return slot

    def bell(self, name: str) -> Bell:
        bell = self.bell_class(self._segment, self._index(name))
        self._opened.append(bell)
        return bell

    def bells(self, *names: str) -> Bells:
        bells = self.bells_class(self._segment, tuple(self._index(name) for name in names))
        self._opened.append(bells)
        return bells

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self._segment.close()
