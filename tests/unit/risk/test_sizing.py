"""Slices, limits and freeze quantities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.contract import Side
from pipeline.risk.files import read_rulebook
from pipeline.risk.rulebook import NO_RULES
from pipeline.risk.sizing import ANY_QUANTITY, Freezes, limit_e4, slices
from tests.money import CALENDAR, at, e4_of, guide, instrument_of


@pytest.mark.parametrize(
    ("quantity", "freeze", "expected"),
    [
        (65, 1800, [65]),
        (1755, 1800, [1755]),  # 27 lots: NIFTY at lot 65
        (1820, 1800, [1755, 65]),
        (5265, 1800, [1755] * 3),
        (5300, 1800, [1755] * 3 + [35]),  # a part of a lot that is left of a fill
        (0, 1800, []),
        (650, ANY_QUANTITY, [650]),
        (130, 10, [65, 65]),
    ],
)
def test_a_slice_is_the_largest_multiple_of_the_lot_within_the_freeze(
    quantity: int, freeze: int, expected: list[int]
) -> None:
    assert slices(quantity, 65, freeze) == expected


@given(st.integers(0, 100_000), st.integers(1, 200), st.integers(1, 5_000))
def test_slices_are_all_there_is_and_each_within_the_freeze(
    quantity: int, lot_size: int, freeze: int
) -> None:
    pieces = slices(quantity, lot_size, freeze)
    assert sum(pieces) == quantity
    assert all(0 < piece <= max(freeze, lot_size) for piece in pieces)
    assert all(piece % lot_size == 0 for piece in pieces[:-1])


@pytest.mark.parametrize(
    ("side", "last", "collar", "expected"),
    [
        (Side.BUY, "100.00", "1.00", "101.00"),
        (Side.BUY, "100.00", "0.97", "101.00"),
        (Side.BUY, "100.02", "1.00", "101.05"),
        (Side.SELL, "100.00", "1.00", "99.00"),
        (Side.SELL, "100.00", "0.97", "99.00"),
        (Side.SELL, "100.02", "1.00", "99.00"),
        (Side.SELL, "0.50", "1.00", "0.05"),
    ],
)
def test_a_limit_is_on_the_tick_where_it_still_fills(
    side: Side, last: str, collar: str, expected: str
) -> None:
    assert limit_e4(side, e4_of(last), e4_of(collar), e4_of("0.05")) == e4_of(expected)


@pytest.mark.parametrize(
    ("day", "freeze"),
    [("2025-10-31", 900), ("2026-10-05", 600), ("2027-01-04", ANY_QUANTITY)],
)
def test_with_the_calendar_the_freeze_is_that_of_the_day(day: str, freeze: int) -> None:
    settings = instrument_of(guide(*CALENDAR), underlying="BANKNIFTY")
    assert Freezes(settings, read_rulebook()).of(0, at("10:00:00", day)) == freeze


def test_a_freeze_of_the_settings_goes_before_that_of_the_calendar() -> None:
    settings = instrument_of(guide(*CALENDAR), underlying="NIFTY", freeze_quantity=150)
    assert Freezes(settings, read_rulebook()).of(0, at("10:00:00", "2026-11-23")) == 150


def test_without_calendar_and_setting_there_is_no_freeze() -> None:
    settings = instrument_of(guide(), underlying="NIFTY")
    assert Freezes(settings, NO_RULES).of(0, at("10:00:00", "2026-11-23")) == ANY_QUANTITY
