"""The hours of [session] in exchange time, and those of the calendar in their place."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from pipeline.risk.exits import NEVER_NS
from pipeline.risk.files import read_rulebook
from pipeline.risk.hours import (
    Hours,
    clock_text,
    date_of,
    dates_of,
    day_number,
    day_of,
    day_text,
    hours_of,
)
from pipeline.risk.rulebook import NO_RULES
from tests.money import CALENDAR, HOURS, at, guide, instrument_of, two_instruments


@pytest.mark.parametrize(
    ("clock", "allowed"),
    [
        ("09:15:00", False),
        ("09:19:59", False),
        ("09:20:00", True),
        ("15:09:59", True),
        ("15:10:00", False),
        ("15:29:00", False),
        ("03:00:00", False),
    ],
)
def test_entries_start_after_the_opening_buffer_and_end_before_the_closing_one(
    clock: str, allowed: bool
) -> None:
    assert Hours(guide(*HOURS).session).allow_entry(at(clock)) is allowed


@pytest.mark.parametrize(
    ("key", "clock"), [("start_buffer_minutes", "09:29:59"), ("no_trade_start_minutes", "09:29:59")]
)
def test_the_longer_of_the_two_opening_gates_holds(key: str, clock: str) -> None:
    hours = Hours(guide(*HOURS, f"session.{key}=15").session)
    assert not hours.allow_entry(at(clock))
    assert hours.allow_entry(at("09:30:00"))


def test_the_longer_of_the_two_closing_gates_holds() -> None:
    hours = Hours(guide(*HOURS, "session.no_trade_end_minutes=30").session)
    assert hours.allow_entry(at("14:59:59"))
    assert not hours.allow_entry(at("15:00:00"))
    assert hours.flat_ns(at("11:00:00")) == at("15:10:00")


def test_with_the_gates_off_every_hour_is_open_and_nothing_must_be_flat() -> None:
    hours = Hours(guide().session)
    assert hours.allow_entry(at("03:00:00"))
    assert hours.flat_ns(at("11:00:00")) == NEVER_NS


def test_the_flat_time_is_that_of_the_tick_s_own_day_in_india() -> None:
    hours = Hours(guide(*HOURS).session)
    assert hours.flat_ns(at("00:00:00")) == at("15:10:00")  # 18:30 of the day before in UTC
    assert hours.flat_ns(at("23:59:59")) == at("15:10:00")


@pytest.mark.parametrize("clock", ["00:00:00", "05:29:59", "05:30:00", "23:59:59"])
def test_a_day_starts_at_midnight_in_india(clock: str) -> None:
    assert day_text(day_of(at(clock))) == "251001"


def test_a_time_is_shown_as_people_in_india_read_it() -> None:
    assert clock_text(at("15:09:59")) == "15:09:59"
    assert Hours(guide(*HOURS).session).entries(at("12:00:00")) == "09:20:00-15:10:00"
    assert Hours(guide().session).entries(at("12:00:00")) == "always"


def test_dates_are_those_in_india() -> None:
    assert date_of(at("00:00:00")) == date(2025, 10, 1)
    assert day_number(date(2025, 10, 1)) == day_of(at("23:59:59"))
    times = [0, at("10:00:00", "2025-10-03"), at("00:00:00"), at("23:59:59")]
    assert dates_of(np.array(times, np.int64)) == [date(2025, 10, 1), date(2025, 10, 3)]


# From the calendar ---------------------------------------------------------------------------


def hours_on(exchange: str, *overrides: str, kind: str = "unstated") -> Hours:
    settings = instrument_of(guide(*CALENDAR, *overrides), exchange=exchange, kind=kind)
    (hours,) = hours_of(settings, read_rulebook())
    return hours


@pytest.mark.parametrize(
    ("exchange", "kind", "day", "entries", "flat"),
    [
        ("NFO", "option", "2026-07-31", "09:20:00-15:10:00", "15:10:00"),
        ("NFO", "option", "2026-08-03", "09:20:00-15:20:00", "15:20:00"),
        ("NSE", "share", "2026-08-03", "09:20:00-15:10:00", "15:10:00"),
        ("NSE", "share_with_derivatives", "2026-08-03", "09:20:00-14:55:00", "14:55:00"),
        ("MCX", "future", "2026-11-24", "17:05:00-23:35:00", "23:35:00"),
        ("CDS", "future", "2026-11-23", "09:05:00-16:40:00", "16:40:00"),
    ],
)
def test_start_and_end_come_from_the_calendar_and_the_buffers_from_the_settings(
    exchange: str, kind: str, day: str, entries: str, flat: str
) -> None:
    hours = hours_on(exchange, kind=kind)
    noon = at("12:00:00", day)
    first, end = entries.split("-")
    assert hours.entries(noon) == entries
    assert hours.closed(noon) == ""
    assert hours.allow_entry(at(first, day))
    assert not hours.allow_entry(at(first, day) - 1)
    assert hours.allow_entry(at(end, day) - 1)
    assert not hours.allow_entry(at(end, day))
    assert hours.flat_ns(noon) == at(flat, day)


def test_two_days_in_turn_have_their_own_hours() -> None:
    hours = hours_on("NFO", kind="option")
    for _ in range(2):
        assert hours.flat_ns(at("10:00:00", "2026-07-31")) == at("15:10:00", "2026-07-31")
        assert hours.flat_ns(at("10:00:00", "2026-08-03")) == at("15:20:00", "2026-08-03")


@pytest.mark.parametrize(
    ("day", "why"),
    [
        ("2026-11-24", "Prakash Gurpurb Sri Guru Nanak Dev"),
        ("2026-11-22", "Sunday"),
        ("2025-10-01", "no calendar has this date"),
        ("2027-01-04", "no calendar has this date"),
    ],
)
def test_on_a_day_that_is_closed_or_not_known_nobody_enters_and_what_is_held_closes(
    day: str, why: str
) -> None:
    hours = hours_on("NFO", kind="option")
    noon = at("12:00:00", day)
    assert hours.closed(noon) == why
    assert not hours.allow_entry(noon)
    assert hours.entries(noon) == "none"
    assert hours.flat_ns(noon) == at("15:10:00", day)  # that of session.end


def test_every_instrument_has_the_hours_of_its_exchange() -> None:
    settings = two_instruments(*CALENDAR)
    index, metal = settings.instruments
    metal = metal.model_copy(update={"exchange": "MCX"})
    settings = settings.model_copy(update={"instruments": (index, metal)})
    first, second = hours_of(settings, read_rulebook())
    noon = at("12:00:00", "2026-11-24")
    assert first.closed(noon) == "Prakash Gurpurb Sri Guru Nanak Dev"
    assert second.closed(noon) == ""


def test_without_the_calendar_all_days_are_alike() -> None:
    (hours,) = hours_of(guide(*HOURS), NO_RULES)
    for day in ("2026-11-22", "2026-11-24", "2027-01-04"):
        assert hours.closed(at("12:00:00", day)) == ""
        assert hours.allow_entry(at("12:00:00", day))


def test_buffers_that_leave_nothing_are_no_hours() -> None:
    hours = hours_on("NSE", "session.end_buffer_minutes=365", kind="share_with_derivatives")
    noon = at("12:00:00", "2026-08-03")  # 6 hours long, as session.end has it 6 ¼
    assert hours.closed(noon) == ""
    assert hours.entries(noon) == "none"
    assert not hours.allow_entry(noon)
