"""What a connection lacks: told apart, so that a quiet market is no alarm. Pure.

    dead       not a byte came                                     the connection is lost
    stalled    bytes came and no tick of any instrument, in hours  it is opened again
    silent     one instrument was subscribed and never ticked      named once, and counted
    quiet      one instrument ticked, and does not while others do named once; a gap where
                                                                   the settings call it a stall

Times are CLOCK_MONOTONIC. A stall that opening anew did not cure is taken for a quiet market for
longer and longer, up to 16 times as long.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.settings import FeedSettings

_DOUBLINGS_MAX = 4


class Findings(NamedTuple):
    """What a look found; instruments by their place on the connection, each once."""

    dead_ns: int = 0  # silence that is too long
    stalled_ns: int = 0  # time without a tick that is too long
    silent: tuple[int, ...] = ()
    quiet: tuple[int, ...] = ()


class Freshness:
    """What is known of the bytes and the ticks of one connection."""

    def __init__(self, feed: FeedSettings, instrument_count: int) -> None:
        self._dead_ns_max = int(feed.silence_seconds_max * 1e9)
        self._stalled_ns_max = _ns(feed.stalled_seconds_in_force)
        self._silent_ns_max = int(feed.first_tick_seconds_max * 1e9)
        self._quiet_ns_max = _ns(feed.instrument_stalled_seconds_max)
        self._tick_ns = np.zeros(instrument_count, np.int64)  # of each one's last, 0 = never
        self._is_quiet = np.zeros(instrument_count, np.bool_)
        self._silent_told = False
        self.silent_count = 0
        self._opened_ns = 0
        self.byte_ns = 0  # when the last byte was in hand
        self.tick_ns = 0  # when the last tick was, or the connection was opened
        self._stalls = 0  # in a row

    @property
    def stalls(self) -> bool:
        """True from a stall until the next tick, whatever was opened anew in between."""
        return self._stalls > 0

    def opened(self, now_ns: int) -> None:
        """Note that everything was subscribed just now."""
        self._opened_ns = self.byte_ns = self.tick_ns = now_ns
        self._silent_told = False

    def ticked(self, places: NDArray[np.uint16] | int, now_ns: int) -> None:
        """Note ticks by the places of their instruments, or one by its place."""
        self.tick_ns = now_ns
        self._tick_ns[places] = now_ns
        self._stalls = 0

    def look(self, now_ns: int, open_for_ns: int) -> Findings:
        """Return what is wrong at ``now_ns``, in a session that is open for so long; 0 = none."""
        dead_ns = now_ns - self.byte_ns
        if dead_ns > self._dead_ns_max:
            return Findings(dead_ns=dead_ns)
        if not open_for_ns:
            return Findings()
        due_ns = now_ns - max(self.tick_ns, now_ns - open_for_ns)
        if self._stalled_ns_max and due_ns > self._stalled_ns_max << self._stalls:
            self._stalls = min(self._stalls + 1, _DOUBLINGS_MAX)
            return Findings(stalled_ns=due_ns)
        return Findings(silent=self._silent(now_ns, open_for_ns), quiet=self._quiet(now_ns))

    def _silent(self, now_ns: int, open_for_ns: int) -> tuple[int, ...]:
        """Return who never ticked, once for each subscription."""
        if min(now_ns - self._opened_ns, open_for_ns) <= self._silent_ns_max:
            return ()
        silent = np.flatnonzero(self._tick_ns == 0)
        self.silent_count = len(silent)
        if self._silent_told:
            return ()
        self._silent_told = True
        return tuple(silent.tolist())

    def _quiet(self, now_ns: int) -> tuple[int, ...]:
        """Return whose last tick is too long ago, though others tick."""
        if not self._quiet_ns_max:
            return ()
        quiet = (self._tick_ns > 0) & (self._tick_ns < self.tick_ns - self._quiet_ns_max)
        new = np.flatnonzero(quiet & ~self._is_quiet)
        self._is_quiet = quiet
        return tuple(new.tolist())

    def tick_ns_of(self, place: int) -> int:
        """Return when the last tick of an instrument was in hand, 0 = never."""
        return int(self._tick_ns[place])


def _ns(seconds: float | None) -> int:
    return 0 if seconds is None else int(seconds * 1e9)
