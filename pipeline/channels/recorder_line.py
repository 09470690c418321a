"""The recorder's end of a run: it reads everything, and nobody waits for it or wakes it.

No reader slot of the run is its own, so nothing that it does or fails to do reaches the feed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import Implementation
from pipeline.channels.depths import DEPTHS
from pipeline.channels.gaps import GAPS
from pipeline.channels.line import FEED, RECORDER, TICKS, Line
from pipeline.channels.missed import read_again
from pipeline.channels.readers import private_slot
from pipeline.channels.rundir import wait_for
from pipeline.records import DEPTH, GAP, TICK, WhenLapped
from pipeline.settings import Settings


class Tape:
    """A ring that is read from its beginning, and what of it was not seen."""

    def __init__(self, path: Path, slot: np.dtype[np.void], channels: Implementation) -> None:
        self._place = private_slot(RECORDER)
        self._ring = channels.RingReader(path, slot, self._place, WhenLapped.OLDEST)
        self._before = np.zeros(0, slot)
        if self._ring.epoch == 1:  # else its beginning was in a ring that is gone
            self._before = read_again(path, self._place, 0, self._ring.cursor, slot)
        self._missed = self._ring.cursor - len(self._before)

    def read(self, limit: int) -> NDArray[np.void]:
        """Return the next records, possibly none; go on in the ring of the next feed."""
        if len(self._before):
            rows, self._before = self._before, self._before[:0]
            return rows
        rows = self._ring.read(limit)
        if not len(rows) and self._ring.superseded and self._ring.follow() is not None:
            rows = self._ring.read(limit)
        return rows

    @property
    def seen(self) -> int:
        """The last seq that was read or lost: what was read and ``lost`` together."""
        return self._ring.cursor

    @property
    def published(self) -> int:
        return self._ring.published

    @property
    def lost(self) -> int:
        return self._missed + self._ring.lost

    @property
    def lapped(self) -> int:
        return self._ring.lapped

    @property
    def ended(self) -> bool:
        return self._ring.ended

    def check_whole(self) -> None:
        self._ring.check_whole()

    def close(self) -> None:
        self._ring.close()
        self._place.close()


class RecorderLine(Line):
    """The end of the recorder."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, RECORDER)
        with self.attaching():
            self.ticks = self._tape(TICKS, TICK)
            self.gaps = self._tape(GAPS, GAP)
            self.depths = self._tape(DEPTHS, DEPTH) if settings.strategy.depth else None

    def _tape(self, name: str, slot: np.dtype[np.void]) -> Tape:
        path = self.directory / name  # of a feed that has ended by now it will do too
        wait_for(path.exists, f"{FEED} to create {path}")
        return Tape(path, slot, self._channels)

    def close(self) -> None:
        for tape in (self.ticks, self.gaps, self.depths):
            if tape is not None:
                tape.close()
        super().close()
