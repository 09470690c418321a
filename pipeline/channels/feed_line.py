"""The feed's place in the run."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.depths import DEPTHS
from pipeline.channels.gaps import GAPS, GAPS_CAPACITY
from pipeline.channels.line import ADAPTER, FEED, RISK, STRATEGY, TICKS, Line
from pipeline.channels.locks import lock_is_held, lock_pid
from pipeline.channels.newest import create_newest
from pipeline.channels.readers import ReaderSlot
from pipeline.channels.ring import RingWriter
from pipeline.channels.rundir import lock_path, wait_for
from pipeline.records import DEPTH, GAP, TICK
from pipeline.settings import Settings


class FeedLine(Line):
    """The feed's end: the only writer of the ring."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, FEED)
        self._strategy = self._places[STRATEGY]
        # A run without risk was started for the adapter alone: then that one is waited for.
        alone = ADAPTER in self._places and self._places[RISK].gone
        self._last = self._places[ADAPTER if alone else RISK]
        self._everybody = self._readers.bells(*self._places)
        with self.attaching():
            self._make_rings(settings)
        self._everybody.ring()  # who read the ring of a feed that died follows

    def _make_rings(self, settings: Settings) -> None:
        listeners = [name for name in self._places if not (self.lockstep and name == RISK)]
        count = len(settings.instruments)
        self._newest = create_newest(self.directory, self.directory / TICKS, count)
        self.newest = self._newest.slots[:count]  # a TICK row of each, the feed's to write
        self.gaps = self._channels.RingWriter(self.directory / GAPS, GAP, GAPS_CAPACITY)
        self.ticks = self._channels.RingWriter(
            self.directory / TICKS,
            TICK,
            settings.channels.ring_capacity,
            self._readers.bells(*listeners),
        )
        self._depths: RingWriter | None = None
        if settings.strategy.depth:
            self._depths = self._channels.RingWriter(
                self.directory / DEPTHS, DEPTH, settings.channels.ring_capacity
            )

    def publish(self, rows: NDArray[np.void]) -> None:
        """Publish TICK rows, or TICK_WITH_DEPTH rows and first the depth that some have."""
        if self._depths is not None:
            depths = rows["depth"].copy()
            depths["tick_seq"] = self.ticks.published + np.arange(1, len(rows) + 1)
            depths["instrument"] = rows["instrument"]
            self._depths.publish(depths[depths["ts_recv_ns"] > 0])
            rows = np.ascontiguousarray(rows["tick"])
        self.ticks.publish(rows)

    def wait_for_readers(self) -> None:
        """Wait until every reader has attached, so that none misses the first tick."""
        for slot in self._places.values():
            wait_for(partial(self._has_attached, slot), f"{slot.name} to attach")

    def _has_attached(self, slot: ReaderSlot) -> bool:
        """True also when it came and went; a process of a run before is not it."""
        lock = lock_path(self.directory, slot.name)
        return slot.gone or (slot.pid == lock_pid(lock) != 0 and lock_is_held(lock))

    @property
    def unread(self) -> int:
        """Ticks that the slowest reader has not handled yet."""
        reading = [slot for slot in self._places.values() if slot.pid and not slot.gone]
        return max((self.ticks.published - slot.cursor for slot in reading), default=0)

    @property
    def done(self) -> bool:
        """True when the last in the row, risk, has handled all that was published (lockstep)."""
        if self._last.cursor >= self.ticks.published or self._last.gone:
            return True
        if self._strategy.gone and self.ticks.bells is not self._everybody:
            self.ticks.bells = self._everybody  # nobody else will wake risk any more
            self._everybody.ring()
        return False

    def close(self) -> None:
        self.ticks.close(failed=self._failed)
        self.gaps.close(failed=self._failed)
        if self._depths is not None:
            self._depths.close(failed=self._failed)
        self.newest = self.newest[:0].copy()
        self._newest.close()
        self._everybody.ring()
        super().close()
