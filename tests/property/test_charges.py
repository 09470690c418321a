"""Charges for turnovers that nobody chose: never negative, and no less for a larger order."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.brokers.contract import Side
from pipeline.risk.charges import Rates, charge_lines, charges
from pipeline.risk.files import read_rulebook
from pipeline.risk.hours import day_number
from pipeline.risk.tariffs import tariffs_of
from tests.money import guide, instrument_of

PAISA = Decimal("0.01")
RULEBOOK = read_rulebook()
ZERODHA = guide('risk.charges="zerodha"')
CLASSES = [
    ("NSE", "share", "INTRADAY"),
    ("NSE", "share", "DELIVERY"),
    ("NFO", "future", "INTRADAY"),
    ("NFO", "option", "INTRADAY"),
    ("BSE", "share", "INTRADAY"),
    ("BFO", "future", "INTRADAY"),
    ("BFO", "option", "INTRADAY"),
]

turnovers = st.integers(1, 10**13).map(lambda e4: Decimal(e4).scaleb(-4))


def rates_on(day: date, exchange: str, kind: str, product: str) -> Rates:
    settings = instrument_of(ZERODHA, exchange=exchange, kind=kind, product_type=product)
    return tariffs_of(settings, RULEBOOK)[0].on(day_number(day))


RATES = [Rates.guide(guide().risk)] + [
    rates_on(day, *kind)
    for kind in CLASSES
    for day in (date(2025, 10, 1), date(2026, 3, 2), date(2026, 11, 23))
]


@pytest.mark.parametrize("side", Side)
@given(rates=st.sampled_from(RATES), amounts=st.lists(turnovers, min_size=2, max_size=6))
def test_charges_are_never_negative_and_never_fall_with_turnover(
    side: Side, rates: Rates, amounts: list[Decimal]
) -> None:
    costs = [charges(amount, side, rates) for amount in sorted(amounts)]
    assert all(cost >= 0 for cost in costs)
    assert all(less <= more for less, more in pairwise(costs))


@pytest.mark.parametrize("side", Side)
@given(rates=st.sampled_from(RATES[1:]), amount=turnovers)
def test_every_dated_line_is_whole_paise_and_taxes_are_whole_rupees(
    side: Side, rates: Rates, amount: Decimal
) -> None:
    lines = charge_lines(amount, side, rates)
    assert all(line % PAISA == 0 for line in lines.values())
    assert lines["stt"] % 1 == lines["stamp"] % 1 == 0
