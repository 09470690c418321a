"""What an exchange does on a day: open or not, from when to when, in which lots.

A look-up in the rulebook. Where no row holds, the answer is that it is not known; nobody guesses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, time
from enum import StrEnum

from pipeline.risk.rulebook import ContractShares, OddDay, Rulebook, SessionHours, Year
from pipeline.settings import Kind

SATURDAY = 5


class DayState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingDay:
    """One day of one segment, in IST."""

    day: date
    segment: str
    state: DayState = DayState.UNKNOWN
    name: str = ""  # the holiday, the occasion, or what is not known
    open: time | None = None  # of continuous trading, on an open day
    close: time | None = None
    auction: tuple[time, time] | None = None  # the closing auction
    source: str = ""
    as_of: date | None = None  # when the source was read

    @property
    def known(self) -> bool:
        """Whether the rulebook says anything of this day, if only that there is a session."""
        return self.state is not DayState.UNKNOWN or bool(self.source)


class Calendar:
    """The days that are known."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._hours = rulebook.session
        self._years = rulebook.calendar
        self._lots = rulebook.lots
        self._freeze = rulebook.freeze

    def day(self, segment: str, kind: Kind, day: date) -> TradingDay:
        """Return what ``segment`` does on ``day`` for instruments of ``kind``."""
        nothing = TradingDay(day=day, segment=segment, name="no calendar has this date")
        year = next((year for year in self._years if year.holds(segment, day)), None)
        if year is None:
            return nothing
        odd, hours = year.odd(day), self._hours_of(segment, kind, day)
        if odd is not None:
            return _odd_day(nothing, year, odd, hours)
        said = replace(nothing, source=year.source, as_of=year.as_of)
        if day.weekday() >= SATURDAY:
            return replace(said, state=DayState.CLOSED, name=f"{day:%A}")
        if hours is None:
            return replace(said, name=f"no hours of kind {kind} are known")
        return TradingDay(
            day=day,
            segment=segment,
            state=DayState.OPEN,
            open=hours.open,
            close=hours.close,
            auction=hours.auction,
            source=hours.source,
            as_of=hours.as_of,
        )

    def _hours_of(self, segment: str, kind: Kind, day: date) -> SessionHours | None:
        rows = (row for row in self._hours if row.kind in (None, kind))
        return next((row for row in rows if row.holds(segment, day)), None)

    def lot(self, segment: str, underlying: str, day: date) -> ContractShares | None:
        """Return the row that has the lot of ``underlying`` on ``day``, None where none does."""
        return _row_of(self._lots, segment, underlying, day)

    def freeze(self, segment: str, underlying: str, day: date) -> ContractShares | None:
        """Return the row that has the largest order in ``underlying``, None where none does."""
        return _row_of(self._freeze, segment, underlying, day)

    def underlyings(self) -> list[tuple[str, str]]:
        """Return (segment, underlying) of all contracts that some row has."""
        rows = (*self._lots, *self._freeze)
        return sorted({(s, name) for row in rows for s in row.segments for name in row.shares})

    @property
    def span(self) -> tuple[date, date] | None:
        """The first and the last date that some segment has a calendar of."""
        if not self._years:
            return None
        return min(year.first for year in self._years), max(year.last for year in self._years)


def _row_of(
    rows: tuple[ContractShares, ...], segment: str, underlying: str, day: date
) -> ContractShares | None:
    known = (row for row in rows if underlying in row.shares)
    return next((row for row in known if row.holds(segment, day)), None)


def _odd_day(
    nothing: TradingDay, year: Year, odd: OddDay, hours: SessionHours | None
) -> TradingDay:
    said = replace(nothing, name=odd.name, source=odd.source or year.source, as_of=year.as_of)
    if odd.hours == "unknown":
        return replace(said, name=f"{odd.name}: its hours are not known")
    if odd.open is None and odd.close is None:
        return replace(said, state=DayState.CLOSED)
    opens = odd.open or (hours.open if hours else None)
    closes = odd.close or (hours.close if hours else None)
    if opens is None or closes is None:
        return replace(said, name=f"{odd.name}: the other end of its hours is not known")
    return replace(said, state=DayState.OPEN, open=opens, close=closes)
