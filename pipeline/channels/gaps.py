"""The gaps that the feed noticed, beside the ticks: read when there is one, and free otherwise.

The feed publishes a gap before the tick that ended it. So whoever has that tick, and looks at
``ready`` then, has the gap too. A feed makes this ring before that of the ticks: who follows to the
next ring of ticks finds the next ring of gaps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import Implementation
from pipeline.channels.layout import PUBLISHED
from pipeline.channels.readers import private_slot
from pipeline.records import GAP, Gap, GapReason, WhenLapped

GAPS = "gaps.ring"
GAPS_CAPACITY = 1_024


class GapReader:
    """Reads the ring of gaps; nobody waits for it."""

    def __init__(self, path: Path, channels: Implementation) -> None:
        self._slot = private_slot("gaps")
        self._ring = channels.RingReader(path, GAP, self._slot, WhenLapped.OLDEST)
        self._note()

    def _note(self) -> None:
        self._words, self._cursor = self._ring.words, self._ring.cursor

    @property
    def ready(self) -> bool:
        """True when there is a gap to ``take``. It is one load, as it is asked for every tick; the
        ring of the next feed is found by ``take`` alone."""
        return self._words[PUBLISHED] != self._cursor

    def take(self) -> NDArray[np.void]:
        """Return the GAP rows since the last call, those of the next feed too."""
        rows = self._ring.read(GAPS_CAPACITY)
        if not len(rows) and self._ring.superseded and self._ring.follow() is not None:
            rows = self._ring.read(GAPS_CAPACITY)
        self._note()
        return rows

    def close(self) -> None:
        self._ring.close()
        self._slot.close()


def gap_of(row: np.void) -> Gap:
    """Return a GAP row as a strategy is told of it."""
    first = int(row["first_instrument"])
    return Gap(
        reason=GapReason(row["reason"].decode()),
        lost=0,
        began_ns=int(row["began_epoch_ns"]),
        ended_ns=int(row["ended_epoch_ns"]),
        instruments=range(first, first + int(row["instrument_count"])),
    )
