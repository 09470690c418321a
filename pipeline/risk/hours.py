"""The hours of [session], in exchange time: when entries may be made, when all must be flat."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from pipeline.risk.exits import NEVER_NS
from pipeline.settings import SessionSettings

MINUTE_NS = 60 * 1_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS
IST_OFFSET_NS = (5 * 60 + 30) * MINUTE_NS


def day_of(ts_event_ns: int) -> int:
    """Return the day in IST of an exchange time, as days since 1970-01-01."""
    return (ts_event_ns + IST_OFFSET_NS) // DAY_NS


def day_text(day: int) -> str:
    """Return ``day`` as yymmdd."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).strftime("%y%m%d")


def clock_text(ts_event_ns: int) -> str:
    """Return the time of day in IST of an exchange time, to the second."""
    return _text(_of_day_ns(ts_event_ns))


class Hours:
    """When entries are allowed; with the gates off, always."""

    def __init__(self, session: SessionSettings) -> None:
        self._gates = session.gates
        self._opens_ns = _since_midnight_ns(session.start) + MINUTE_NS * max(
            session.start_buffer_minutes, session.no_trade_start_minutes
        )
        end_ns = _since_midnight_ns(session.end)
        self._flat_ns = end_ns - MINUTE_NS * session.end_buffer_minutes
        self._closes_ns = min(self._flat_ns, end_ns - MINUTE_NS * session.no_trade_end_minutes)

    def allow_entry(self, ts_event_ns: int) -> bool:
        """Tell whether an entry may be made on a tick of this exchange time."""
        return not self._gates or self._opens_ns <= _of_day_ns(ts_event_ns) < self._closes_ns

    def flat_ns(self, ts_event_ns: int) -> int:
        """Return the exchange time at which a position entered now must be flat."""
        if not self._gates:
            return NEVER_NS
        return day_of(ts_event_ns) * DAY_NS - IST_OFFSET_NS + self._flat_ns

    def __str__(self) -> str:
        return f"{_text(self._opens_ns)}-{_text(self._closes_ns)}" if self._gates else "always"


def _of_day_ns(ts_event_ns: int) -> int:
    return (ts_event_ns + IST_OFFSET_NS) % DAY_NS


def _since_midnight_ns(moment: time) -> int:
    return (moment.hour * 3600 + moment.minute * 60 + moment.second) * 1_000_000_000


def _text(of_day_ns: int) -> str:
    seconds = of_day_ns // 1_000_000_000
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
