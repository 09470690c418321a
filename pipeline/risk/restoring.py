"""A session that stands where the one before it stood: the records of a ledger, taken in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import Fill, Order
from pipeline.errors import UserError, explain
from pipeline.risk.history import START, Change, Event, LossMark, Mark, Outside, Record, Sent
from pipeline.risk.in_flight import Flight
from pipeline.risk.mandate import STATE, Mandate
from pipeline.risk.numbering import is_exit_id
from pipeline.risk.order_states import Standing
from pipeline.risk.positions import Delays
from pipeline.risk.rows import INSTRUMENT, tick_of, tick_rows
from pipeline.risk.session import RiskSession


@dataclass(slots=True)
class Restored:
    """How far the ticks of this run are in what was restored."""

    handled: int = 0  # seq of the newest tick whose exits were judged, as far as orders tell
    marked: dict[int, int] = field(default_factory=dict)  # instrument -> seq of its last mark

    @property
    def oldest(self) -> int:
        """The tick from which on extremes may be missing."""
        return min(self.marked.values(), default=self.handled)


def restore(session: RiskSession, history: Iterable[Record], now_ns: int = 0) -> Restored:
    """Take over from a session that died: the records of its ledger, oldest first.

    Of the last orders nobody knows whether they left; ``now_ns`` (CLOCK_MONOTONIC) counts as the
    time at which they were sent. Until its next tick an instrument stands at the price of its
    last order, that of an open position at the price of its last mark, which has its extremes too.
    Raises UserError where what is held, or on its way, is of other instruments than the session's.
    """
    restored = Restored()
    for record in history:
        _TAKE[type(record)](session, record)
        _note(restored, record)
    session.retries.forget_after(now_ns)
    for flight in session.flights.live:
        flight.sent_ns = now_ns
        _refuse_another_symbol(session, flight.order)
    for position in session.book.open_positions():
        _refuse_another_symbol(session, _flight(session, position.entry_order_id).order)
    return restored


def _refuse_another_symbol(session: RiskSession, order: Order) -> None:
    """Raise UserError where the settings have another instrument at the place of the order's."""
    place, instruments = order.instrument, session.instruments
    symbol = instruments[place].symbol if place < len(instruments) else "none"
    if symbol != order.symbol:
        raise UserError(
            explain(
                f"instrument {place} of order {order.order_id} was {order.symbol}, and is {symbol}",
                rule="a run that goes on with what it holds has the instruments that it had",
                cure="put them back into [[instruments]], in their order, or close by hand what is "
                "held and take another run.name",
            )
        )


def _note(restored: Restored, record: Record) -> None:
    if isinstance(record, Order):
        unjudged = 1 if record.ts_signal_ns else 0  # signals of a tick come before its exits
        restored.handled = max(restored.handled, record.tick_seq - unjudged)
    elif isinstance(record, Mark):
        restored.marked[record.instrument] = record.tick_seq
    elif isinstance(record, Event) and record.kind == START:
        restored.handled = 0
        restored.marked.clear()


def marks_of(session: RiskSession) -> list[Mark | LossMark]:
    """Return what the exits of every open position and the loss limits remember."""
    marks: list[Mark | LossMark] = [
        Mark(
            position.position_id,
            position.instrument,
            position.quantity,
            position.entry_e4,
            watch.low_e4,
            watch.high_e4,
            watch.targets_reached,
            session.judged_seq,
            session.last_price_e4(position.instrument),
            watch.wanted,
        )
        for position in session.book.open_positions()
        if (watch := session.watch(position.instrument)) is not None
    ]
    losses = session.watches.losses.mark
    if losses is not None:
        marks.append(losses)
    return marks


def catch_up(session: RiskSession, ticks: NDArray[np.void], restored: Restored) -> NDArray[np.void]:
    """Have ``session`` remember the ticks that were handled before it died; return the others."""
    known = ticks[ticks["seq"] <= restored.handled]
    for row in tick_rows(known):
        at = row[INSTRUMENT]
        after = restored.marked[at] if at in restored.marked else restored.handled
        session.remember(row, after_seq=after)
    session.judged_seq = restored.handled
    return ticks[len(known) :]


def _order(session: RiskSession, order: Order) -> None:
    if order.instrument >= len(session.instruments):
        _refuse_another_symbol(session, order)
    session.take_price(tick_of(order))
    session.numbering.count(order, is_exit=is_exit_id(order.order_id))
    session.flights.add(order, Delays.noted(order))
    watch = session.watch(order.instrument)
    if not is_exit_id(order.order_id):
        session.watches.wanted[order.instrument] = ""
    elif watch is not None:
        watch.ordered(order.reason)


def _fill(session: RiskSession, fill: Fill) -> None:
    session.on_fill(_flight(session, fill.order_id).order, fill)


def _change(session: RiskSession, change: Change) -> None:
    flight = _flight(session, change.order_id)
    standing = Standing(
        flight.order.quantity, change.state, change.filled, change.turnover_e4, change.broker_id
    )
    before = flight.standing.state
    session.flights.put(flight, standing)
    session.retries.restore(flight, before)
    session.owe(flight, before)


def _flight(session: RiskSession, order_id: str) -> Flight:
    flight = session.flights.known(order_id)
    assert flight is not None, f"the ledger has no order {order_id}"
    return flight


def _mark(session: RiskSession, mark: Mark) -> None:
    watch, position = session.watch(mark.instrument), session.book.position(mark.instrument)
    if watch is None or position is None or position.position_id != mark.position_id:
        return
    watch.targets_reached = max(watch.targets_reached, mark.targets_reached)
    watch.take(mark.low_e4)
    watch.take(mark.high_e4)
    session.watches.want_out(mark.instrument, mark.wanted)
    session.know_price(mark.instrument, mark.last_e4)


def _losses(session: RiskSession, mark: LossMark) -> None:
    session.watches.losses.restore(mark)


def _event(session: RiskSession, event: Event) -> None:
    if event.kind == STATE:
        session.mandate = session.mandate.asked(Mandate.parse(event.text))


def _nothing(session: RiskSession, record: Sent | Outside) -> None:
    """Leave what the session does not need."""


_TAKE: dict[type, Callable[[RiskSession, Any], None]] = {
    Order: _order,
    Fill: _fill,
    Change: _change,
    Mark: _mark,
    LossMark: _losses,
    Event: _event,
    Sent: _nothing,
    Outside: _nothing,
}
