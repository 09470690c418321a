"""The recorder's end of a run: it reads everything, and nobody waits for it or wakes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.gaps import GAPS, GapReader
from pipeline.channels.line import FEED, RECORDER, TICKS, _Line
from pipeline.channels.rundir import wait_for_owner
from pipeline.records import TICK, WhenLapped
from pipeline.settings import Settings


class RecorderLine(_Line):
    """The end of the recorder.

    It never parks on its bell, so that it costs the feed no wake-up; it looks now and then.
    """

    def __init__(self, settings: Settings) -> None:
        ring = wait_for_owner(settings.run_directory, TICKS, FEED)
        super().__init__(settings, RECORDER)
        self._place = self._places[RECORDER]
        self.ticks = self._channels.RingReader(ring, TICK, self._place, WhenLapped.OLDEST)
        self.gaps = GapReader(wait_for_owner(self.directory, GAPS, FEED), self._channels)
        self._place.take()

    def read(self, limit: int) -> NDArray[np.void]:
        """Return the next TICK rows, possibly none; go on in the ring of the next feed."""
        rows = self.ticks.read(limit)
        if not len(rows) and self.ticks.superseded and self.ticks.follow() is not None:
            rows = self.ticks.read(limit)
        self.ticks.commit()
        return rows

    def close(self) -> None:
        self._place.declare_gone()
        self.gaps.close()
        self.ticks.close()
        super().close()
