"""Limit exits whose price ran away: which rest for too long, and what follows their cancel. Pure.

Risk asks the broker to cancel such an exit. Until the end of it is heard its shares are in flight,
so there are never two exits for the same shares. Then the rules decide at the price of then; what
no rule would ask for again (a person's, the strategy's) is ordered again with its own reason. That
reason is in the ledger before the cancel leaves, so that another risk knows it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.brokers.contract import Order, OrderState
from pipeline.risk.history import Change, Event, Record
from pipeline.risk.in_flight import Flight
from pipeline.risk.order_states import LIVE
from pipeline.risk.reasons import Reason, target_number
from pipeline.settings import RiskSettings

AGAIN = "again"  # an event: an exit that is being cancelled, and the reason to order it again

_RESTING = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})
_BY_RULE = frozenset(
    {
        Reason.SESSION_END,
        Reason.STOP_LOSS,
        Reason.BREAKEVEN_STOP,
        Reason.TRAILING_STOP,
        Reason.TIME_LIMIT,
        Reason.DAILY_LOSS,
        Reason.MAX_DRAWDOWN,
        Reason.STALE_FEED,
        Reason.RISK_MANAGEMENT,
    }
)


def rest_ns_of(risk: RiskSettings) -> int:
    """Return for how long a limit exit may rest; 0 = exits have no limit."""
    return int(risk.limit_exit_seconds_max * 1e9) if risk.order_type == "limit" else 0


def resting_exits(flights: Sequence[Flight]) -> list[Flight]:
    """Return the limit exits that the broker has and did not fill."""
    return [
        flight
        for flight in flights
        if not flight.enters and flight.order.limit_e4 and flight.standing.state in _RESTING
    ]


def overdue(flights: Sequence[Flight], event_ns: int, rest_ns: int) -> list[Flight]:
    """Return those that rest for ``rest_ns`` since they were decided, or were last cancelled.

    Times are the exchange's, as those of the ticks: a replay of the day decides the same.
    """
    return [
        flight
        for flight in resting_exits(flights)
        if event_ns - max(flight.order.ts_event_ns, flight.cancel_ns) >= rest_ns
    ]


def overdue_without_ticks(
    flights: Sequence[Flight], now_ns: int, rest_ns: int, prices_e4: Sequence[int]
) -> list[Flight]:
    """Return those that rest for ``rest_ns`` by CLOCK_MONOTONIC, which goes on without ticks.

    One that was decided at the last price of its instrument (``prices_e4``) rests on: without a
    tick a new one would be the same.
    """
    return [
        flight
        for flight in resting_exits(flights)
        if now_ns - max(flight.sent_ns, flight.cancel_sent_ns) >= rest_ns
        and flight.order.price_e4 != prices_e4[flight.order.instrument]
    ]


def again(reason: str) -> str:
    """Return with which reason a cancelled exit is ordered again; "" = the rules decide."""
    return "" if reason in _BY_RULE or target_number(reason) else reason


def cancelling(order_id: str, reason: str) -> str:
    """Return the text of the event that keeps ``reason``; ``to_order_again`` reads it."""
    return f"{order_id} {reason}"


def to_order_again(history: Iterable[Record]) -> dict[str, str]:
    """Return by order id the reasons with which cancelled exits are still to be ordered again.

    An exit that was ordered after the end of the cancelled one was heard is what came of it.
    """
    waiting: dict[str, str] = {}
    ended: dict[str, int] = {}  # order id -> position
    position_of: dict[str, int] = {}
    for record in history:
        if isinstance(record, Event) and record.kind == AGAIN:
            order_id, _, reason = record.text.partition(" ")
            waiting[order_id] = reason
        elif isinstance(record, Change) and record.order_id in waiting:
            if record.state not in LIVE:
                ended[record.order_id] = position_of[record.order_id]
        elif isinstance(record, Order):
            position_of[record.order_id] = record.position_id
            for order_id in [o for o, position in ended.items() if position == record.position_id]:
                del ended[order_id], waiting[order_id]
    return waiting
