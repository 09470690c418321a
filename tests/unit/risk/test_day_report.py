"""A day of every segment as text."""

from __future__ import annotations

from datetime import date

import pytest

from pipeline.errors import UsageError
from pipeline.risk.day_report import day_report
from pipeline.risk.files import read_rulebook
from pipeline.risk.rulebook import NO_RULES

RULEBOOK = read_rulebook()


def report(day: str) -> tuple[str, dict[str, list[str]], dict[str, list[str]], list[str]]:
    """Return head, days by segment and kind, contracts by underlying, and sources."""
    head, days, *contracts, sources = day_report(RULEBOOK, date.fromisoformat(day)).split("\n\n")
    rows = [line.split("  ") for line in days.splitlines()[1:]]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    of_day = {" ".join(part for part in row[:2] if not part[0].isdigit()): row for row in cells}
    of_contract = {
        row.split()[1]: row.split() for table in contracts for row in table.splitlines()[1:]
    }
    return head, of_day, of_contract, sources.splitlines()


def test_an_ordinary_day_has_hours_auctions_lots_and_the_largest_orders() -> None:
    head, days, contracts, sources = report("2026-11-23")
    assert head == "Monday, 2026-11-23, IST"
    assert days["NFO"][:2] == ["NFO", "09:15-15:40"]
    assert days["NSE share"][2] == "09:15-15:30"
    assert days["BSE share_with_derivatives"][2:4] == ["09:15-15:15", "15:15-15:35"]
    assert days["MCX"][1] == "09:00-23:55"
    assert days["CDS"][1] == "09:00-17:00"
    assert contracts["NIFTY"][:5] == ["NFO", "NIFTY", "65", "1800", "1755"]
    assert contracts["SENSEX"][:5] == ["BFO", "SENSEX", "20", "1000", "1000"]
    assert all(line.startswith(f"[{n}] ") for n, line in enumerate(sources, start=1))
    assert all("(read 2026-11-22)" in line for line in sources)


def test_every_source_that_a_row_names_is_listed() -> None:
    _, days, contracts, sources = report("2026-11-23")
    named = {cell for row in (*days.values(), *contracts.values()) for cell in row if "[" in cell}
    numbers = {int(part.strip("[]")) for cell in named for part in cell.split("][")}
    assert numbers == set(range(1, len(sources) + 1))


def test_the_largest_order_is_whole_lots() -> None:
    _, _, contracts, _ = report("2026-09-01")
    assert contracts["NIFTY"][2:5] == ["65", "1800", "1755"]


def test_a_holiday_has_its_name_and_its_circular() -> None:
    text = day_report(RULEBOOK, date(2026, 1, 15))
    (row,) = (line for line in text.splitlines() if line.startswith("NFO  ") and "closed" in line)
    assert row.endswith("Municipal Corporation Election in Maharashtra")
    assert "NSE/FAOP/72262" in text
    assert "17:00-23:55" in text  # the evening of MCX


def test_a_session_without_known_hours_says_so() -> None:
    text = day_report(RULEBOOK, date(2026, 11, 8))
    assert text.count("Muhurat trading (Sunday): its hours are not known") == 8
    assert "unknown" in text


def test_a_contract_of_which_only_one_number_is_known_says_so() -> None:
    text = day_report(RULEBOOK, date(2026, 1, 2))
    assert "not known" not in text
    trimmed = RULEBOOK.model_copy(update={"freeze": ()})
    assert "not known" in day_report(trimmed, date(2026, 1, 2))


@pytest.mark.parametrize("day", ["2025-10-01", "2027-01-01"])
def test_a_date_outside_the_calendar_is_refused_with_what_it_has(day: str) -> None:
    with pytest.raises(UsageError, match=f"{day} is outside the calendar") as refused:
        day_report(RULEBOOK, date.fromisoformat(day))
    assert "2026-01-01 to 2026-12-31" in str(refused.value)


def test_without_rules_every_date_is_refused() -> None:
    with pytest.raises(UsageError, match="no day"):
        day_report(NO_RULES, date(2026, 11, 23))
