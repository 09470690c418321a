"""When entries may be made, when all must be flat: by the hours of [session] or by the calendar.

All in exchange time. With ``session.calendar`` the start and the end are those of the instrument's
exchange on the day of the tick; the buffers are those of the settings either way.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.risk.calendar import Calendar, TradingDay
from pipeline.risk.exits import NEVER_NS
from pipeline.risk.rulebook import Rulebook
from pipeline.settings import SessionSettings, Settings

MINUTE_NS = 60 * 1_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS
IST_OFFSET_NS = (5 * 60 + 30) * MINUTE_NS

_EPOCH = date(1970, 1, 1)

Days = Callable[[date], TradingDay]


def day_of(ts_event_ns: int) -> int:
    """Return the day in IST of an exchange time, as days since 1970-01-01."""
    return (ts_event_ns + IST_OFFSET_NS) // DAY_NS


@lru_cache(maxsize=4)
def day_text(day: int) -> str:
    """Return ``day`` as yymmdd."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%y%m%d")


def day_number(day: date) -> int:
    """Return ``day`` as days since 1970-01-01."""
    return (day - _EPOCH).days


def date_of(ts_event_ns: int) -> date:
    """Return the date in IST of an exchange time."""
    return _EPOCH + timedelta(days=day_of(ts_event_ns))


def dates_of(ts_event_ns: NDArray[np.int64]) -> list[date]:
    """Return the dates in IST of exchange times, each once and sorted; 0 is no time."""
    days = np.unique((ts_event_ns[ts_event_ns > 0] + IST_OFFSET_NS) // DAY_NS)
    return [_EPOCH + timedelta(days=int(day)) for day in days]


def clock_text(ts_event_ns: int) -> str:
    """Return the time of day in IST of an exchange time, to the second."""
    return _text(_of_day_ns(ts_event_ns))


class Window(NamedTuple):
    """The hours of one day, in ns since midnight."""

    opens_ns: int  # entries from here
    closes_ns: int  # to here, this moment excluded
    flat_ns: int  # from here on nothing is held
    closed: str = ""  # why there is no entry all day; empty = there is


class Hours:
    """When entries in an instrument are allowed; with the gates off, always."""

    def __init__(self, session: SessionSettings, days: Days | None = None) -> None:
        """Take the days of the instrument's exchange; without them all days are alike."""
        self._session = session
        self._days = days
        self._windows: dict[int, Window] = {}

    def closed(self, ts_event_ns: int) -> str:
        """Return why nobody may enter on the day of ``ts_event_ns``, empty if one may."""
        return self._window(ts_event_ns).closed if self._session.gates else ""

    def allow_entry(self, ts_event_ns: int) -> bool:
        """Tell whether an entry may be made on a tick of this exchange time."""
        if not self._session.gates:
            return True
        window = self._window(ts_event_ns)
        return not window.closed and window.opens_ns <= _of_day_ns(ts_event_ns) < window.closes_ns

    def flat_ns(self, ts_event_ns: int) -> int:
        """Return the exchange time at which a position entered now must be flat.

        On a day that is closed or not known it is that of ``session.end``: what is held closes.
        """
        if not self._session.gates:
            return NEVER_NS
        midnight_ns = day_of(ts_event_ns) * DAY_NS - IST_OFFSET_NS
        return midnight_ns + self._window(ts_event_ns).flat_ns

    def entries(self, ts_event_ns: int) -> str:
        """Return the hours of entry on the day of ``ts_event_ns``, for people."""
        if not self._session.gates:
            return "always"
        window = self._window(ts_event_ns)
        if window.closed or window.opens_ns >= window.closes_ns:
            return "none"
        return f"{_text(window.opens_ns)}-{_text(window.closes_ns)}"

    def _window(self, ts_event_ns: int) -> Window:
        day = day_of(ts_event_ns)
        if day not in self._windows:
            self._windows[day] = self._window_of(date_of(ts_event_ns))
        return self._windows[day]

    def _window_of(self, day: date) -> Window:
        usual = self._between(self._session.start, self._session.end)
        if self._days is None:
            return usual
        trading = self._days(day)
        if trading.open is None or trading.close is None:
            return usual._replace(closed=trading.name)
        return self._between(trading.open, trading.close)

    def _between(self, start: time, end: time) -> Window:
        session = self._session
        opens_ns = _since_midnight_ns(start) + MINUTE_NS * max(
            session.start_buffer_minutes, session.no_trade_start_minutes
        )
        end_ns = _since_midnight_ns(end)
        flat_ns = end_ns - MINUTE_NS * session.end_buffer_minutes
        closes_ns = min(flat_ns, end_ns - MINUTE_NS * session.no_trade_end_minutes)
        return Window(opens_ns, closes_ns, flat_ns)


def hours_of(settings: Settings, rulebook: Rulebook) -> list[Hours]:
    """Return the hours of every instrument, in the order of the settings."""
    session = settings.session
    if not session.calendar:
        return [Hours(session)] * len(settings.instruments)
    calendar = Calendar(rulebook)
    return [
        Hours(session, partial(calendar.day, instrument.exchange, instrument.kind))
        for instrument in settings.instruments
    ]


def _of_day_ns(ts_event_ns: int) -> int:
    return (ts_event_ns + IST_OFFSET_NS) % DAY_NS


def _since_midnight_ns(moment: time) -> int:
    return (moment.hour * 3600 + moment.minute * 60 + moment.second) * 1_000_000_000


def _text(of_day_ns: int) -> str:
    seconds = of_day_ns // 1_000_000_000
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
