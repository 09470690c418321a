"""The days that ship, against the circulars and against another calendar; and days of our own."""

from __future__ import annotations

import calendar as stdlib_calendar
from datetime import date, time, timedelta

import pytest

from pipeline.risk.calendar import Calendar, DayState, TradingDay
from pipeline.risk.files import read_rulebook
from pipeline.risk.rulebook import NO_RULES, parse_rulebook
from pipeline.settings import Exchange, Kind

SHIPPED = Calendar(read_rulebook())
EQUITY: tuple[Exchange, ...] = ("NSE", "NFO", "BSE", "BFO")

CLOSED_2026 = """
    01-15 01-26 03-03 03-26 03-31 04-03 04-14 05-01
    05-28 06-26 09-14 10-02 10-20 11-10 11-24 12-25
"""
CURRENCY_ONLY_2026 = "02-19 03-19 04-01 08-26"
COMMODITY_MORNINGS_2026 = """
    01-15 03-03 03-26 03-31 04-14 05-01
    05-28 06-26 09-14 10-20 11-10 11-24
"""
COMMODITY_CLOSED_2026 = "01-26 04-03 10-02 12-25"


def dates(days: str) -> set[date]:
    return {date.fromisoformat(f"2026-{day}") for day in days.split()}


def weekdays_of_2026() -> list[date]:
    days = (date(2026, 1, 1) + timedelta(days=n) for n in range(365))
    return [day for day in days if day.weekday() < stdlib_calendar.SATURDAY]


def on(segment: str, day: str, kind: Kind = "unstated") -> TradingDay:
    return SHIPPED.day(segment, kind, date.fromisoformat(day))


def closed_weekdays(segment: str) -> set[date]:
    days = (SHIPPED.day(segment, "unstated", day) for day in weekdays_of_2026())
    return {day.day for day in days if day.state is DayState.CLOSED}


@pytest.mark.parametrize("segment", EQUITY)
def test_shares_and_their_derivatives_are_closed_on_sixteen_weekdays_of_2026(
    segment: str,
) -> None:
    assert closed_weekdays(segment) == dates(CLOSED_2026)


def test_currency_derivatives_are_closed_on_bank_holidays_too() -> None:
    assert closed_weekdays("CDS") == dates(CLOSED_2026) | dates(CURRENCY_ONLY_2026)


def test_commodities_are_closed_all_day_on_four_weekdays_of_2026() -> None:
    assert closed_weekdays("MCX") == dates(COMMODITY_CLOSED_2026)


def test_commodities_open_at_five_in_the_evening_on_the_other_holidays() -> None:
    days = [SHIPPED.day("MCX", "unstated", day) for day in weekdays_of_2026()]
    late = {day.day for day in days if day.open == time(17)}
    assert late == dates(COMMODITY_MORNINGS_2026)
    assert on("MCX", "2026-11-24").close == time(23, 55)
    assert on("MCX", "2026-09-14").close == time(23, 30)


def test_every_weekday_of_2026_of_every_segment_is_known() -> None:
    for segment in (*EQUITY, "MCX", "CDS"):
        for day in weekdays_of_2026():
            said = SHIPPED.day(segment, "share", day)
            assert said.state is not DayState.UNKNOWN, (segment, day)
            assert said.source
            assert said.as_of is not None


@pytest.mark.filterwarnings("ignore")  # those of pandas
def test_the_closed_days_are_those_of_another_calendar() -> None:
    """XBOM of exchange_calendars, which lacks what was announced after its release."""
    other = pytest.importorskip("exchange_calendars", reason="pip install tickpipe[oracle]")
    sessions = {moment.date() for moment in other.get_calendar("XBOM").sessions}
    if max(sessions) < date(2026, 12, 31):
        pytest.skip(f"this exchange_calendars ends on {max(sessions)}")
    closed = {day for day in weekdays_of_2026() if day not in sessions}
    assert closed_weekdays("BSE") - closed <= dates("01-15")
    assert closed <= closed_weekdays("BSE")


@pytest.mark.parametrize(("day", "name"), [("2026-11-21", "Saturday"), ("2026-11-22", "Sunday")])
@pytest.mark.parametrize("segment", [*EQUITY, "MCX", "CDS"])
def test_weekends_are_closed(segment: str, day: str, name: str) -> None:
    said = on(segment, day)
    assert (said.state, said.name) == (DayState.CLOSED, name)


def test_the_sunday_of_the_budget_is_open() -> None:
    for segment in EQUITY:
        said = on(segment, "2026-02-01")
        assert (said.state, said.open, said.close) == (DayState.OPEN, time(9, 15), time(15, 30))
        assert "CMTR/72349" in said.source
    assert on("MCX", "2026-02-01").close == time(17)
    assert on("CDS", "2026-02-01").state is DayState.CLOSED


@pytest.mark.parametrize("segment", [*EQUITY, "MCX", "CDS"])
def test_muhurat_trading_is_not_known_until_its_hours_are(segment: str) -> None:
    said = on(segment, "2026-11-08")
    assert said.state is DayState.UNKNOWN
    assert said.known
    assert said.open is None
    assert "Muhurat" in said.name
    assert "not known" in said.name


@pytest.mark.parametrize("segment", ["NSE", "BSE"])
@pytest.mark.parametrize(
    ("day", "kind", "close", "auction"),
    [
        ("2026-07-31", "share", time(15, 30), None),
        ("2026-07-31", "share_with_derivatives", time(15, 30), None),
        ("2026-08-03", "share", time(15, 30), None),
        ("2026-08-03", "share_with_derivatives", time(15, 15), (time(15, 15), time(15, 35))),
    ],
)
def test_shares_with_derivatives_close_in_an_auction_from_august_2026(
    segment: str, day: str, kind: Kind, close: time, auction: tuple[time, time] | None
) -> None:
    said = on(segment, day, kind)
    assert (said.open, said.close, said.auction) == (time(9, 15), close, auction)


@pytest.mark.parametrize("segment", ["NFO", "BFO"])
def test_equity_derivatives_close_ten_minutes_later_from_august_2026(segment: str) -> None:
    assert on(segment, "2026-07-31", "option").close == time(15, 30)
    assert on(segment, "2026-08-03", "option").close == time(15, 40)


def test_the_hours_of_a_share_of_unstated_kind_are_not_known_from_august_2026() -> None:
    said = on("NSE", "2026-08-03")
    assert (said.state, said.open) == (DayState.UNKNOWN, None)
    assert said.name == "no hours of kind unstated are known"


@pytest.mark.parametrize(
    ("day", "close"),
    [
        ("2026-03-06", time(23, 55)),
        ("2026-03-09", time(23, 30)),
        ("2026-10-30", time(23, 30)),
        ("2026-11-02", time(23, 55)),
        ("2026-01-01", time(17)),  # New Year's Day has no evening session
    ],
)
def test_the_close_of_commodities_moves_with_summer_time_in_the_us(day: str, close: time) -> None:
    assert (on("MCX", day).open, on("MCX", day).close) == (time(9), close)


@pytest.mark.parametrize("day", ["2025-12-31", "2027-01-01", "1970-01-01"])
def test_a_date_that_no_calendar_has_is_not_guessed(day: str) -> None:
    said = on("NSE", day)
    assert (said.state, said.open, said.source) == (DayState.UNKNOWN, None, "")
    assert not said.known
    assert said.name == "no calendar has this date"


def test_without_rules_nothing_is_known() -> None:
    nothing = Calendar(NO_RULES)
    assert not nothing.day("NSE", "share", date(2026, 11, 23)).known
    assert nothing.lot("NFO", "NIFTY", date(2026, 11, 23)) is None
    assert nothing.underlyings() == []
    assert nothing.span is None


def test_the_span_is_from_the_first_date_to_the_last() -> None:
    assert SHIPPED.span == (date(2026, 1, 1), date(2026, 12, 31))


# Contracts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "shares"),
    [("2025-10-01", 75), ("2025-10-28", 75), ("2025-12-31", 65), ("2026-11-23", 65)],
)
def test_the_lot_is_that_of_the_day(day: str, shares: int) -> None:
    row = SHIPPED.lot("NFO", "NIFTY", date.fromisoformat(day))
    assert row is not None
    assert row.shares["NIFTY"] == shares
    assert "FAOP/70616" in row.source


@pytest.mark.parametrize("day", ["2025-10-29", "2025-12-30", "2025-07-31", "2027-01-01"])
def test_a_lot_is_not_known_while_two_are_in_use_or_outside_the_rows(day: str) -> None:
    assert SHIPPED.lot("NFO", "NIFTY", date.fromisoformat(day)) is None


def test_an_underlying_that_no_row_has_has_no_lot() -> None:
    assert SHIPPED.lot("NFO", "SENSEX", date(2026, 11, 23)) is None
    assert SHIPPED.lot("BFO", "SENSEX", date(2026, 11, 23)) is not None


@pytest.mark.parametrize(
    ("underlying", "day", "shares"),
    [
        ("NIFTY", "2026-12-31", 1800),
        ("BANKNIFTY", "2025-10-31", 900),
        ("BANKNIFTY", "2025-11-03", 600),
        ("FINNIFTY", "2025-12-01", 1200),
        ("FINNIFTY", "2026-02-02", 1800),
        ("NIFTYNXT50", "2026-10-05", 600),
    ],
)
def test_the_largest_order_is_that_of_the_day(underlying: str, day: str, shares: int) -> None:
    row = SHIPPED.freeze("NFO", underlying, date.fromisoformat(day))
    assert row is not None
    assert row.shares[underlying] == shares


# Days of our own -----------------------------------------------------------------------------

SAID = {"segments": ["MCX"], "from": "2030-01-01", "until": "2030-12-31"}
SOURCE = {"source": "a circular", "as_of": "2030-01-01"}
NINE_TO_FIVE = {**SAID, **SOURCE, "open": "09:00", "close": "17:00"}


def calendar_of(*days: dict[str, str], hours: bool = True) -> Calendar:
    return Calendar(
        parse_rulebook(
            [
                {"calendar": [{**SAID, **SOURCE, "days": list(days)}]},
                {"session": [NINE_TO_FIVE] if hours else []},
            ]
        )
    )


def test_an_odd_day_takes_the_end_that_it_does_not_name_from_the_week() -> None:
    calendar = calendar_of({"date": "2030-01-02", "name": "morning off", "open": "13:00"})
    said = calendar.day("MCX", "future", date(2030, 1, 2))
    assert (said.state, said.open, said.close) == (DayState.OPEN, time(13), time(17))
    assert (said.name, said.source, said.as_of) == ("morning off", "a circular", date(2030, 1, 1))


def test_an_odd_day_whose_other_end_no_row_has_is_not_known() -> None:
    odd = {"date": "2030-01-02", "name": "morning off", "open": "13:00"}
    said = calendar_of(odd, hours=False).day("MCX", "future", date(2030, 1, 2))
    assert (said.state, said.open, said.close) == (DayState.UNKNOWN, None, None)
    assert "not known" in said.name


def test_a_source_of_a_day_goes_before_that_of_its_year() -> None:
    calendar = calendar_of({"date": "2030-01-02", "name": "off", "source": "a later circular"})
    assert calendar.day("MCX", "future", date(2030, 1, 2)).source == "a later circular"


def test_a_weekday_without_hours_is_not_known() -> None:
    said = calendar_of(hours=False).day("MCX", "future", date(2030, 1, 2))
    assert said.state is DayState.UNKNOWN
    assert said.name == "no hours of kind future are known"
