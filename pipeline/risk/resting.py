"""Limit orders whose price ran away: which rest for too long, and what follows their cancel. Pure.

Risk asks the broker to cancel such an order. Until the end of it is heard its shares are in flight,
so there are never two exits for the same shares. Then the rules decide at the price of then; what
an entry did not get stays with the strategy to ask for.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.brokers.contract import OrderState
from pipeline.risk.in_flight import Flight
from pipeline.settings import RiskSettings

_RESTING = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})


def rest_ns_of(risk: RiskSettings) -> int:
    """Return for how long a limit order may rest; 0 = orders have no limit."""
    return int(risk.limit_order_seconds_max * 1e9) if risk.order_type == "limit" else 0


def resting(flights: Sequence[Flight]) -> list[Flight]:
    """Return the limit orders that the broker has and did not fill."""
    return [f for f in flights if f.order.limit_e4 and f.standing.state in _RESTING]


def resting_exits(flights: Sequence[Flight]) -> list[Flight]:
    return [flight for flight in resting(flights) if not flight.enters]


def overdue(flights: Sequence[Flight], event_ns: int, rest_ns: int) -> list[Flight]:
    """Return those that rest for ``rest_ns`` since they were decided, or were last cancelled.

    Times are the exchange's, as those of the ticks: a replay of the day decides the same.
    """
    return [
        flight
        for flight in resting(flights)
        if event_ns - max(flight.order.ts_event_ns, flight.cancel_ns) >= rest_ns
    ]


def overdue_without_ticks(
    flights: Sequence[Flight], now_ns: int, rest_ns: int, prices_e4: Sequence[int]
) -> list[Flight]:
    """Return those that rest for ``rest_ns`` by CLOCK_MONOTONIC, which goes on without ticks.

    One that was decided at the last price of its instrument (``prices_e4``) rests on: without a
    tick a new exit would be the same.
    """
    return [
        flight
        for flight in resting(flights)
        if now_ns - (flight.cancel_sent_ns or flight.sent_ns) >= rest_ns
        and flight.order.price_e4 != prices_e4[flight.order.instrument]
    ]
