"""When ticks are to be expected, by the clock of this machine. Pure.

Reconnecting and the watch over stalled ticks ask it; what may be traded when is risk's business.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time

DAY_NS = 24 * 3600 * 1_000_000_000
IST_OFFSET_NS = (5 * 3600 + 1800) * 1_000_000_000
EARLY_NS = 300 * 1_000_000_000  # connections are to stand this long before the session starts
DAYS_AHEAD_MAX = 15  # no market is closed for longer

_EPOCH_DAY = date(1970, 1, 1).toordinal()

Days = Callable[[date], tuple[time, time] | None]  # from when to when, None = closed all day


class SessionHours:
    """The sessions of ``days``, in IST; without them ticks may come at any time."""

    def __init__(self, days: Days | None) -> None:
        self._days = days
        self._windows: dict[int, tuple[int, int] | None] = {}

    def opens_in_ns(self, epoch_ns: int, early_ns: int = 0) -> int:
        """Return the time to ``early_ns`` before the next session; 0 from then to its end."""
        if self._days is None:
            return 0
        today = _day_of(epoch_ns)
        for day in range(today, today + DAYS_AHEAD_MAX):
            window = self._window(day)
            if window is not None and epoch_ns < window[1]:
                return max(0, window[0] - early_ns - epoch_ns)
        return DAY_NS

    def open_for_ns(self, epoch_ns: int) -> int:
        """Return how long the session has been open; 0 outside."""
        if self._days is None:
            return epoch_ns
        window = self._window(_day_of(epoch_ns))
        if window is None or not window[0] <= epoch_ns < window[1]:
            return 0
        return epoch_ns - window[0]

    def _window(self, day: int) -> tuple[int, int] | None:
        """Return start and end of a day's session, epoch."""
        if day not in self._windows:
            assert self._days is not None, "asked before"
            hours = self._days(date.fromordinal(_EPOCH_DAY + day))
            midnight_ns = day * DAY_NS - IST_OFFSET_NS
            self._windows[day] = hours and (
                midnight_ns + _since_midnight_ns(hours[0]),
                midnight_ns + _since_midnight_ns(hours[1]),
            )
        return self._windows[day]


def _day_of(epoch_ns: int) -> int:
    return (epoch_ns + IST_OFFSET_NS) // DAY_NS


def _since_midnight_ns(moment: time) -> int:
    return (moment.hour * 3600 + moment.minute * 60 + moment.second) * 1_000_000_000
