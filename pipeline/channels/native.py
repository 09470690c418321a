"""The native implementation: the classes of the reference over the loops of ``_native.c``.

Both write and read the same bytes, so that either side of a channel may be of either kind. What
differs: the barriers are real on every machine, the copying is in C, and a reader that spins does
so in C without the GIL, on the words that others change.

A subclass here has the methods of the class above it and none of its state: its ``__init__`` is
its own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pipeline.channels._native as _native  # so that its absence is told as such
from pipeline.channels import layout, waiting
from pipeline.channels.cell import SLOTS, CellReader, CellWriter
from pipeline.channels.layout import FULL, READER, TAKEN, Kind, State
from pipeline.channels.queue import QueueReader, QueueWriter
from pipeline.channels.readers import Readers, ReaderSlot
from pipeline.channels.ring import RingReader, RingWriter
from pipeline.channels.segment import Segment, attach_segment, create_segment
from pipeline.channels.waiting import PARK_SLICE_NS, SPIN_SLICE_NS, Bell, Bells, Callback, Words
from pipeline.records import WhenLapped

_WORDS = ("CLAIMED", "PUBLISHED", "STATE", "TAKEN", "FULL")
_NUMBERS = ("VERSION", "SLOTS_OFFSET", "PARKED_OFFSET", "READERS_MAX")
_FIELDS = ("cursor", "lapped", "lost", "bell")
_WHEN_LAPPED = {
    WhenLapped.OLDEST: _native.OLDEST,
    WhenLapped.LATEST: _native.LATEST,
    WhenLapped.RAISE: _native.RAISE,
}


def layout_differences() -> list[str]:
    """Return the names in layout.py that the extension was not compiled for, [] for none."""
    fields = READER.fields
    assert fields is not None
    ours = {name: int(getattr(layout, name)) for name in _WORDS + _NUMBERS}
    ours |= {name: fields[name][1] for name in _FIELDS}
    ours["READER"] = READER.itemsize
    return sorted({name for name, _ in ours.items() ^ _native.LAYOUT.items()})


def _of_core(name: str) -> Any:
    return property(attrgetter(f"_core.{name}"))


def _native_bells(bells: Bells | None) -> _native.Bells | None:
    return None if bells is None else _native.Bells(bells.table, bells.indexes)


class NativeRingWriter(RingWriter):
    """The only writer of a ring."""

    published: int = _of_core("published")

    def __init__(
        self, path: Path, slot: np.dtype[np.void], capacity: int, bells: Bells | None = None
    ) -> None:
        self._segment = create_segment(path, Kind.RING, slot, capacity)
        self._core = _native.Writer(self._segment.mapped, slot, slot.itemsize, capacity)
        self.bells = bells
        self._core.ring()  # whoever is parked on the ring before this one
        self.publish = self._core.publish  # type: ignore[method-assign, assignment]

    @property
    def bells(self) -> Bells | None:
        return self._bells

    @bells.setter
    def bells(self, bells: Bells | None) -> None:
        self._bells = bells
        self._core.use_bells(_native_bells(bells))

    def close(self, *, failed: bool = False) -> None:
        self._core.finish(State.ABANDONED if failed else State.CLOSED)
        self._core.close()
        self._segment.close()


class NativeRingReader(RingReader):
    """One of many readers of a ring; its cursor and its losses stand in its reader slot."""

    cursor: int = _of_core("cursor")
    lapped: int = _of_core("lapped")
    lost: int = _of_core("lost")
    published: int = _of_core("published")
    ready: bool = _of_core("ready")
    ended: bool = _of_core("ended")
    abandoned: bool = _of_core("abandoned")
    superseded: bool = _of_core("superseded")

    def __init__(
        self,
        path: Path,
        slot: np.dtype[np.void],
        place: ReaderSlot,
        when_lapped: WhenLapped = WhenLapped.OLDEST,
    ) -> None:
        segment = attach_segment(path, Kind.RING, slot)
        self._open(segment, slot, place, when_lapped)
        self._core = _native.RingReader(
            segment.mapped,
            slot.itemsize,
            segment.capacity,
            place.table,
            place.index,
            _WHEN_LAPPED[when_lapped],
        )
        self.commit = self._core.commit  # type: ignore[method-assign]
        make_row: Callable[..., Any] = partial(np.empty, 1, slot)
        self.wait_for_rows = partial(  # type: ignore[method-assign]
            self._core.wait, self.read, make_row, PARK_SLICE_NS
        )

    def _go_on_in(self, segment: Segment) -> None:
        self._core.follow(segment.mapped, segment.capacity, segment.base)

    def read(self, limit: int, up_to: int | None = None) -> NDArray[np.void]:
        assert limit > 0, f"limit {limit}"
        raw = self._core.read(limit, up_to)
        if raw is None:
            return self._nothing
        if isinstance(raw, int):
            self._refuse_lap(raw)
        return np.frombuffer(raw, self._slot)

    def view(self, limit: int) -> NDArray[np.void]:
        assert limit > 0, f"limit {limit}"
        place = self._core.view(limit)
        if place is None:
            return self._nothing
        if isinstance(place, int):
            self._refuse_lap(place)
        return self._segment.slots[place[0] : place[1]]

    def release(self) -> int:
        torn = self._core.release()
        if torn and self._when_lapped is WhenLapped.RAISE:
            self._refuse_lap(torn)
        return torn

    def close(self) -> None:
        self._core.close()
        self._segment.close()


class NativeQueueWriter(QueueWriter):
    """The only writer of a queue."""

    def __init__(
        self, path: Path, slot: np.dtype[np.void], capacity: int, bells: Bells | None = None
    ) -> None:
        self._segment = create_segment(path, Kind.QUEUE, slot, capacity)
        self._words = self._segment.words
        self._capacity = capacity
        self._core = _native.Writer(self._segment.mapped, slot, slot.itemsize, capacity)
        self._core.use_bells(_native_bells(bells))

    def put(self, rows: NDArray[np.void]) -> None:
        if not self._core.put(rows):
            self._refuse(len(rows), self._core.published - self._words[TAKEN])

    def close(self) -> None:
        self._core.close()
        self._segment.close()


class NativeQueueReader(QueueReader):
    """The only reader of a queue."""

    waiting: int = _of_core("waiting")

    def __init__(self, path: Path, slot: np.dtype[np.void]) -> None:
        self._segment = attach_segment(path, Kind.QUEUE, slot, writable=True)
        self._words = self._segment.words
        self._slot = slot
        self._nothing = np.zeros(0, slot)
        self._core = _native.SlotReader(
            self._segment.mapped, slot.itemsize, self._segment.capacity, True
        )

    @property
    def full_count(self) -> int:
        return self._words[FULL]

    def take(self) -> NDArray[np.void]:
        raw = self._core.take()
        return self._nothing if raw is None else np.frombuffer(raw, self._slot)

    def close(self) -> None:
        self._core.close()
        self._segment.close()


class NativeCellWriter(CellWriter):
    """The only writer of a cell."""

    def __init__(self, path: Path, slot: np.dtype[np.void]) -> None:
        self._segment = create_segment(path, Kind.CELL, slot, SLOTS)
        self._core = _native.Writer(self._segment.mapped, slot, slot.itemsize, SLOTS)
        self.publish = self._core.publish  # type: ignore[method-assign, assignment]

    def close(self) -> None:
        self._core.close()
        self._segment.close()


class NativeCellReader(CellReader):
    """One of many readers of a cell."""

    def __init__(self, path: Path, slot: np.dtype[np.void]) -> None:
        self._segment = attach_segment(path, Kind.CELL, slot)
        self._slot = slot
        self._core = _native.SlotReader(
            self._segment.mapped, slot.itemsize, self._segment.capacity, False
        )

    def latest(self) -> NDArray[np.void] | None:
        raw = self._core.latest()
        return None if raw is None else np.frombuffer(raw, self._slot)

    def close(self) -> None:
        self._core.close()
        self._segment.close()


class NativeBell(Bell):
    """One reader's bell: the reader parks on it, writers ring it."""

    fences_everywhere = True

    def __init__(self, readers: Segment, index: int) -> None:
        self.core = _native.Bell(readers.mapped, index)
        self.ring = self.core.ring  # type: ignore[method-assign]

    def park(self, ready: Callable[[], bool], slice_ns: int = PARK_SLICE_NS) -> bool:
        return self.core.park(ready, slice_ns)

    def close(self) -> None:
        self.core.close()


class NativeBells(Bells):
    """What a writer rings after it has published."""

    def __init__(self, readers: Segment, indexes: tuple[int, ...]) -> None:
        self.table = readers.mapped
        self.indexes = indexes
        self._core = _native.Bells(readers.mapped, indexes)
        self.ring = self._core.ring  # type: ignore[method-assign]

    def close(self) -> None:
        self._core.close()


class NativeReaders(Readers):
    """The whole table, opened by every process of the run."""

    bell_class = NativeBell
    bells_class = NativeBells


class NativePoll:
    """Spin in C, bare or yielding, until a word changes; come back for signals and heartbeat."""

    def __init__(self, ready: Callable[[], bool], words: Words, bare: bool) -> None:
        self._ready = ready
        self._watch = _native.Watch(tuple(words))
        self._yielding = not bare

    def idle(self) -> None:
        self.spin(SPIN_SLICE_NS)

    def spin(self, spin_ns: int) -> bool:
        """Return True when a look is worth while, False after ``spin_ns``.

        The words are noted before the look, so that what changes behind it ends the spin.
        """
        self._watch.look()
        return self._ready() or self._watch.spin(spin_ns, self._yielding)


class NativeAdaptive:
    """Spin in C for ``spin_us``, then park: for bursts, where the next tick is often near."""

    def __init__(self, bell: Bell, ready: Callable[[], bool], words: Words, spin_us: int) -> None:
        self._parking = Callback(bell, ready)
        self._poll = NativePoll(ready, words, bare=False)
        self._spin_ns = spin_us * 1_000

    def idle(self) -> None:
        if not self._poll.spin(self._spin_ns):
            self._parking.idle()


def poll(ready: Callable[[], bool], words: Words, bare: bool) -> waiting.Waiting:
    return NativePoll(ready, words, bare)


def adaptive(bell: Bell, ready: Callable[[], bool], words: Words, spin_us: int) -> waiting.Waiting:
    return NativeAdaptive(bell, ready, words, spin_us)
