"""What an order costs beyond its price: the guide's charge model, exact.

commission  the larger of a flat amount and a part of turnover
exchange    a part of turnover
STT         a part of turnover, sells only
GST         a part of commission + exchange
"""

from __future__ import annotations

from decimal import Decimal

from pipeline.brokers.contract import Side
from pipeline.records import PRICE_SCALE
from pipeline.settings import RiskSettings

NOTHING = Decimal(0)
_E4_DIGITS = len(str(PRICE_SCALE)) - 1


def rupees(amount_e4: int) -> Decimal:
    """Return ``amount_e4`` (1/10 000 ₹) in ₹, exact."""
    return Decimal(amount_e4).scaleb(-_E4_DIGITS)


def charges(turnover: Decimal, side: Side, rates: RiskSettings) -> Decimal:
    """Return the charges of one order of ``turnover`` ₹ in ₹, unrounded; none without turnover."""
    if not turnover:
        return NOTHING
    commission = max(rates.commission_per_trade, _part(turnover, rates.commission_percent))
    exchange = _part(turnover, rates.exchange_charges_percent)
    gst = _part(commission + exchange, rates.gst_percent)
    stt = _part(turnover, rates.stt_percent) if side is Side.SELL else NOTHING
    return commission + exchange + gst + stt


def _part(amount: Decimal, percent: Decimal) -> Decimal:
    return amount * percent.scaleb(-2)
