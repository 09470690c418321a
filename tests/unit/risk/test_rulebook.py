"""The rows of the market data: what is refused, and what all that ship have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, get_args

import pytest

from pipeline.errors import TickpipeError
from pipeline.risk.files import read_rulebook
from pipeline.risk.rulebook import NO_RULES, Fact, Rulebook, parse_rulebook
from pipeline.settings import Exchange, RiskSettings

SHIPPED = read_rulebook()

SAID: dict[str, Any] = {
    "segments": ["NSE"],
    "from": "2030-01-01",
    "until": "2030-12-31",
    "source": "a circular",
    "as_of": "2030-01-01",
}
HOURS = {**SAID, "open": "09:15", "close": "15:30"}
YEAR = {**SAID, "days": [{"date": "2030-01-02", "name": "off"}]}
LOTS = {**SAID, "shares": {"NIFTY": 65}}
BROKERAGE = {**SAID, "preset": "zerodha", "percent": {"options": 0}, "round": "0.01"}
LEVY = {**SAID, "name": "stt", "sell": {"options": "0.15"}, "round": 1}
GST = {**SAID, "percent": 18, "round": "0.01"}
ROWS = {
    "session": HOURS,
    "calendar": YEAR,
    "lots": LOTS,
    "freeze": LOTS,
    "brokerage": BROKERAGE,
    "levy": LEVY,
    "gst": GST,
}


def facts(rulebook: Rulebook) -> list[Fact]:
    return [row for table in Rulebook.model_fields for row in getattr(rulebook, table)]


def refusal(*tables: Mapping[str, Any]) -> str:
    with pytest.raises(TickpipeError) as refused:
        parse_rulebook(tables)
    return str(refused.value)


def test_every_table_takes_its_row() -> None:
    rulebook = parse_rulebook({table: [row]} for table, row in ROWS.items())
    assert set(ROWS) == set(Rulebook.model_fields)
    assert len(facts(rulebook)) == len(ROWS)


def test_tables_of_several_files_are_one() -> None:
    later = {**HOURS, "from": "2031-01-01", "until": "2031-12-31"}
    assert len(parse_rulebook([{"session": [HOURS]}, {"session": [later]}]).session) == 2


def test_no_tables_are_no_rules() -> None:
    assert parse_rulebook([]) == NO_RULES


@pytest.mark.parametrize("key", ["segments", "from", "until", "source", "as_of"])
@pytest.mark.parametrize("table", ROWS)
def test_every_row_says_where_and_when_it_holds_and_who_says_so(table: str, key: str) -> None:
    row = {name: value for name, value in ROWS[table].items() if name != key}
    assert f"{table}.0.{key}" in refusal({table: [row]})


@pytest.mark.parametrize(
    ("table", "change", "named"),
    [
        ("session", {"source": ""}, "session.0.source"),
        ("session", {"segments": []}, "session.0.segments"),
        ("session", {"segments": ["NYSE"]}, "session.0.segments.0"),
        ("session", {"opens": "09:15"}, "session.0.opens"),
        ("session", {"kind": "bond"}, "session.0.kind"),
        ("session", {"open": "quarter past nine"}, "session.0.open"),
        ("session", {"from": "2031-01-01"}, "from 2031-01-01 is after until 2030-12-31"),
        ("calendar", {"days": [{"date": "2029-12-31", "name": "x"}]}, "2029-12-31 appears"),
        ("calendar", {"days": [*YEAR["days"], *YEAR["days"]]}, "2030-01-02 appears twice"),
        ("calendar", {"days": [{"date": "2030-01-02"}]}, "calendar.0.days.0.name"),
        ("calendar", {"days": [{"date": "2030-02-30", "name": "x"}]}, "calendar.0.days.0.date"),
        ("lots", {"shares": {"NIFTY": 0}}, "lots.0.shares.NIFTY"),
        ("brokerage", {"percent": {"bonds": 1}}, "brokerage.0.percent"),
        ("brokerage", {"percent": {"options": -1}}, "brokerage.0.percent.options"),
        ("levy", {"name": "tip"}, "levy.0.name"),
        ("levy", {"sell": {"options": 101}}, "levy.0.sell.options"),
        ("levy", {"round": "0.05"}, "round is 1, 0.01 or 0 (not rounded), got 0.05"),
        ("gst", {"percent": -18}, "gst.0.percent"),
    ],
)
def test_a_wrong_row_is_refused_by_name(table: str, change: dict[str, Any], named: str) -> None:
    assert named in refusal({table: [{**ROWS[table], **change}]})


def test_a_table_that_nobody_knows_is_refused() -> None:
    assert "holidays" in refusal({"holidays": []})


@pytest.mark.parametrize("table", ROWS)
def test_two_rows_may_not_hold_on_the_same_day(table: str) -> None:
    twice = {**ROWS[table], "from": "2030-12-31", "until": "2031-12-31"}
    if table == "calendar":
        twice["days"] = []
    assert "two rows hold on 2030-12-31" in refusal({table: [ROWS[table], twice]})
    next_year = {**twice, "from": "2031-01-01"}
    parse_rulebook([{table: [ROWS[table], next_year]}])


def test_rows_of_another_segment_kind_underlying_or_levy_may_hold_on_the_same_day() -> None:
    parse_rulebook(
        [
            {"session": [HOURS, {**HOURS, "segments": ["BSE"]}]},
            {"lots": [LOTS, {**LOTS, "shares": {"BANKNIFTY": 30}}]},
            {"levy": [LEVY, {**LEVY, "name": "sebi"}]},
        ]
    )
    parse_rulebook([{"session": [{**HOURS, "kind": kind} for kind in ("share", "option")]}])


def test_hours_of_every_kind_and_of_one_may_not_hold_on_the_same_day() -> None:
    assert "hours of kind share" in refusal({"session": [HOURS, {**HOURS, "kind": "share"}]})


# What ships ----------------------------------------------------------------------------------


def test_every_row_that_ships_was_read_after_it_was_announced() -> None:
    assert len(facts(SHIPPED)) > 20
    for row in facts(SHIPPED):
        assert date(2026, 1, 1) < row.as_of <= date(2026, 12, 31), row


def test_the_presets_of_the_settings_are_those_that_ship() -> None:
    presets = set(get_args(RiskSettings.model_fields["charges"].annotation))
    assert {row.preset for row in SHIPPED.brokerage} == presets - {"guide"}


def test_a_calendar_is_of_one_year_and_every_segment_has_one() -> None:
    for year in SHIPPED.calendar:
        assert (year.first.month, year.first.day) == (1, 1)
        assert year.last == date(year.first.year, 12, 31)
    of_2026 = [segment for year in SHIPPED.calendar for segment in year.segments]
    assert sorted(of_2026) == sorted(get_args(Exchange))
