"""One day of every segment as text: hours, holidays and contracts, and who says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, time
from typing import get_args

from pipeline.errors import UsageError, explain
from pipeline.risk.calendar import Calendar, TradingDay
from pipeline.risk.rulebook import ContractShares, Rulebook
from pipeline.settings import SHARES, Exchange, Kind

DAYS = ("segment", "kind", "hours", "auction", "source", "day")
CONTRACTS = ("segment", "underlying", "lot", "freeze", "largest order", "source")


def day_report(rulebook: Rulebook, day: date) -> str:
    """Return the report of ``day``. Raises UsageError for a date that no segment has."""
    calendar, sources = Calendar(rulebook), _Sources()
    days = list(_days(calendar, day))
    if not any(trading.known for _, trading in days):
        raise _outside(calendar, day)
    parts = [_table(DAYS, [_day_cells(kind, trading, sources) for kind, trading in days])]
    contracts = list(_contract_cells(calendar, day, sources))
    if contracts:
        parts.append(_table(CONTRACTS, contracts))
    return "\n\n".join([f"{day:%A}, {day}, IST", *parts, str(sources)])


class _Sources:
    """The sources in the order in which they are first named."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, source: str, as_of: date | None) -> str:
        if not source:
            return ""
        text = f"{source} (read {as_of})"
        return f"[{self._numbers.setdefault(text, len(self._numbers) + 1)}]"

    def __str__(self) -> str:
        return "\n".join(f"[{number}] {text}" for text, number in self._numbers.items())


def _days(calendar: Calendar, day: date) -> Iterator[tuple[Kind, TradingDay]]:
    share_kinds: tuple[Kind, ...] = ("share", "share_with_derivatives")
    for segment in get_args(Exchange):
        kinds: tuple[Kind, ...] = share_kinds if segment in SHARES else ("unstated",)
        for kind in kinds:
            yield kind, calendar.day(segment, kind, day)


def _day_cells(kind: Kind, trading: TradingDay, sources: _Sources) -> tuple[str, ...]:
    return (
        trading.segment,
        "" if kind == "unstated" else kind,
        _span(trading.open, trading.close) or trading.state,
        _span(*trading.auction) if trading.auction else "",
        sources.number(trading.source, trading.as_of),
        trading.name,
    )


def _contract_cells(calendar: Calendar, day: date, sources: _Sources) -> Iterator[tuple[str, ...]]:
    for segment, underlying in calendar.underlyings():
        rows = (calendar.lot(segment, underlying, day), calendar.freeze(segment, underlying, day))
        if any(rows):
            lot, freeze = (row.shares[underlying] if row else 0 for row in rows)
            largest = freeze // lot * lot if lot else 0
            numbers = [str(number) if number else "not known" for number in (lot, freeze, largest)]
            yield segment, underlying, *numbers, "".join(_numbers(rows, sources))


def _numbers(rows: Sequence[ContractShares | None], sources: _Sources) -> Iterator[str]:
    return (sources.number(row.source, row.as_of) for row in rows if row)


def _span(start: time | None, end: time | None) -> str:
    return f"{start:%H:%M}-{end:%H:%M}" if start and end else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows))


def _outside(calendar: Calendar, day: date) -> UsageError:
    has = "no day" if calendar.span is None else "{} to {}".format(*calendar.span)
    return UsageError(
        explain(
            f"{day} is outside the calendar",
            rule=f"the rulebook has {has}, and nothing is guessed",
            cure="ask for a day that it has, or add the year (docs/market-data.md)",
        )
    )
