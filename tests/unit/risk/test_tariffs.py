"""Which rates an instrument pays, and what is refused rather than guessed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from pipeline.errors import SettingsError
from pipeline.risk.charges import Rates, Tariff
from pipeline.risk.files import read_rulebook
from pipeline.risk.hours import day_number
from pipeline.risk.rulebook import NO_RULES, Rulebook, parse_rulebook
from pipeline.risk.tariffs import rate_class, tariffs_of
from pipeline.settings import Settings
from tests.money import guide, instrument_of, two_instruments

ZERODHA = 'risk.charges="zerodha"'
OF_2030: dict[str, Any] = {
    "segments": ["NFO"],
    "from": "2030-01-01",
    "until": "2030-12-31",
    "source": "a circular",
    "as_of": "2030-01-01",
}
BROKERAGE = {**OF_2030, "preset": "zerodha", "percent": {"options": 0}, "round": "0.01"}
LEVIES = [
    {**OF_2030, "name": name, "sell": {"options": 1}, "round": "0.01"}
    for name in ("stt", "stamp", "exchange", "sebi")
]
GST = {**OF_2030, "percent": 18, "round": "0.01"}


def option(**changes: Any) -> Settings:
    return instrument_of(guide(ZERODHA), **({"kind": "option"} | changes))


def book(**tables: list[dict[str, Any]]) -> Rulebook:
    return parse_rulebook([{"brokerage": [BROKERAGE], "levy": LEVIES, "gst": [GST]} | tables])


def refusal(settings: Settings, rulebook: Rulebook) -> str:
    with pytest.raises(SettingsError) as refused:
        tariffs_of(settings, rulebook)
    return str(refused.value)


def covered(tariff: Tariff, *days: date) -> list[bool]:
    return [tariff.covers(day_number(day)) for day in days]


@pytest.mark.parametrize(
    ("exchange", "kind", "product", "expected"),
    [
        ("NSE", "share", "INTRADAY", "intraday"),
        ("NSE", "share_with_derivatives", "DELIVERY", "delivery"),
        ("BSE", "unstated", "CARRYFORWARD", "delivery"),
        ("NFO", "option", "INTRADAY", "options"),
        ("NFO", "option", "CARRYFORWARD", "options"),
        ("MCX", "future", "INTRADAY", "futures"),
        ("NFO", "unstated", "INTRADAY", None),
        ("CDS", "unstated", "INTRADAY", None),
    ],
)
def test_the_rates_follow_from_exchange_kind_and_product(
    exchange: str, kind: str, product: str, expected: str | None
) -> None:
    settings = instrument_of(guide(), exchange=exchange, kind=kind, product_type=product)
    assert rate_class(settings.instruments[0]) == expected


def test_the_guide_s_rates_need_no_data_and_hold_on_every_day() -> None:
    settings = two_instruments()
    tariffs = tariffs_of(settings, NO_RULES)
    assert len(tariffs) == 2
    for tariff in tariffs:
        assert tariff.on(day_number(date(1971, 1, 1))) == Rates.guide(settings.risk)
        assert covered(tariff, date(1900, 1, 1), date(2500, 1, 1)) == [True, True]


def test_the_shipped_rates_end_with_the_financial_year() -> None:
    (tariff,) = tariffs_of(option(), read_rulebook())
    days = [date(2024, 9, 30), date(2024, 10, 1), date(2027, 3, 31), date(2027, 4, 1)]
    assert covered(tariff, *days) == [False, True, True, False]


@pytest.mark.parametrize("exchange", ["MCX", "CDS"])
def test_an_exchange_without_rates_is_refused(exchange: str) -> None:
    message = refusal(option(exchange=exchange), read_rulebook())
    assert f"the data has no rates for options on {exchange}" in message


def test_a_derivative_of_unstated_kind_is_refused() -> None:
    message = refusal(option(kind="unstated"), read_rulebook())
    assert "NIFTY-OPTION: the rates of NFO differ by kind, and its kind is unstated" in message


@pytest.mark.parametrize("lacking", ["stt", "stamp", "exchange", "sebi"])
def test_rates_without_one_of_the_levies_are_refused(lacking: str) -> None:
    assert tariffs_of(option(), book())
    levies = [levy for levy in LEVIES if levy["name"] != lacking]
    assert "no rates for options on NFO" in refusal(option(), book(levy=levies))


@pytest.mark.parametrize("table", ["brokerage", "gst"])
def test_rates_without_brokerage_or_gst_are_refused(table: str) -> None:
    assert "no rates for options on NFO" in refusal(option(), book(**{table: []}))


def test_a_gap_between_two_rows_is_refused() -> None:
    early, late = {**GST, "until": "2030-03-31"}, {**GST, "from": "2030-04-02"}
    assert "Gst has no row on 2030-04-01" in refusal(option(), book(gst=[early, late]))


def changing_stt(day: str) -> list[dict[str, Any]]:
    before = date.fromordinal(date.fromisoformat(day).toordinal() - 1)
    stt = LEVIES[0]
    return [
        {**stt, "until": str(before)},
        {**stt, "from": day, "sell": {"options": 2}},
    ]


def test_a_row_that_changes_within_the_year_makes_two_periods() -> None:
    levies = [*LEVIES[1:], *changing_stt("2030-04-01")]
    (tariff,) = tariffs_of(option(), book(levy=levies))
    found = [
        {levy.name: levy.sell_percent for levy in tariff.on(day_number(day)).levies}["stt"]
        for day in (date(2030, 1, 1), date(2030, 3, 31), date(2030, 4, 1), date(2030, 12, 31))
    ]
    assert found == [Decimal(1), Decimal(1), Decimal(2), Decimal(2)]


def test_each_instrument_has_its_own_rates() -> None:
    settings = two_instruments(ZERODHA)
    option_, future = settings.instruments
    both = (
        option_.model_copy(update={"kind": "option"}),
        future.model_copy(update={"kind": "future"}),
    )
    settings = settings.model_copy(update={"instruments": both})
    first, second = tariffs_of(settings, read_rulebook())
    day = day_number(date(2026, 11, 23))
    assert first.on(day).brokerage_least == Decimal(20)
    assert second.on(day).brokerage_most == Decimal(20)


def test_a_class_that_the_broker_s_row_does_not_have_is_refused() -> None:
    assert "no rates for futures on NFO" in refusal(option(kind="future"), book())


def test_a_preset_that_a_row_does_not_have_is_refused() -> None:
    other = {**BROKERAGE, "preset": "somebody"}
    assert "no rates for options on NFO" in refusal(option(), book(brokerage=[other]))
