"""The guide's charge model."""

from __future__ import annotations

from decimal import Decimal, Inexact, localcontext
from fractions import Fraction

import pytest

from pipeline.brokers.contract import Side
from pipeline.risk.charges import charges, rupees
from tests.money import guide

RATES = guide().risk


def test_a_sale_pays_commission_exchange_gst_and_stt() -> None:
    turnover = Decimal("34770")  # the first golden exit: 150 × 231.80, ₹22.23
    expected = {
        "commission": Decimal("10.431"),
        "exchange": Decimal("1.0431"),
        "gst": Decimal("2.065338"),
        "stt": Decimal("8.6925"),
    }
    assert charges(turnover, Side.SELL, RATES) == sum(expected.values()) == Decimal("22.231938")


def test_a_purchase_pays_no_stt() -> None:
    turnover = Decimal("34770")
    difference = charges(turnover, Side.SELL, RATES) - charges(turnover, Side.BUY, RATES)
    assert difference == Decimal("8.6925")


@pytest.mark.parametrize(
    ("turnover", "commission"),
    [("1000", "20"), ("66666.66", "20"), ("66666.67", "20.000001"), ("100000", "30")],
)
def test_commission_is_the_larger_of_the_flat_fee_and_the_part(
    turnover: str, commission: str
) -> None:
    rates = RATES.model_copy(
        update={
            "commission_per_trade": Decimal(20),
            "exchange_charges_percent": Decimal(0),
            "gst_percent": Decimal(0),
        }
    )
    assert charges(Decimal(turnover), Side.BUY, rates) == Decimal(commission)


def test_gst_is_on_commission_and_exchange_charges_and_not_on_stt() -> None:
    rates = RATES.model_copy(update={"gst_percent": Decimal(100), "stt_percent": Decimal(1)})
    without = rates.model_copy(update={"gst_percent": Decimal(0)})
    turnover = Decimal(10_000)
    gst = charges(turnover, Side.SELL, rates) - charges(turnover, Side.SELL, without)
    assert gst == Decimal("3.3")


def test_nothing_turned_over_costs_nothing_even_with_a_flat_fee() -> None:
    rates = RATES.model_copy(update={"commission_per_trade": Decimal(20)})
    assert charges(Decimal(0), Side.BUY, rates) == 0


def test_no_digit_is_lost() -> None:
    with localcontext() as context:
        context.traps[Inexact] = True
        amount = charges(Decimal("987654321.1234"), Side.SELL, RATES)
    part = Fraction(33, 100_000) * Fraction(118, 100) + Fraction(25, 100_000)
    assert Fraction(amount) == Fraction("987654321.1234") * part


def test_rupees_are_exact() -> None:
    assert rupees(2_318_001) == Decimal("231.8001")
    assert rupees(-5) == Decimal("-0.0005")
