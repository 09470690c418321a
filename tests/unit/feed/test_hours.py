"""When ticks are to be expected."""

from __future__ import annotations

from datetime import datetime

import pytest

from pipeline.feed.hours import SessionHours
from pipeline.records import IST
from pipeline.settings import SessionSettings
from tests.money import guide

MINUTE_NS = 60 * 1_000_000_000


def at(clock: str) -> int:
    return (
        int(datetime.fromisoformat(f"2026-11-27T{clock}").replace(tzinfo=IST).timestamp()) * 10**9
    )


@pytest.fixture
def hours() -> SessionHours:
    fields = guide().session.model_dump() | {"start": "09:15", "end": "15:30", "gates": True}
    return SessionHours(SessionSettings.model_validate(fields))


@pytest.mark.parametrize(
    ("clock", "minutes"),
    [
        ("09:15", 0),
        ("12:00", 0),
        ("15:29", 0),
        ("15:30", 17 * 60 + 45),
        ("09:00", 15),
        ("00:00", 555),
    ],
)
def test_the_next_session_is_so_far_away(hours: SessionHours, clock: str, minutes: int) -> None:
    assert hours.opens_in_ns(at(clock)) == minutes * MINUTE_NS


@pytest.mark.parametrize(("clock", "minutes"), [("09:09", 1), ("09:10", 0), ("15:29", 0)])
def test_connections_stand_before_the_session(
    hours: SessionHours, clock: str, minutes: int
) -> None:
    assert hours.opens_in_ns(at(clock), 5 * MINUTE_NS) == minutes * MINUTE_NS


@pytest.mark.parametrize(("clock", "minutes"), [("09:15", 0), ("09:17", 2), ("15:30", 0)])
def test_it_is_known_how_long_the_session_is_open(
    hours: SessionHours, clock: str, minutes: int
) -> None:
    assert hours.open_for_ns(at(clock)) == minutes * MINUTE_NS


def test_without_hours_it_is_always_session() -> None:
    always = SessionHours(None)
    assert always.opens_in_ns(at("03:00")) == 0
    assert always.open_for_ns(at("03:00")) > 0
