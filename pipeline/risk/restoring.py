"""A session that stands where the one before it stood: the records of a ledger, taken in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from pipeline.brokers.contract import Fill, Order
from pipeline.risk.history import HALT, RESUME, Change, Event, Mark, Outside, Record, Sent
from pipeline.risk.in_flight import Flight
from pipeline.risk.order_states import Standing
from pipeline.risk.positions import Delays
from pipeline.risk.rows import tick_of
from pipeline.risk.session import RiskSession


def restore(session: RiskSession, history: Iterable[Record], now_ns: int = 0) -> None:
    """Take over from a session that died: the records of its ledger, oldest first.

    Of the last orders nobody knows whether they left; ``now_ns`` (CLOCK_MONOTONIC) counts as the
    time at which they were sent. Until its next tick an instrument stands at the price of its
    last order, and the extremes of a position are those of its last mark.
    """
    for record in history:
        _TAKE[type(record)](session, record)
    for flight in session.flights.live:
        flight.sent_ns = now_ns


def _order(session: RiskSession, order: Order) -> None:
    session.take_price(tick_of(order))
    session.numbering.count(order, is_exit=session.closes(order))
    session.flights.add(order, Delays.noted(order))


def _fill(session: RiskSession, fill: Fill) -> None:
    session.on_fill(_flight(session, fill.order_id).order, fill)


def _change(session: RiskSession, change: Change) -> None:
    flight = _flight(session, change.order_id)
    standing = Standing(
        flight.order.quantity, change.state, change.filled, change.turnover_e4, change.broker_id
    )
    session.flights.put(flight, standing)


def _flight(session: RiskSession, order_id: str) -> Flight:
    flight = session.flights.known(order_id)
    assert flight is not None, f"the ledger has no order {order_id}"
    return flight


def _mark(session: RiskSession, mark: Mark) -> None:
    watch, position = session.watch(mark.instrument), session.book.position(mark.instrument)
    if watch is None or position is None or position.position_id != mark.position_id:
        return
    watch.take(mark.low_e4)
    watch.take(mark.high_e4)
    watch.targets_reached = max(watch.targets_reached, mark.targets_reached)


def _event(session: RiskSession, event: Event) -> None:
    who, _, why = event.text.partition(": ")
    if event.kind == HALT:
        session.halt(who, why)
    elif event.kind == RESUME:
        session.resume(who)


def _nothing(session: RiskSession, record: Sent | Outside) -> None:
    """Leave what the session does not need."""


_TAKE: dict[type, Callable[[RiskSession, Any], None]] = {
    Order: _order,
    Fill: _fill,
    Change: _change,
    Mark: _mark,
    Event: _event,
    Sent: _nothing,
    Outside: _nothing,
}
