"""The queue: one writer, one reader, loses nothing; full is an error that both sides see."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.layout import FULL, PUBLISHED, TAKEN, Kind
from pipeline.channels.segment import attach_segment, create_segment
from pipeline.channels.waiting import Bells, Words
from pipeline.errors import QueueFull, explain


class QueueWriter:
    """The only writer of a queue."""

    def __init__(
        self, path: Path, slot: np.dtype[np.void], capacity: int, bells: Bells | None = None
    ) -> None:
        self._segment = create_segment(path, Kind.QUEUE, slot, capacity)
        self._words = self._segment.words
        self._slot = slot
        self._capacity = capacity
        self._bells = bells

    def put(self, rows: NDArray[np.void]) -> None:
        """Append all of ``rows`` with the next seqs, or none of them and raise QueueFull."""
        assert rows.dtype == self._slot, f"rows of {rows.dtype}, slots of {self._slot}"
        before = self._words[PUBLISHED]
        waiting = before - self._words[TAKEN]
        if waiting + len(rows) > self._capacity:
            self._refuse(len(rows), waiting)
        self._segment.store(before, rows)
        self._words[PUBLISHED] = before + len(rows)
        if self._bells is not None:
            self._bells.ring()

    def _refuse(self, count: int, waiting: int) -> NoReturn:
        self._words[FULL] += 1
        raise QueueFull(
            explain(
                f"{self._segment.path}: no room for {count} more, "
                f"{waiting} of {self._capacity} records not taken",
                rule="a queue loses nothing, so its reader must keep up",
                cure="see why its reader stopped; a larger channels.queue_capacity only delays",
            )
        )

    def close(self) -> None:
        self._segment.close()

    def __repr__(self) -> str:
        return f"<QueueWriter {self._segment.path}>"


class QueueReader:
    """The only reader of a queue."""

    def __init__(self, path: Path, slot: np.dtype[np.void]) -> None:
        self._segment = attach_segment(path, Kind.QUEUE, slot, writable=True)
        self._words = self._segment.words
        self._nothing = np.zeros(0, slot)

    @property
    def waiting(self) -> int:
        """How many records have been put and not taken."""
        return self._words[PUBLISHED] - self._words[TAKEN]

    @property
    def taken(self) -> int:
        """How many records were taken, also by a reader before this one: the seq of the last."""
        return self._words[TAKEN]

    @property
    def full_count(self) -> int:
        """How many puts were refused because the queue was full."""
        return self._words[FULL]

    @property
    def watched(self) -> Words:
        """The words that change when there is something to take."""
        return ((self._segment.mapped, 8 * PUBLISHED),)

    @property
    def superseded(self) -> bool:
        """True when another writer goes on in a new queue of that name, or is about to."""
        return self._segment.superseded

    def take(self) -> NDArray[np.void]:
        """Return everything that waits, in order, and make its room free."""
        taken, published = self._words[TAKEN], self._words[PUBLISHED]
        if taken == published:
            return self._nothing
        rows = self._segment.load(taken, published - taken)
        self._words[TAKEN] = published
        return rows

    def close(self) -> None:
        self._segment.close()

    def __repr__(self) -> str:
        return f"<QueueReader {self._segment.path} waiting={self.waiting}>"
