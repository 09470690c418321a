"""Where decisions become orders: ledger first, then the gateway, then what became of them.

1  take_price   the tick's price, when signals of this tick or an older one wait
2  on_signal    those signals, in the queue's order; one of a newer tick is held
3  on_tick      the tick's exits
4  execute      order rows durable, orders sent
5  hear         what became of them: fills and trades durable
6  look         with every heartbeat: ask the broker when it is due, write what exits remember;
                act_without_ticks: close what must not wait for a tick

Where the ledger cannot be written, an exit leaves all the same and is written when there is room
again; an entry does not leave, and entries are halted until then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import BrokerBook, Order, OrderGateway, OrderState, OrderUpdate
from pipeline.records import SignalRow
from pipeline.risk.history import Change, Event, LossMark, Mark
from pipeline.risk.in_flight import Flight
from pipeline.risk.ledger import Ledger
from pipeline.risk.limits import Refusal
from pipeline.risk.numbering import is_exit_id
from pipeline.risk.order_states import Heard
from pipeline.risk.reconciliation import Findings, Reconciliation
from pipeline.risk.resting import overdue, overdue_without_ticks, resting_exits
from pipeline.risk.restoring import marks_of
from pipeline.risk.rows import EVENT, SEQ, TickRow, tick_rows
from pipeline.risk.session import RiskSession
from pipeline.risk.unwanted import unwanted

_TICK_SEQ = SignalRow._fields.index("tick_seq")
_TOLD = frozenset({OrderState.UNKNOWN, OrderState.REJECTED, OrderState.NEVER_ARRIVED})

RECONCILE, LEDGER = "reconcile", "ledger"  # obstacles
NO_BOOK_YET = "the broker's book has not come yet"  # so it is at every start: not told
OBSTACLE = "obstacle"  # an event: what keeps entries out, or that it is over
ORDER = "order"  # an event: what is unusual about an order
OUTSIDE = "outside"  # an event: what is in the account and not ours

BATCH_MIN = 64  # ticks from which on one look at all of them is quicker than a look at each
CANCEL_AGAIN_NS = 1_000_000_000  # after a cancel of which nothing came; it is a request like others
MARK_INTERVAL_NS = 1_000_000_000  # how much of an extreme a crash may forget

Tell = Callable[[str, str], None]  # kind and text of an event
Clock = Callable[[], int]


def _no_clock() -> int:
    return 0


class Desk:
    """The only place that sends orders (I3)."""

    def __init__(
        self,
        session: RiskSession,
        ledger: Ledger,
        gateway: OrderGateway,
        tell: Tell | None = None,
        clock: Clock = _no_clock,
    ) -> None:
        """``tell`` is given what a person should know, in place of the ledger alone; ``clock``
        (CLOCK_MONOTONIC) says when an order leaves."""
        self.session = session
        self._ledger = ledger
        self._gateway = gateway
        self._tell = tell or (lambda kind, text: ledger.put(Event(kind, text, 0)))
        self._clock = clock
        self._held: deque[tuple[object, ...]] = deque()
        self._marked: list[Mark | LossMark] = []
        self._marked_ns = 0
        self._reconciliation = Reconciliation(session.instruments, session.recovery)
        self._book: BrokerBook | None = None  # the newest one
        self._doubtful = False
        self._asked_ns: int | None = None
        self._rest_ns = session.rest_ns
        self._cancelled: list[str] = []  # ids of exits of whose cancel the end was not heard

    @property
    def held_count(self) -> int:
        """Signals that wait for their tick."""
        return len(self._held)

    # Ticks and signals ------------------------------------------------------------------------

    def on_ticks(self, ticks: NDArray[np.void], signals: NDArray[np.void], now_ns: int) -> None:
        """Handle TICK rows in order, each after the SIGNAL rows of its tick and of older ones.

        Signals of ticks handled before act first, at the last price.
        """
        if len(signals):
            self.on_signals(signals, now_ns)
        quiet = self._quiet(ticks) if len(ticks) > 1 else 0
        if quiet:
            ticks = np.concatenate([_newest_of_each(ticks[:quiet]), ticks[quiet:]])
        for row in tick_rows(ticks):
            self.on_tick(row, now_ns)

    def _quiet(self, ticks: NDArray[np.void]) -> int:
        """Return of how many ticks, from the first on, only the last of each instrument counts."""
        if self._held:
            return 0
        if self.session.is_flat:
            return len(ticks)
        if len(ticks) < BATCH_MIN or (self._rest_ns and self.session.awaits_fills):
            return 0
        return self.session.quiet(ticks)

    def on_signals(self, signals: NDArray[np.void], now_ns: int) -> None:
        """Handle SIGNAL rows of ticks that were handled; hold the others for their ticks."""
        for row in signals.tolist():
            self.on_signal(row, now_ns)

    def on_signal(self, row: tuple[object, ...], now_ns: int) -> None:
        """Handle one signal, or hold it for its tick."""
        self._held.append(row)
        self._act(self.session.as_of_seq, now_ns)

    def on_tick(self, row: TickRow, now_ns: int) -> None:
        """Handle one tick after the signals held for it."""
        if self._held and self._is_due(row[SEQ]):
            self.session.take_price(row)
            self._act(row[SEQ], now_ns)
        if self._rest_ns and self.session.awaits_fills:
            self.session.take_price(row)
            self._give_up(overdue(self.session.flights.live, row[EVENT], self._rest_ns))
        orders = self.session.on_tick(row)
        if orders:
            self._execute(orders)

    def flatten(self, reason: str, now_ns: int | None = None) -> None:
        """Close everything at the last prices, and cancel what would open more.

        Somebody wants it: resting limit exits are cancelled, and what is not filled is ordered
        again until it is. With ``now_ns`` a rule asks, as patient as retrying.py and again and
        again by itself: exits rest on.
        """
        self.cancel_entries()
        if now_ns is None:
            self.session.want_out(reason)
            self._put_marks()
            self._cancel(resting_exits(self.session.flights.live))
        self._execute(self.session.flatten(reason, now_ns=now_ns))

    def cancel_entries(self) -> None:
        """Ask the broker to cancel what would open more."""
        self._cancel_once(self.session.flights.entries(), self._clock())

    def _cancel_once(self, flights: Sequence[Flight], now_ns: int) -> None:
        """Ask to cancel what was not asked for; what was answered is asked for again, seldom."""
        self._cancel([flight for flight in flights if _may_be_cancelled(flight, now_ns)])

    def act_without_ticks(self, now_ns: int) -> None:
        """Cancel the limit orders that rest for too long, and close what somebody wants closed, by
        CLOCK_MONOTONIC; not in lockstep, where the ticks are the clock."""
        session = self.session
        if self._rest_ns and session.awaits_fills:
            prices_e4 = [session.last_price_e4(at) for at in range(len(session.instruments))]
            live = session.flights.live
            self._give_up(overdue_without_ticks(live, now_ns, self._rest_ns, prices_e4))
        for position in session.book.open_positions():
            watch = session.watch(position.instrument)
            if watch is not None and watch.wanted:
                self._execute(session.exits_without_tick(position.instrument, now_ns))

    def _give_up(self, flights: Sequence[Flight]) -> None:
        """Cancel limit orders that rest for too long."""
        for flight in flights:
            self._tell(ORDER, f"{flight.order.order_id} rests at its limit: it is cancelled")
        self._cancel(flights)

    def _cancel(self, flights: Sequence[Flight]) -> None:
        """Ask to cancel orders; why is durable before."""
        if not flights:
            return
        self._commit()
        for flight in flights:
            flight.cancel_ns = self.session.newest_event_ns
            flight.cancel_sent_ns = self._clock()
            if not flight.enters and flight.order.order_id not in self._cancelled:
                self._cancelled.append(flight.order.order_id)
            self._gateway.cancel(flight.order.order_id, flight.standing.broker_id)
        self.hear()

    def _decide_again(self) -> None:
        """Have decided again which exits were cancelled and have ended."""
        live = {flight.order.order_id for flight in self.session.flights.live}
        ended = [order_id for order_id in self._cancelled if order_id not in live]
        self._cancelled = [order_id for order_id in self._cancelled if order_id in live]
        for order_id in ended:
            flight = self.session.flights.known(order_id)
            assert flight is not None, "risk sent what it cancels"
            self._execute(self.session.exits_without_tick(flight.order.instrument))

    def _is_due(self, seq: int) -> bool:
        tick_seq = self._held[0][_TICK_SEQ]
        assert isinstance(tick_seq, int)
        return tick_seq <= seq

    def _act(self, seq: int, now_ns: int) -> None:
        while self._held and self._is_due(seq):
            outcome = self.session.on_signal(self._held.popleft(), now_ns)
            if isinstance(outcome, Refusal):
                self._ledger.refused(outcome)
            else:
                self._execute(outcome)
            if self.session.awaits_fills:
                self._cancel_once(unwanted(self.session), now_ns)

    # Orders -----------------------------------------------------------------------------------

    def _execute(self, orders: Sequence[Order]) -> None:
        if not orders:
            return
        for order in orders:
            self._ledger.put(order)
        self._put_marks()
        if not self._commit():
            orders = self._without_ledger(orders)
        for order in orders:
            self._gateway.send(order)
            self.session.flights.handed_over(order.order_id, self._clock())
        self.hear()
        self._cancel_once(unwanted(self.session), self._clock())

    def _without_ledger(self, orders: Sequence[Order]) -> Sequence[Order]:
        """Return the orders that leave all the same, and give up the others."""
        entries = [order for order in orders if not is_exit_id(order.order_id)]
        self._ledger.take_back(entries)
        for order in entries:
            self.session.on_update(OrderUpdate(order_id=order.order_id, state=OrderState.REJECTED))
        return [order for order in orders if order not in entries]

    def hear(self) -> None:
        """Take what became known of orders, and write what it changed."""
        heard = self._gateway.take()
        if not heard:
            return
        for each in heard:
            if isinstance(each, OrderUpdate):
                self._on_update(each)
            else:
                self._on_book(each)
        self._put_marks()
        self._commit()
        if self._cancelled:
            self._decide_again()

    def _on_update(self, update: OrderUpdate) -> None:
        heard = self.session.on_update(update, self._clock())
        if heard is None:
            self._doubtful |= _is_traded_by_others(update)
            return
        self._write(heard, update.text)
        if heard.report or heard.standing.state in _TOLD:
            text = "; ".join(filter(None, (heard.report, update.text)))
            self._tell(ORDER, f"{update.order_id} is {heard.standing.state}: {text or 'no reason'}")
        self._doubtful |= bool(heard.report)

    def _write(self, heard: Heard, text: str) -> None:
        """Put what an update changed, the fill first: a change has the totals behind it."""
        for fill, trade in zip(heard.fills, heard.trades, strict=True):
            self._ledger.put(fill)
            if trade is not None:
                self._ledger.put(trade)
        standing = heard.standing
        self._ledger.put(
            Change(
                heard.order.order_id,
                standing.state,
                standing.filled,
                standing.turnover_e4,
                standing.broker_id,
                "; ".join(filter(None, (heard.report, text))),
            )
        )

    # Asking -----------------------------------------------------------------------------------

    def look(self, now_ns: int) -> None:
        """Hear, ask the broker when it is due, and write what the exits remember."""
        self.hear()
        self._cancel_once(unwanted(self.session), now_ns)
        pressing = self._doubtful or self.session.flights.unproven
        recovery = self.session.recovery
        wait_s = recovery.ask_seconds if pressing else recovery.reconcile_seconds
        if self._asked_ns is None or now_ns - self._asked_ns >= wait_s * 1e9:
            self._asked_ns = now_ns
            self._gateway.ask()
            self.hear()
        if now_ns - self._marked_ns >= MARK_INTERVAL_NS:
            self._marked_ns = now_ns
            self._put_marks()
        self._commit()

    def start(self, now_ns: int) -> None:
        """Refuse entries until the broker's book agrees with what was restored, and ask for it."""
        self._reconciliation.restore(self._ledger.outside())
        self.session.obstacles[RECONCILE] = NO_BOOK_YET
        self.look(now_ns)

    def _on_book(self, book: BrokerBook) -> None:
        for update in book.orders:
            self._on_update(update)
        self._book = book
        session = self.session
        findings = self._reconciliation.judge(book, session.flights, session.book.held)
        for flight in findings.never_arrived:
            self._on_update(_never_arrived(flight.order.order_id, flight.absent))
        session.numbering.avoid(findings.strangers)
        self._tell_of(findings)
        self._doubtful = findings.doubtful
        session.flights.remains = findings.remains
        unexplained = "; ".join(findings.unexplained)
        if unexplained:
            self._obstruct(RECONCILE, unexplained)
        elif not findings.doubtful:
            self._clear(RECONCILE)

    def _tell_of(self, findings: Findings) -> None:
        for outside in findings.outside:
            self._ledger.put(outside)
        for note in findings.notes:
            self._tell(OUTSIDE, note)

    def accept_differences(self) -> None:
        """Take what the newest book has and we do not as not ours, because a person said so."""
        if self._book is not None:
            for outside in self._reconciliation.accept(self._book, self.session.book.held):
                self._ledger.put(outside)
        self._commit()

    # Obstacles --------------------------------------------------------------------------------

    def _obstruct(self, what: str, why: str) -> None:
        """Refuse entries until ``what`` is over."""
        obstacles = self.session.obstacles
        if what not in obstacles or obstacles[what] != why:
            obstacles[what] = why
            self._tell(OBSTACLE, f"no entries: {what}: {why}")

    def _clear(self, what: str) -> None:
        if self.session.obstacles.pop(what, NO_BOOK_YET) != NO_BOOK_YET:
            self._tell(OBSTACLE, f"over: {what}")

    # Writing ----------------------------------------------------------------------------------

    def _put_marks(self) -> None:
        """Have what the exits remember written, where it changed."""
        marks = marks_of(self.session)
        if marks != self._marked:
            for mark in marks:
                if mark not in self._marked:
                    self._ledger.put(mark)
            self._marked = marks

    def write_events(self) -> None:
        """Write what the session did that a person should know of: halts and their end."""
        events, self.session.events = self.session.events, []
        for event in events:
            self._ledger.put(event)

    def write_now(self) -> None:
        """Make durable what a person should know, as far as there is room."""
        self._commit()

    def _commit(self) -> bool:
        """Make what waits durable; take no entries for as long as that fails."""
        self.write_events()
        written = self._ledger.try_commit()
        if not written:
            self._obstruct(LEDGER, self._ledger.failed)
        elif self.session.obstacles:
            self._clear(LEDGER)
        return written

    def __repr__(self) -> str:
        return f"<Desk held_signals={self.held_count} {self.session!r}>"


def _may_be_cancelled(flight: Flight, now_ns: int) -> bool:
    asked_ns = flight.cancel_sent_ns
    if asked_ns is None:
        return True
    answered = flight.standing.state not in (OrderState.PENDING_NEW, OrderState.SENT)
    return answered and now_ns - asked_ns >= CANCEL_AGAIN_NS


def _is_traded_by_others(update: OrderUpdate) -> bool:
    """Tell whether somebody else traded one of our instruments: the book may differ now."""
    return not update.order_id and update.instrument is not None and update.filled > 0


def _never_arrived(order_id: str, books: int) -> OrderUpdate:
    text = f"{books} books of the broker do not have it"
    return OrderUpdate(order_id=order_id, state=OrderState.NEVER_ARRIVED, text=text)


def _newest_of_each(ticks: NDArray[np.void]) -> NDArray[np.void]:
    """Return the last row of every instrument, in the order of the ring."""
    if len(ticks) < 2:
        return ticks
    _, from_end = np.unique(ticks["instrument"][::-1], return_index=True)
    return ticks[np.sort(len(ticks) - 1 - from_end)]
