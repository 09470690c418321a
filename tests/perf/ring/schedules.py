"""When records are due: offsets in nanoseconds from the start of a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000_000_000
HEADLINE = "10 k/s"
BURST = "market open"
BURST_TICKS, BURST_SPACING_NS = 1_000, 1_000  # a thousand ticks within a millisecond …
BURSTS, BURST_INTERVAL_NS = 10, 50_000_000  # … ten times, each 50 ms after the last


class Schedule(NamedTuple):
    """A run: when its records are due, and how often it is taken in a turn of all peers."""

    name: str
    offsets_ns: NDArray[np.int64]
    turns: int = 1


def steady(per_second: int, count: int) -> NDArray[np.int64]:
    return np.arange(count, dtype=np.int64) * (SECOND // per_second)


def bursts() -> NDArray[np.int64]:
    """Return the offsets of a market open: nothing, then more than anyone keeps up with."""
    within = np.arange(BURST_TICKS, dtype=np.int64) * BURST_SPACING_NS
    starts = np.arange(BURSTS, dtype=np.int64) * BURST_INTERVAL_NS
    return (starts[:, None] + within).ravel()


# The headline comes in many short turns, so that all peers see the same minutes of the machine.
SCHEDULES = (
    Schedule(HEADLINE, steady(10_000, 500), turns=10),
    Schedule("1 k/s", steady(1_000, 500)),
    Schedule("100 k/s", steady(100_000, 20_000)),
    Schedule("1 M/s", steady(1_000_000, 100_000)),
    Schedule(BURST, bursts()),
)
RECORDS_MAX = max(len(schedule.offsets_ns) for schedule in SCHEDULES)
