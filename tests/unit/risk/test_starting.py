"""What start-up checks against the rulebook, and what it tells."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pipeline.errors import SettingsError
from pipeline.risk.files import read_rulebook
from pipeline.risk.rulebook import NO_RULES
from pipeline.risk.starting import check_start, needs_rulebook
from pipeline.settings import Settings
from tests.money import CALENDAR, GATES, guide, instrument_of, two_instruments

RULEBOOK = read_rulebook()
ZERODHA = 'risk.charges="zerodha"'
MONDAY = date(2026, 11, 23)
GURPURB = date(2026, 11, 24)


def settings_of(*overrides: str, **instrument: Any) -> Settings:
    return instrument_of(guide(*overrides), **({"lot_size": 65} | instrument))


def refusal(settings: Settings, *days: date) -> str:
    with pytest.raises(SettingsError) as refused:
        check_start(settings, RULEBOOK, days)
    return str(refused.value)


@pytest.mark.parametrize(
    ("overrides", "needed"), [((), False), ((GATES,), False), (CALENDAR, True), ((ZERODHA,), True)]
)
def test_the_data_is_needed_for_the_calendar_and_for_dated_charges(
    overrides: tuple[str, ...], needed: bool
) -> None:
    assert needs_rulebook(guide(*overrides)) is needed


def test_without_either_nothing_is_checked() -> None:
    settings = settings_of(kind="unstated", underlying="NIFTY", lot_size=1)
    assert check_start(settings, NO_RULES, [date(1999, 1, 1)]) == []


def test_an_open_day_has_nothing_to_tell() -> None:
    assert check_start(settings_of(*CALENDAR), RULEBOOK, [MONDAY]) == []


def test_no_days_have_nothing_to_tell() -> None:
    assert check_start(settings_of(*CALENDAR, ZERODHA, kind="option"), RULEBOOK, []) == []


@pytest.mark.parametrize(
    ("day", "told"),
    [
        (
            GURPURB,
            "NFO on 2026-11-24: closed, Prakash Gurpurb Sri Guru Nanak Dev; entries are refused",
        ),
        (
            date(2026, 11, 8),
            "NFO on 2026-11-08: unknown, Diwali Laxmi Pujan, Muhurat trading (Sunday): its hours "
            "are not known; entries are refused",
        ),
        (
            date(2027, 1, 4),
            "NFO on 2027-01-04: unknown, no calendar has this date; entries are refused",
        ),
    ],
)
def test_a_day_without_entries_is_told(day: date, told: str) -> None:
    assert check_start(settings_of(*CALENDAR), RULEBOOK, [day]) == [told]


def test_a_closed_day_is_told_once_for_each_exchange() -> None:
    settings = two_instruments(*CALENDAR)
    assert len(check_start(settings, RULEBOOK, [MONDAY, GURPURB])) == 1


# Lots ----------------------------------------------------------------------------------------


def test_a_lot_that_is_not_the_exchange_s_is_refused_with_its_source() -> None:
    message = refusal(settings_of(*CALENDAR, underlying="NIFTY", lot_size=75), MONDAY)
    assert "the lot of NIFTY-OPTION is 75, that of NIFTY on 2026-11-23 is 65" in message
    assert "NSE/FAOP/70616" in message
    assert "lot_size = 65" in message


@pytest.mark.parametrize(
    ("changes", "day"),
    [
        ({"underlying": "NIFTY", "lot_size": 65}, MONDAY),
        ({"underlying": None, "lot_size": 75}, MONDAY),
        ({"underlying": "RELIANCE", "lot_size": 75}, MONDAY),
        ({"underlying": "NIFTY", "lot_size": 75}, date(2025, 10, 28)),
        ({"underlying": "NIFTY", "lot_size": 75}, date(2025, 11, 3)),
    ],
)
def test_a_lot_that_is_right_or_not_known_passes(changes: dict[str, Any], day: date) -> None:
    check_start(settings_of(*CALENDAR, **changes), RULEBOOK, [day])


def test_a_lot_is_compared_on_the_first_day_and_on_the_last() -> None:
    settings = settings_of(*CALENDAR, underlying="NIFTY", lot_size=75)
    refusal(settings, date(2025, 10, 28), MONDAY)
    refusal(settings, MONDAY, date(2027, 1, 4))


def test_without_the_calendar_a_lot_is_not_compared() -> None:
    settings = settings_of(ZERODHA, kind="option", underlying="NIFTY", lot_size=75)
    assert check_start(settings, RULEBOOK, [MONDAY]) == []


# Kinds and rates -----------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", ["NSE", "BSE"])
def test_the_calendar_needs_the_kind_of_a_share(exchange: str) -> None:
    assert "kind of NIFTY-OPTION is unstated" in refusal(
        settings_of(*CALENDAR, exchange=exchange), MONDAY
    )
    share = settings_of(*CALENDAR, exchange=exchange, kind="share")
    assert check_start(share, RULEBOOK, [MONDAY]) == []


@pytest.mark.parametrize(
    "days",
    [
        [date(2024, 9, 30)],
        [date(2027, 4, 1)],
        [MONDAY, date(2027, 4, 1)],
        [date(2024, 9, 30), MONDAY],
    ],
)
def test_a_day_without_rates_is_refused(days: list[date]) -> None:
    settings = settings_of(ZERODHA, kind="option")
    message = refusal(settings, *days)
    assert 'risk.charges = "zerodha" has no rates for NIFTY-OPTION on' in message
    assert check_start(settings, RULEBOOK, [MONDAY]) == []


def test_the_guide_s_charges_hold_on_a_day_that_no_data_has() -> None:
    assert check_start(settings_of(), RULEBOOK, [date(2027, 4, 1)]) == []
