"""When ticks are to be expected, by the clock of this machine. Pure.

Reconnecting and the watch over stalled ticks ask it; what may be traded when is risk's business.
"""

from __future__ import annotations

from datetime import time

from pipeline.settings import SessionSettings

DAY_NS = 24 * 3600 * 1_000_000_000
IST_OFFSET_NS = (5 * 3600 + 1800) * 1_000_000_000
EARLY_NS = 300 * 1_000_000_000  # connections are to stand this long before the session starts


class SessionHours:
    """The hours of [session], on every day; without them ticks may come at any time."""

    def __init__(self, session: SessionSettings | None) -> None:
        self._always = session is None
        self._start_ns = self._end_ns = 0
        if session is not None:
            self._start_ns = _since_midnight_ns(session.start)
            self._end_ns = _since_midnight_ns(session.end)

    def opens_in_ns(self, epoch_ns: int, early_ns: int = 0) -> int:
        """Return the time to ``early_ns`` before the next session; 0 from then to its end."""
        since_ns = self._since_start_ns(epoch_ns + early_ns)
        length_ns = self._end_ns - self._start_ns + early_ns
        return 0 if self._always or since_ns < length_ns else DAY_NS - since_ns

    def open_for_ns(self, epoch_ns: int) -> int:
        """Return how long the session has been open; 0 outside."""
        if self._always:
            return epoch_ns
        since_ns = self._since_start_ns(epoch_ns)
        return since_ns if since_ns < self._end_ns - self._start_ns else 0

    def _since_start_ns(self, epoch_ns: int) -> int:
        return (epoch_ns + IST_OFFSET_NS - self._start_ns) % DAY_NS


def _since_midnight_ns(moment: time) -> int:
    return (moment.hour * 3600 + moment.minute * 60 + moment.second) * 1_000_000_000
