"""Charges: the guide's model to the last digit, and published worked examples to a paisa.

The worked examples of 2026-09-01 are panels of zerodha.com/brokerage-calculator as recorded in
github.com/Rishabh-Satawat/tradetron-brain, 60-tools/python/zerodha_charges.py. Those of before the
taxes of 2026-04-01 are from the same calculator, as recorded in
github.com/marketcalls/vectorbt-backtesting-skills, rules/indian-market-costs.md. The calculator
rounds the two orders of a round trip together and tickpipe each on its own: a paisa may be between.
"""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal, Inexact, localcontext
from fractions import Fraction
from pathlib import Path

import pytest

from pipeline.brokers.contract import Side
from pipeline.risk.charges import Levy, Rates, Tariff, charge_lines, charges, rupees
from pipeline.risk.files import read_rulebook
from pipeline.risk.hours import day_number
from pipeline.risk.tariffs import tariffs_of
from tests.money import guide, instrument_of, rates_of

RATES = rates_of(guide())
PAISA = Decimal("0.01")


def test_a_sale_pays_commission_exchange_gst_and_stt() -> None:
    turnover = Decimal("34770")  # the first golden exit: 150 × 231.80, ₹22.23
    expected = {
        "brokerage": Decimal("10.431"),
        "exchange": Decimal("1.0431"),
        "stt": Decimal("8.6925"),
        "gst": Decimal("2.065338"),
    }
    assert charge_lines(turnover, Side.SELL, RATES) == expected
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
    rates = rates_of(
        guide(
            "risk.commission_per_trade=20.0",
            "risk.exchange_charges_percent=0.0",
            "risk.gst_percent=0.0",
        )
    )
    assert charges(Decimal(turnover), Side.BUY, rates) == Decimal(commission)


def test_gst_is_on_commission_and_exchange_charges_and_not_on_stt() -> None:
    rates = rates_of(guide("risk.gst_percent=100.0", "risk.stt_percent=1.0"))
    without = rates_of(guide("risk.gst_percent=0.0", "risk.stt_percent=1.0"))
    turnover = Decimal(10_000)
    gst = charges(turnover, Side.SELL, rates) - charges(turnover, Side.SELL, without)
    assert gst == Decimal("3.3")


def test_nothing_turned_over_costs_nothing_even_with_a_flat_fee() -> None:
    rates = rates_of(guide("risk.commission_per_trade=20.0"))
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


# Dated rates ---------------------------------------------------------------------------------


def zerodha(exchange: str, kind: str, product: str, day: date) -> Rates:
    settings = instrument_of(
        guide('risk.charges="zerodha"'), exchange=exchange, kind=kind, product_type=product
    )
    (tariff,) = tariffs_of(settings, read_rulebook())
    assert tariff.covers(day_number(day))
    return tariff.on(day_number(day))


def round_trip(rates: Rates, buy: int, sell: int, quantity: int) -> Decimal:
    """Return the charges of buying and selling ``quantity`` shares."""
    return charges(Decimal(buy * quantity), Side.BUY, rates) + charges(
        Decimal(sell * quantity), Side.SELL, rates
    )


SEPTEMBER = date(2026, 9, 1)


@pytest.mark.parametrize(
    ("exchange", "kind", "product", "prices", "quantity", "total"),
    [
        ("NFO", "option", "INTRADAY", (589, 797), 20, "82.86"),
        ("BFO", "option", "INTRADAY", (476, 280), 20, "61.02"),
        ("NSE", "share", "INTRADAY", (1000, 1100), 400, "200.62"),
        ("BSE", "share", "DELIVERY", (1000, 1100), 400, "938.16"),
        ("BFO", "future", "CARRYFORWARD", (500, 760), 20, "16.96"),
    ],
)
def test_charges_are_those_of_the_broker_s_calculator_of_september_2026(
    exchange: str, kind: str, product: str, prices: tuple[int, int], quantity: int, total: str
) -> None:
    rates = zerodha(exchange, kind, product, SEPTEMBER)
    assert abs(round_trip(rates, *prices, quantity) - Decimal(total)) <= PAISA


@pytest.mark.parametrize(
    ("exchange", "kind", "product", "total"),
    [
        ("NSE", "share", "INTRADAY", "224.61"),
        ("NSE", "share", "DELIVERY", "1112.41"),
        ("NFO", "future", "INTRADAY", "179.97"),
        ("NFO", "option", "INTRADAY", "982.63"),
    ],
)
def test_charges_are_those_of_the_broker_s_calculator_before_april_2026(
    exchange: str, kind: str, product: str, total: str
) -> None:
    rates = zerodha(exchange, kind, product, date(2026, 3, 2))
    assert abs(round_trip(rates, 1000, 1000, 500) - Decimal(total)) <= PAISA


def test_each_line_of_an_option_sale_is_rounded_as_on_a_contract_note() -> None:
    rates = zerodha("NFO", "option", "INTRADAY", SEPTEMBER)
    assert charge_lines(Decimal(15_940), Side.SELL, rates) == {
        "brokerage": Decimal(20),
        "stt": Decimal(24),  # 23.91
        "stamp": Decimal(0),
        "exchange": Decimal("5.66"),  # 5.663482
        "ipft": Decimal(0),  # 0.000016
        "sebi": Decimal("0.02"),  # 0.01594
        "gst": Decimal("4.62"),  # 18 % of 25.679422
    }


@pytest.mark.parametrize(
    ("turnover", "stt"), [("333.33", "0"), ("333.34", "1"), ("999.99", "1"), ("1000", "2")]
)
def test_stt_is_rounded_to_the_rupee_from_fifty_paise_up(turnover: str, stt: str) -> None:
    rates = zerodha("NFO", "option", "INTRADAY", SEPTEMBER)
    assert charge_lines(Decimal(turnover), Side.SELL, rates)["stt"] == Decimal(stt)


@pytest.mark.parametrize(
    ("kind", "before", "after"), [("option", "0.1", "0.15"), ("future", "0.02", "0.05")]
)
def test_stt_on_derivatives_rises_on_the_first_of_april_2026(
    kind: str, before: str, after: str
) -> None:
    found = [
        next(levy.sell_percent for levy in zerodha("NFO", kind, "INTRADAY", day).levies)
        for day in (date(2026, 3, 31), date(2026, 4, 1))
    ]
    assert found == [Decimal(before), Decimal(after)]


@pytest.mark.parametrize("name", ["SBIN", "GOLDPETAL23JULFUT", "NIFTY2371317900PE"])
def test_gst_falls_on_what_the_broker_s_own_contract_note_says(
    shared_data: Path, name: str
) -> None:
    """Kite's virtual contract note of July 2023, unrounded, with the rates of that month."""
    text = (shared_data / "kite" / "mocks" / "virtual_contract_note.json").read_text()
    note = next(row for row in json.loads(text)["data"] if row["tradingsymbol"] == name)
    of_2023 = {
        "SBIN": ("0", "0", "0.1", "0.00325", "0.0001"),
        "GOLDPETAL23JULFUT": ("0.03", "0", "0.01", "0.0026", "0"),
        "NIFTY2371317900PE": ("0", "20", "0", "0.05", "0.0005"),
    }
    brokerage, least, tax, exchange, ipft = map(Decimal, of_2023[name])
    sebi = Decimal("0.0001")
    rates = Rates(
        brokerage_percent=brokerage,
        brokerage_least=least,
        levies=(
            Levy(name="tax", buy_percent=tax, sell_percent=tax),
            Levy(name="exchange", buy_percent=exchange, sell_percent=exchange, gst=True),
            Levy(name="ipft", buy_percent=ipft, sell_percent=ipft),
            Levy(name="sebi", buy_percent=sebi, sell_percent=sebi, gst=True),
        ),
        gst_percent=Decimal(18),
    )
    turnover = Decimal(str(note["price"])) * note["quantity"]
    lines = charge_lines(turnover, Side(note["transaction_type"]), rates)
    said = note["charges"]
    assert float(lines["gst"]) == pytest.approx(said["gst"]["total"], abs=1e-9)
    assert float(sum(lines.values())) == pytest.approx(said["total"], abs=1e-9)


# By date -------------------------------------------------------------------------------------


def test_a_tariff_gives_the_rates_of_the_day_and_outside_the_nearest() -> None:
    old, new = (rates_of(guide(f"risk.stt_percent={stt}")) for stt in ("0.1", "0.2"))
    tariff = Tariff([(100, old), (200, new)], 299)
    assert [tariff.on(day) for day in (100, 199, 200, 299)] == [old, old, new, new]
    assert [tariff.on(day) for day in (99, 300)] == [old, new]
    assert [tariff.covers(day) for day in (99, 100, 299, 300)] == [False, True, True, False]


def test_a_tick_without_an_exchange_time_pays_the_newest_rates() -> None:
    old, new = (rates_of(guide(f"risk.stt_percent={stt}")) for stt in ("0.1", "0.2"))
    assert Tariff([(100, old), (200, new)], 299).on(0) is new
    assert Tariff.always(old).on(0) is old
