"""What an order costs beyond its price.

brokerage   a part of turnover, at least and at most so much an order
levies      what the exchange and the state take, each a part of turnover: STT, stamp duty, …
GST         a part of the brokerage and of the levies that are services

Every line is rounded on its own, as on a contract note, GST included, which is reckoned from the
lines before rounding. The guide's model has two levies and rounds nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Self

from pipeline.brokers.contract import Side
from pipeline.records import PRICE_SCALE
from pipeline.settings import RiskSettings

NOTHING = Decimal(0)
EXACT = Decimal(0)  # as a step: not rounded
_E4 = 1 / Decimal(PRICE_SCALE)
_PERCENT = Decimal("0.01")


def rupees(amount_e4: int) -> Decimal:
    """Return ``amount_e4`` (1/10 000 ₹) in ₹, exact."""
    return Decimal(amount_e4) * _E4


def plain(amount: Decimal) -> str:
    """Return ``amount`` for a context: without an exponent, without zeros at its end."""
    return f"{amount.normalize():f}"


def plain_e4(amount_e4: int) -> str:
    return plain(rupees(amount_e4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Levy:
    """What the exchange or the state takes, in percent of turnover."""

    name: str
    buy_percent: Decimal = NOTHING
    sell_percent: Decimal = NOTHING
    gst: bool = False  # GST is due on it
    step: Decimal = EXACT

    def of(self, turnover: Decimal, side: Side) -> Decimal:
        return _part(turnover, self.buy_percent if side is Side.BUY else self.sell_percent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """All that an order is charged, on one day, for one kind of instrument."""

    brokerage_percent: Decimal
    brokerage_least: Decimal = NOTHING  # ₹ an order
    brokerage_most: Decimal | None = None  # ₹ an order
    brokerage_step: Decimal = EXACT
    levies: tuple[Levy, ...]
    gst_percent: Decimal
    gst_step: Decimal = EXACT

    @classmethod
    def guide(cls, risk: RiskSettings) -> Self:
        """Return the guide's model with the percentages of ``[risk]``."""
        exchange, stt = risk.exchange_charges_percent, risk.stt_percent
        return cls(
            brokerage_percent=risk.commission_percent,
            brokerage_least=risk.commission_per_trade,
            levies=(
                Levy(name="exchange", buy_percent=exchange, sell_percent=exchange, gst=True),
                Levy(name="stt", sell_percent=stt),
            ),
            gst_percent=risk.gst_percent,
        )

    def brokerage(self, turnover: Decimal) -> Decimal:
        amount, most = _part(turnover, self.brokerage_percent), self.brokerage_most
        if amount < self.brokerage_least:
            amount = self.brokerage_least
        return amount if most is None or amount < most else most


class Tariff:
    """The rates of one instrument, day by day."""

    def __init__(self, periods: Sequence[tuple[int, Rates]], last_day: int) -> None:
        """Take (first day, rates) in order of days since 1970-01-01, and the last day of all."""
        self._first_days = [day for day, _ in periods]
        self._rates = [rates for _, rates in periods]
        self._last_day = last_day

    @classmethod
    def always(cls, rates: Rates) -> Self:
        """Return the tariff that is the same on every day."""
        return cls([(-(2**62), rates)], 2**62)

    def covers(self, day: int) -> bool:
        return self._first_days[0] <= day <= self._last_day

    def on(self, day: int) -> Rates:
        """Return the rates of ``day``; outside the data the nearest ones, on day 0 the newest.

        Start-up refuses a day outside the data; a position that is held on one must still close.
        Day 0 is that of a tick without an exchange time.
        """
        return self._rates[max(0, bisect_right(self._first_days, day) - 1) if day else -1]


def charges(turnover: Decimal, side: Side, rates: Rates) -> Decimal:
    """Return the charges of one order of ``turnover`` ₹ in ₹; none without turnover."""
    return sum(charge_lines(turnover, side, rates).values(), NOTHING)


def charge_lines(turnover: Decimal, side: Side, rates: Rates) -> dict[str, Decimal]:
    """Return the charges of one order by name, each rounded as its line of a contract note."""
    if not turnover:
        return {}
    services = rates.brokerage(turnover)
    lines = {"brokerage": _rounded(services, rates.brokerage_step)}
    for levy in rates.levies:
        amount = levy.of(turnover, side)
        lines[levy.name] = _rounded(amount, levy.step)
        if levy.gst:
            services += amount
    lines["gst"] = _rounded(_part(services, rates.gst_percent), rates.gst_step)
    return lines


def _part(amount: Decimal, percent: Decimal) -> Decimal:
    return amount * percent * _PERCENT


def _rounded(amount: Decimal, step: Decimal) -> Decimal:
    return amount.quantize(step, ROUND_HALF_UP) if step else amount
