"""Reading the market data that ships, and what a broken file is told as."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import write_ticks
from pipeline.errors import TickpipeError, UserError
from pipeline.records import IST
from pipeline.risk.files import (
    DATA,
    carry_over,
    read_rulebook,
    rulebook_for,
    session_days,
    start_notices,
)
from pipeline.risk.history import START, Event
from pipeline.risk.ledger import Ledger
from pipeline.risk.mandate import CARRIED, STATE
from pipeline.risk.rulebook import NO_RULES
from pipeline.risk.starting import check_start
from tests.money import CALENDAR, GATES, at, guide, tick, tick_array

GST = """
[[gst]]
segments = ["NFO"]
from = {year}-01-01
until = {year}-12-31
percent = 18.1
round = 0.01
source = "a circular"
as_of = 2030-01-01
"""


def test_every_toml_file_of_the_folder_is_read_and_nothing_else(tmp_path: Path) -> None:
    for year in (2030, 2031):
        (tmp_path / f"{year}.toml").write_text(GST.format(year=year))
    (tmp_path / "notes.txt").write_text("not TOML")
    assert len(read_rulebook(tmp_path).gst) == 2


def test_a_rate_is_the_decimal_that_was_written(tmp_path: Path) -> None:
    (tmp_path / "rates.toml").write_text(GST.format(year=2030))
    assert read_rulebook(tmp_path).gst[0].percent == Decimal("18.1")


@pytest.mark.parametrize("content", [b"[[gst]", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.toml").write_bytes(content)
    with pytest.raises(TickpipeError, match=r"rulebook, broken\.toml: "):
        read_rulebook(tmp_path)


def test_an_empty_folder_has_no_rules(tmp_path: Path) -> None:
    assert read_rulebook(tmp_path) == NO_RULES


def test_the_files_that_ship_are_read() -> None:
    names = {file.name for file in resources.files(DATA).iterdir() if file.name.endswith(".toml")}
    assert names == {"charges.toml", "contracts.toml", "days_2026.toml", "sessions.toml"}
    rulebook = read_rulebook()
    assert all(getattr(rulebook, table) for table in type(rulebook).model_fields)


def test_settings_that_need_no_data_read_none() -> None:
    assert rulebook_for(guide()) is NO_RULES
    assert rulebook_for(guide(GATES, "session.calendar=true")) == read_rulebook()
    assert rulebook_for(guide('risk.charges="zerodha"')) == read_rulebook()


# Start-up ------------------------------------------------------------------------------------

REPUBLIC_DAY = ["NFO on 2026-01-26: closed, Republic Day; entries are refused"]


def test_the_days_that_are_checked_are_those_of_the_ticks() -> None:
    rows = [tick(1, 100, ts_event_ns=at("10:00:00", day)) for day in ("2026-01-23", "2026-01-26")]
    assert start_notices(guide(*CALENDAR), tick_array(*rows)) == REPUBLIC_DAY


def test_the_days_that_are_checked_are_those_of_the_recording(tmp_path: Path) -> None:
    day = tmp_path / "day.csv"
    write_ticks(day, tick_array(tick(1, 100, ts_event_ns=at("10:00:00", "2026-01-26"))))
    recorded = ('feed.broker="recorded"', f'feed.recording="{day}"')
    assert start_notices(guide(*CALENDAR, *recorded)) == REPUBLIC_DAY


def test_without_ticks_today_is_checked() -> None:
    settings = guide(*CALENDAR)
    before = datetime.now(IST).date()
    notices = start_notices(settings)
    days = (before, datetime.now(IST).date())
    assert notices in [check_start(settings, read_rulebook(), [day]) for day in days]


def test_a_recording_is_not_read_where_no_data_is_needed(tmp_path: Path) -> None:
    recorded = ('feed.broker="recorded"', f'feed.recording="{tmp_path / "none.csv"}"')
    assert start_notices(guide(GATES, *recorded)) == []


def test_ticks_are_expected_at_any_time_with_the_gates_off() -> None:
    assert session_days(guide()) is None


def test_without_the_calendar_every_day_has_the_hours_of_the_settings() -> None:
    settings = guide(GATES)
    days = session_days(settings)
    assert days is not None
    usual = (settings.session.start, settings.session.end)
    assert days(date(2026, 11, 26)) == days(date(2026, 12, 25)) == usual


def test_with_the_calendar_a_holiday_has_none_and_an_unknown_day_those_of_the_settings() -> None:
    settings = guide(*CALENDAR)
    days = session_days(settings)
    assert days is not None
    assert days(date(2026, 12, 25)) is None
    assert days(date(2026, 11, 28)) is None
    assert days(date(2026, 11, 26)) == (time(9, 15), time(15, 40))
    assert days(date(2041, 1, 2)) == (settings.session.start, settings.session.end)


# From one day to the next ---------------------------------------------------------------------


def write_ledger(path: Path, *requests: str) -> None:
    with Ledger.open(path) as ledger:
        ledger.put(Event(START, "", 0))
        for request in requests:
            ledger.put(Event(STATE, request, 0))


def begin(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """Begin the ledger at ``path``; return what is told, and the events in it."""
    with Ledger.open(path) as ledger:
        told = carry_over(ledger, path, 1)
        return told, [(event.kind, event.text) for event in ledger.events()]


HALT = "HALTED halt by a: news"


def test_a_day_begins_with_the_halt_that_the_newest_day_before_left(tmp_path: Path) -> None:
    write_ledger(tmp_path / "ledger_mine_20261102.sqlite", "HALTED halt by a: old")
    write_ledger(tmp_path / "ledger_mine_20261120.sqlite", HALT)
    write_ledger(tmp_path / "ledger_mine_20261124.sqlite", "HALTED halt by a: later")
    write_ledger(tmp_path / "ledger_mine_20261120_101112_000001.sqlite", "HALTED own ledger")
    told, events = begin(tmp_path / "ledger_mine_20261123.sqlite")
    assert told.startswith(f"{HALT}, since 2026-11-20: nobody has resumed since")
    assert events == [(CARRIED, told), (STATE, f"{HALT}, since 2026-11-20")]
    told, events = begin(tmp_path / "ledger_mine_20261123.sqlite")
    assert (told, len(events)) == ("", 2), "it began already"


@pytest.mark.parametrize(
    ("name", "requests"),
    [("mine", [HALT, "ACTIVE resume by a"]), ("mine", ["HALTED daily_loss"]), ("other", [HALT])],
)
def test_a_day_begins_active_after_a_resume_a_daily_loss_or_a_halt_of_another_run(
    name: str, requests: list[str], tmp_path: Path
) -> None:
    write_ledger(tmp_path / f"ledger_{name}_20261120.sqlite", *requests)
    assert begin(tmp_path / "ledger_mine_20261123.sqlite") == ("", [])


def test_a_ledger_of_the_day_before_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "ledger_mine_20261120.sqlite").write_text("no database " * 100)
    with pytest.raises(UserError, match="ledger_mine_20261120"):
        begin(tmp_path / "ledger_mine_20261123.sqlite")
