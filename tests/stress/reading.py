"""A reader that checks what it reads as it comes, and knows what it should have."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ReaderLapped
from tests.rig import assert_intact

READ_MAX = 100


class Reading:
    """What one reader received, checked as it comes; what it lost, the ring's reader counts."""

    def __init__(self, ring: Any, *, views: bool = False) -> None:
        self.ring = ring
        self.start = ring.cursor
        self.received = 0
        self.batches = 0
        self.gaps = 0
        self._views = views
        self._last = self.start

    def read(self, limit: int = READ_MAX) -> int:
        """Read once; fail on a record that is torn, or not behind the one before, and where there
        was something and it was neither returned nor counted."""
        there, lost = self.ring.published > self.ring.cursor, self.ring.lost
        try:
            rows = self._view(limit) if self._views else self.ring.read(limit)
        except ReaderLapped:
            return 1  # counted in lost, and there is more
        if len(rows):
            assert int(rows["seq"][0]) > self._last, "order"
            assert_intact(rows)
            self._last = int(rows["seq"][-1])
            self.received += len(rows)
            self.batches += 1
        assert len(rows) or not there or self.ring.lost > lost, "neither received nor lost"
        return len(rows)

    def _view(self, limit: int) -> NDArray[np.void]:
        """Copy what is viewed; return what the release says was intact while it was copied."""
        rows: NDArray[np.void] = self.ring.view(limit).copy()
        before = self.ring.lost
        with contextlib.suppress(ReaderLapped):
            self.ring.release()
        return rows[self.ring.lost - before :]

    def follow(self) -> bool:
        """Go on in the next epoch, if there is one; fail where the sums do not add up."""
        before = self.ring.lost
        gap = self.ring.follow()
        if gap is None:
            return False
        assert self.ring.lost - before == gap.lost
        self.gaps += gap.lost > 0
        self.account()
        return True

    def account(self) -> dict[str, int]:
        """Return the sums; fail unless what was received and lost is what was published."""
        assert self.start + self.received + self.ring.lost == self.ring.cursor
        return {
            "start": self.start,
            "received": self.received,
            "lost": self.ring.lost,
            "lapped": self.ring.lapped,
            "gaps": self.gaps,
            "cursor": self.ring.cursor,
            "batches": self.batches,
        }
