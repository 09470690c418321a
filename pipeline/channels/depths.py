"""The depth that came with ticks, on a ring beside theirs; there is none unless a strategy asks.

The feed publishes the depth of a tick before the tick. So whoever has that tick finds its depth
here, unless it was overwritten meanwhile; that is counted.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np

from pipeline.channels import Implementation
from pipeline.channels.readers import private_slot
from pipeline.records import DEPTH, WhenLapped

DEPTHS = "depth.ring"
READ_MAX = 256


class DepthReader:
    """Reads the ring of depth along with the ticks; nobody waits for it."""

    def __init__(self, path: Path, channels: Implementation) -> None:
        self._slot = private_slot("depth")
        self._ring = channels.RingReader(path, DEPTH, self._slot, WhenLapped.OLDEST)
        self._ahead: deque[np.void] = deque()  # of ticks that were not asked for yet
        self._unasked = 0

    def of(self, seq: int) -> np.void | None:
        """Return the DEPTH that came with the tick ``seq``. Ask in order: what is passed is gone,
        and counted as lost."""
        while self._ahead or self._read():
            tick_seq = int(self._ahead[0]["tick_seq"])
            if tick_seq > seq:
                return None
            row = self._ahead.popleft()
            if tick_seq == seq:
                return row
            self._unasked += 1
        return None

    def _read(self) -> bool:
        rows = self._ring.read(READ_MAX)
        if not len(rows) and self._ring.superseded and self._ring.follow() is not None:
            rows = self._ring.read(READ_MAX)
        self._ahead.extend(rows)
        return len(rows) > 0

    @property
    def lost(self) -> int:
        """Rows that were overwritten before they were read, or whose tick was."""
        return self._ring.lost + self._unasked

    def close(self) -> None:
        self._ring.close()
        self._slot.close()
