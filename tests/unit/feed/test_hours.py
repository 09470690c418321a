"""When ticks are to be expected."""

from __future__ import annotations

from datetime import date, datetime, time

import pytest

from pipeline.feed.hours import DAY_NS, SessionHours
from pipeline.records import IST

MINUTE_NS = 60 * 1_000_000_000
START, END = time(9, 15), time(15, 30)


def at(clock: str, day: str = "2026-11-26") -> int:
    """Return an epoch time; the day is a Thursday."""
    return int(datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=IST).timestamp()) * 10**9


@pytest.fixture
def hours() -> SessionHours:
    """Return sessions on weekdays, a short one on Monday 30 November."""

    def days(day: date) -> tuple[time, time] | None:
        if day.weekday() >= 5:
            return None
        return (time(18, 0), time(19, 0)) if day == date(2026, 11, 30) else (START, END)

    return SessionHours(days)


@pytest.mark.parametrize(
    ("clock", "minutes"),
    [("09:15", 0), ("12:00", 0), ("15:29", 0), ("15:30", 1_065), ("09:00", 15), ("00:00", 555)],
)
def test_the_next_session_is_so_far_away(hours: SessionHours, clock: str, minutes: int) -> None:
    assert hours.opens_in_ns(at(clock)) == minutes * MINUTE_NS


@pytest.mark.parametrize(("clock", "minutes"), [("09:09", 1), ("09:10", 0), ("15:29", 0)])
def test_connections_stand_before_the_session(
    hours: SessionHours, clock: str, minutes: int
) -> None:
    assert hours.opens_in_ns(at(clock), 5 * MINUTE_NS) == minutes * MINUTE_NS


def test_days_without_a_session_are_passed_over(hours: SessionHours) -> None:
    friday_evening = at("15:30", "2026-11-27")
    assert hours.opens_in_ns(friday_evening) == 3 * DAY_NS + 150 * MINUTE_NS
    assert hours.open_for_ns(at("12:00", "2026-11-28")) == 0
    assert hours.open_for_ns(at("12:00", "2026-11-30")) == 0
    assert hours.open_for_ns(at("18:10", "2026-11-30")) == 10 * MINUTE_NS


def test_early_may_be_the_day_before() -> None:
    hours = SessionHours(lambda day: (time(0, 2), time(1, 0)))
    assert hours.opens_in_ns(at("23:58"), 5 * MINUTE_NS) == 0
    assert hours.opens_in_ns(at("23:56"), 5 * MINUTE_NS) == MINUTE_NS


@pytest.mark.parametrize(("clock", "minutes"), [("09:15", 0), ("09:17", 2), ("15:30", 0)])
def test_it_is_known_how_long_the_session_is_open(
    hours: SessionHours, clock: str, minutes: int
) -> None:
    assert hours.open_for_ns(at(clock)) == minutes * MINUTE_NS


def test_where_no_session_is_known_it_is_looked_for_again_a_day_later() -> None:
    assert SessionHours(lambda day: None).opens_in_ns(at("12:00")) == DAY_NS


def test_without_hours_it_is_always_session() -> None:
    always = SessionHours(None)
    assert always.opens_in_ns(at("03:00")) == 0
    assert always.open_for_ns(at("03:00")) > 0
