"""Limit exits whose price ran away: which rest for too long, and what follows their cancel. Pure.

Risk asks the broker to cancel such an exit. Until the end of it is heard its shares are in flight,
so there are never two exits for the same shares. Then the rules decide at the price of then.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.brokers.contract import OrderState
from pipeline.risk.in_flight import Flight
from pipeline.settings import RiskSettings

_RESTING = frozenset({OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED})


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
