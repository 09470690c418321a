"""The hours of [session] in exchange time."""

from __future__ import annotations

import pytest

from pipeline.risk.exits import NEVER_NS
from pipeline.risk.hours import Hours, clock_text, day_of, day_text
from tests.money import HOURS, at, guide


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
    assert str(Hours(guide(*HOURS).session)) == "09:20:00-15:10:00"
    assert str(Hours(guide().session)) == "always"
