"""The newest tick of each instrument that the feed had in hand: what the next feed goes on from.

A broker answers a subscription with the present price of every instrument, however old. A feed
that takes over has to know which of these its ring has already, so this table outlives the feed
that writes it. A tick is noted before it is published; one that a killed feed had noted and not
published is forgotten here, or it would never reach anybody.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.layout import CLAIMED, PUBLISHED, Kind
from pipeline.channels.segment import Segment, attach_segment, create_segment, peek_header
from pipeline.records import INSTRUMENTS_MAX, TICK

NEWEST = "newest.table"

_NOTED_OTHERWISE = {"seq", "instrument", "flags"}  # than on the ring
_SAME = [name for name in TICK.names or () if name not in _NOTED_OTHERWISE]


def create_newest(directory: Path, ring: Path, count: int) -> Segment:
    """Create the table for ``count`` instruments, with what is on ``ring`` and those before it.

    To be called while ``ring`` is still that of the feed before.
    """
    path = directory / NEWEST
    known = _published(path, ring) if path.exists() and ring.exists() else None
    return create_segment(path, Kind.TABLE, TICK, 1 << (count - 1).bit_length(), known)


def _published(path: Path, ring: Path) -> NDArray[np.void]:
    """Return the rows of the table at ``path``, those that were not published as zeros."""
    table = attach_segment(path, Kind.TABLE, TICK)
    rows = table.load(0, table.capacity)
    table.close()
    tail, opened_ns = _tail(ring)
    since_ns = int(tail["ts_recv_ns"][-1]) if len(tail) else opened_ns
    last = np.zeros(INSTRUMENTS_MAX + 1, TICK)
    last[tail["instrument"]] = tail  # of several the last
    last = last[: len(rows)]
    is_on_ring = np.logical_and.reduce([rows[name] == last[name] for name in _SAME])
    rows[(rows["ts_recv_ns"] >= since_ns) & ~is_on_ring] = np.zeros(1, TICK)
    return rows


def _tail(path: Path) -> tuple[NDArray[np.void], int]:
    """Return what a dead writer's ring still has, and when it was opened, CLOCK_MONOTONIC."""
    ring = attach_segment(path, Kind.RING, TICK)
    published, claimed = ring.words[PUBLISHED], ring.words[CLAIMED]
    count = min(published - ring.base, ring.capacity - (claimed - published))
    rows = ring.load(published - count, count)
    ring.close()
    header = peek_header(path)
    assert header is not None, "it was attached"
    return rows, int(header["created_ns"] - header["monotonic_offset_ns"])
