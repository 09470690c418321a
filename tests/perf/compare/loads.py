"""What is sent: steady rates, the burst of a market's open, and flat out.

The ticks are those of one day, played again from its start where a load needs more. Times of
sending are the load's own; the exchange's times in the ticks only have to go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDERS_PER_SECOND = 20  # enough for percentiles, few enough not to be the load themselves
WARM_UP_NS = np.arange(200, dtype=np.int64) * 2_000_000  # not measured: first calls, first pages
_DAY_NS = 24 * 3_600 * 1_000_000_000


@dataclass(frozen=True, eq=False)
class Load:
    """When ticks are sent, and what the strategy does besides."""

    name: str
    offsets_ns: NDArray[np.int64]  # empty: flat out
    seconds: float
    order_every: int = 0  # ticks from one order to the next; 0 = the guide's own signals
    work_us: int = 0  # the strategy computes this long on every tick

    @property
    def ticks_max(self) -> int:
        """How many ticks must be there."""
        return len(self.offsets_ns) or int(self.seconds * FLAT_OUT_PER_SECOND_MAX)


FLAT_OUT_PER_SECOND_MAX = 120_000  # more than a WebSocket client in Python takes


def steady(rate: int, seconds: float, *, orders: bool = True, work_us: int = 0) -> Load:
    """Return ``rate`` ticks a second, evenly spaced."""
    offsets_ns = np.arange(int(rate * seconds), dtype=np.int64) * (1_000_000_000 // rate)
    every = max(2, rate // ORDERS_PER_SECOND) if orders else 0
    name = f"{rate:,}/s" + (f", strategy {work_us / 1_000:g} ms" if work_us else "")
    return Load(name, offsets_ns, seconds, every, work_us)


def market_open(seconds: float) -> Load:
    """Return 1 000 ticks a second and, ten times a second, 160 more within a millisecond.

    The burst is that of a recorded exchange feed in a fast minute: 161 messages in a millisecond.
    """
    base = np.arange(int(1_000 * seconds), dtype=np.int64) * 1_000_000
    starts = np.arange(int(10 * seconds), dtype=np.int64) * 100_000_000
    within = np.arange(160, dtype=np.int64) * 1_000_000 // 160
    offsets_ns = np.sort(np.concatenate([base, (starts[:, None] + within).ravel()]), kind="stable")
    return Load("market open", offsets_ns, seconds, order_every=130)


def flat_out(seconds: float) -> Load:
    """Return as many ticks as the client takes."""
    return Load("flat out", np.zeros(0, np.int64), seconds, order_every=2_000)


def repeated(day: NDArray[np.void], count: int) -> NDArray[np.void]:
    """Return ``count`` ticks: the day, again and again, a day later each time."""
    rounds = -(-count // len(day))
    ticks = np.tile(day, rounds)
    ticks["ts_event_ns"] += np.repeat(np.arange(rounds) * _DAY_NS, len(day))
    return ticks[:count]
