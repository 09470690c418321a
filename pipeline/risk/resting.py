"""Limit exits whose price ran away: which rest for too long, and what follows their cancel. Pure.

Risk asks the broker to cancel such an exit. Until the end of it is heard its shares are in flight,
so there are never two exits for the same shares. Then the rules decide at the price of then; what
no rule would ask for again (a person's, the strategy's) is ordered again with its own reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.brokers.contract import OrderState
from pipeline.risk.in_flight import Flight
from pipeline.risk.reasons import Reason, target_number
from pipeline.settings import RiskSettings

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


def overdue(flights: Sequence[Flight], now_ns: int, rest_ns: int) -> list[Flight]:
    """Return those that rest for ``rest_ns`` since they were decided, or were last cancelled.

    Times are the exchange's, as those of the ticks: a replay of the day decides the same.
    """
    return [
        flight
        for flight in resting_exits(flights)
        if now_ns - max(flight.order.ts_event_ns, flight.cancel_ns) >= rest_ns
    ]


def again(reason: str) -> str:
    """Return with which reason a cancelled exit is ordered again; "" = the rules decide."""
    return "" if reason in _BY_RULE or target_number(reason) else reason
