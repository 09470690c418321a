"""The recorder's end of a run: it reads everything, and nobody waits for it or wakes it.

No reader slot of the run is its own, so nothing that it does or fails to do reaches the feed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import Implementation
from pipeline.channels.depths import DEPTHS
from pipeline.channels.gaps import GAPS
from pipeline.channels.line import FEED, RECORDER, TICKS, Line
from pipeline.channels.readers import private_slot
from pipeline.channels.rundir import wait_for
from pipeline.records import DEPTH, GAP, TICK, WhenLapped
from pipeline.settings import Settings


class Tape:
    """A ring that is read behind ``after_seq``, and what of it was not seen."""

    def __init__(
        self,
        path: Path,
        slot: np.dtype[np.void],
        channels: Implementation,
        after_seq: int,
        lost_before: int,
    ) -> None:
        """``lost_before`` of the first ``after_seq`` records are lost already."""
        self._place = private_slot(RECORDER)
        self._ring = channels.RingReader(path, slot, self._place, WhenLapped.OLDEST)
        self._before = self._ring.read_again(after_seq)
        self._missed = lost_before + self._ring.cursor - after_seq - len(self._before)

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
        self._has_depth = settings.strategy.depth
        self.tapes: dict[str, Tape] = {}  # ticks, gaps, depth

    @property
    def run_began_ns(self) -> int:
        """When this run was started, CLOCK_REALTIME."""
        return self._readers.created_ns

    def attach(self, done: Mapping[str, tuple[int, int]]) -> None:
        """Open the tapes; ``done`` has the seqs of which another recorder of this run took care,
        and how many of these were lost."""
        rings = {"ticks": (TICKS, TICK), "gaps": (GAPS, GAP)}
        if self._has_depth:
            rings["depth"] = (DEPTHS, DEPTH)
        for kind, (name, slot) in rings.items():
            path = self.directory / name  # of a feed that has ended by now it will do too
            wait_for(path.exists, f"{FEED} to create {path}")
            seqs = done[kind] if kind in done else (0, 0)
            self.tapes[kind] = Tape(path, slot, self._channels, *seqs)

    @property
    def ticks(self) -> Tape:
        return self.tapes["ticks"]

    def close(self) -> None:
        for tape in self.tapes.values():
            tape.close()
        super().close()
