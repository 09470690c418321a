"""Risk without its process: ticks, signals and fills in; orders, refusals and trades out.

Decides, never does: the desk sends what is returned here and hands back the fills. An order
counts as in flight until it is filled, so no tick and no signal asks for the same shares twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import Fill, Order, OrderState, OrderUpdate, Quote
from pipeline.records import PRICE_SCALE, ExitKind, SignalRow, positions_dtype
from pipeline.results.trades import Trade
from pipeline.risk.drafting import NO_CAUSE, Cause, Decision, Drafting
from pipeline.risk.exits import ExitWatch, exits_due
from pipeline.risk.history import Event
from pipeline.risk.in_flight import Flight, InFlight
from pipeline.risk.limits import Facts, Limits, Refusal, Size, side_of
from pipeline.risk.losses import Breach, CoolDown
from pipeline.risk.mandate import STATE, Mandate, TradingState
from pipeline.risk.numbering import Numbering, is_exit_id
from pipeline.risk.order_states import Heard, News, fill_of, hear
from pipeline.risk.positions import NO_DELAYS, Book, Delays, Position, split
from pipeline.risk.reasons import STRATEGY_SIGNAL, Reason, kind_of
from pipeline.risk.resting import rest_ns_of
from pipeline.risk.retrying import Retries, unsold
from pipeline.risk.rows import ASK, BID, EVENT, INSTRUMENT, NO_TICK, PRICE, RECEIVED, SEQ, TickRow
from pipeline.risk.rulebook import NO_RULES, Rulebook
from pipeline.risk.tariffs import tariffs_of
from pipeline.risk.watches import Watches
from pipeline.settings import Settings

NO_ORDERS: tuple[Order, ...] = ()


class RiskStatistics(NamedTuple):
    """Counters of a session, for the heartbeat and the results."""

    signals: int  # handled, refused ones included
    refused: int
    orders: int
    trades: int
    position: int  # open, shares over all instruments
    cash_e4: int
    equity_e4: int


class RiskSession:
    """The positions of one run and every decision about them."""

    def __init__(
        self, settings: Settings, rulebook: Rulebook = NO_RULES, *, replays: bool = False
    ) -> None:
        """Take the settings, and the rulebook where they use the calendar or dated charges.

        With ``replays`` the ticks are the clock, also of pauses after a refusal. Raises
        SettingsError where the rulebook has no rates for an instrument.
        """
        count = len(settings.instruments)
        self.book = Book(
            settings.instruments,
            settings.capital.initial_capital,
            tariffs_of(settings, rulebook),
        )
        self.mandate = Mandate()
        self.obstacles: dict[str, str] = {}  # what keeps entries out until it is over, and why
        self.events: list[Event] = []  # for the ledger; who writes them takes them away
        self.version = 0  # grows whenever positions_row() differs in more than as_of_seq
        self.instruments = settings.instruments
        self.recovery = settings.recovery
        self._lot_sizes = [instrument.lot_size for instrument in settings.instruments]
        self._limits = Limits(settings, rulebook)
        self._in_flight = InFlight()
        self.rest_ns = rest_ns_of(settings.risk)
        self._replays = replays
        self.retries = Retries(int(settings.risk.exit_retry_seconds * 1e9))
        self.numbering = Numbering(count)
        self._drafting = Drafting(settings, rulebook, self.numbering)
        self._cool_down = CoolDown(settings.risk)
        self._newest = NO_TICK
        self.judged_seq = 0  # the last tick whose exits were judged
        self._last: list[TickRow] = [NO_TICK] * count
        self.watches = Watches(settings, rulebook)
        self._watch_of = self.watches.of
        self._due_ns = self.watches.due_ns  # a copy: on_tick looks at it with every tick
        self._closed = [(0, int(ExitKind.NONE))] * count  # position id, kind of its last exit
        self._row_dtype = positions_dtype(count)
        self._as_of_signal = self._signals = self._refused = 0

    def on_tick(self, row: TickRow) -> Sequence[Order]:
        """Take one tick and return the exits it causes."""
        self._newest = row
        self.judged_seq = row[SEQ]
        instrument = row[INSTRUMENT]
        self._last[instrument] = row
        due_ns = self._due_ns
        if due_ns is not None and row[EVENT] >= due_ns:
            return self._exits_of_all(row)
        watch = self._watch_of[instrument]
        if watch is None or watch.quiet_low_e4 <= row[PRICE] <= watch.quiet_high_e4:
            return NO_ORDERS
        return self._exits_at(instrument, row)

    def quiet(self, ticks: NDArray[np.void]) -> int:
        """Return how many TICK rows, from the first on, cause no exit and move no stop."""
        return self.watches.quiet(ticks, self.book.open_positions())

    def take_price(self, row: TickRow) -> None:
        """Take the price of a tick whose signals are handled before its exits."""
        self._newest = row
        self._last[row[INSTRUMENT]] = row

    def on_signal(self, row: Sequence[object], now_ns: int) -> Sequence[Order] | Refusal:
        """Take one signal (records.SIGNAL in field order); return its orders or its refusal."""
        signal = SignalRow._make(row)
        facts = self._facts(signal, now_ns)
        self._signals += 1
        if signal.seq > self._as_of_signal:
            self._as_of_signal = signal.seq
            self.version += 1
        judged = self._limits.judge(signal, facts)
        if isinstance(judged, Refusal):
            self._refused += 1
            return judged
        if judged is None:
            return self._close(signal, now_ns)
        return self._enter(signal, judged, now_ns)

    def on_update(self, update: OrderUpdate, now_ns: int = 0) -> Heard | None:
        """Take what became known of an order by ``now_ns``; None where it is nothing new."""
        flight = self._in_flight.known(update.order_id)
        if flight is None:
            return None
        before, order = flight.standing.state, flight.order
        news = hear(flight.standing, update)
        if news.standing == flight.standing and not news.report:
            return None
        heard = Heard(order, news.standing, report=news.report)
        if news.quantity:
            fills = self._fills_of(order, news, update.ts_event_ns)
            heard = heard._replace(fills=fills, trades=[self.on_fill(order, f) for f in fills])
        self._in_flight.put(flight, news.standing)
        self.retries.hear(flight, before, self._clock_ns(now_ns))
        self.owe(flight, before)
        return heard

    def owe(self, flight: Flight, before: OrderState) -> None:
        """Have a target whose order ended with shares left sold again; its state was ``before``."""
        order = flight.order
        watch, position = self._watch_of[order.instrument], self.book.position(order.instrument)
        if watch is not None and position is not None and position.position_id == order.position_id:
            unsold(watch, flight, before, self._lot_sizes[order.instrument])

    def _fills_of(self, order: Order, news: News, ts_event_ns: int) -> Sequence[Fill]:
        """Return the fill of what is new; two where it closes more than is held."""
        whole = fill_of(order, news, ts_event_ns or self._newest[EVENT])
        position = self.book.position(order.instrument)
        if position is None or position.side is order.side or whole.quantity <= position.open:
            return [whole]
        return split(whole, position.open)

    def on_fill(self, order: Order, fill: Fill) -> Trade | None:
        """Book a fill; return the trade of an exit, None for an entry.

        Raises TickpipeError when more is closed than is held.
        """
        self.version += 1
        if self.watches.looks_at_losses:
            self.watches.unsettle(self._equity_e4(), fill.ts_event_ns)
        delays = self._in_flight.land(fill)
        if not self.book.is_exit(order):
            if is_exit_id(order.order_id):  # it closed more than was held
                self.watches.want_out(order.instrument, Reason.RISK_MANAGEMENT)
            self.watches.entered(self.book.enter(order, fill, delays), fill.ts_event_ns)
            self._due_ns = self.watches.due_ns
            return None
        watch = self._watch_of[order.instrument]
        assert watch is not None, "an open position has a watch"
        self.retries.filled(order.instrument)
        trade = self.book.leave(order, fill, watch.low_e4, watch.high_e4)
        if self.book.position(order.instrument) is None:
            self.watches.left(order.instrument)
            self._due_ns = self.watches.due_ns
            self._closed[order.instrument] = (order.position_id, int(kind_of(order.reason)))
            self._cool_down.closed(order.reason, fill.ts_event_ns)
        return trade

    def want_out(self, reason: str) -> None:
        """Have everything closed at any price until it is, what is on its way in among it."""
        for instrument in range(len(self.instruments)):
            self.watches.want_out(instrument, reason)

    def flatten(
        self, reason: str, cause: Cause = NO_CAUSE, now_ns: int | None = None
    ) -> list[Order]:
        """Return orders that close everything; with ``now_ns`` as patient as retrying.py."""
        orders: list[Order] = []
        for position in self.book.open_positions():
            if now_ns is None or not self.retries.waits(
                position.instrument, self._clock_ns(now_ns)
            ):
                shares = self._in_flight.closable(position)
                orders += self._exit(position, shares, reason, cause)
        return orders

    def exits_without_tick(self, instrument: int, now_ns: int = 0) -> Sequence[Order]:
        """Return the exits that are due at the last price, though no tick came by ``now_ns``."""
        newest = self._newest
        row = (newest[SEQ], newest[EVENT], max(now_ns, newest[RECEIVED]), *newest[PRICE:])
        return self._exits_at(instrument, row)

    def halt(self, reason: str) -> None:
        """Take no more entries until ``resume``; exits and cancels go on."""
        self._ask(Mandate(TradingState.HALTED, reason))

    def reduce(self, reason: str) -> None:
        """Take no more entries until ``resume``; a halt stays a halt."""
        self._ask(Mandate(TradingState.REDUCING, reason))

    def resume(self, reason: str) -> None:
        """Take entries again. A loss limit that is still exceeded halts again at the next look."""
        self._ask(Mandate(TradingState.ACTIVE, reason))

    def _ask(self, wanted: Mandate) -> None:
        self.mandate = self.mandate.asked(wanted)
        self.events.append(Event(STATE, str(wanted), self._newest[EVENT]))

    # Obstacles --------------------------------------------------------------------------------

    @property
    def halted(self) -> str:
        """Why there are no entries; "" = there are."""
        if self.obstacles:
            return "; ".join(f"{what}: {why}" for what, why in self.obstacles.items())
        return "" if self.mandate.takes_entries else str(self.mandate)

    def _mandate_now(self) -> Mandate:
        """Return the mandate; while there are obstacles it is halted, and then what it was."""
        return Mandate(TradingState.HALTED, self.halted) if self.obstacles else self.mandate

    # Recovering: restoring.py -----------------------------------------------------------------

    def watch(self, instrument: int) -> ExitWatch | None:
        """Return what the exits of the open position remember."""
        return self._watch_of[instrument]

    def remember(self, row: TickRow, *, after_seq: int) -> None:
        """Take a tick that was handled before a restart; a mark has those up to ``after_seq``."""
        self.take_price(row)
        watch = self._watch_of[row[INSTRUMENT]]
        if watch is not None and row[SEQ] > after_seq:
            watch.take(row[PRICE])
            if self.watches.looks_at_losses:
                self.watches.losses.look(self._equity_e4(), row[EVENT])

    def know_price(self, instrument: int, price_e4: int) -> None:
        """Take the last price of an instrument from before a restart; its tick stays old."""
        row = self._last[instrument]
        self._last[instrument] = (*row[:PRICE], price_e4, *row[PRICE + 1 :])

    def skip_signals(self, seq: int) -> None:
        """Count the signals up to ``seq`` as handled: a risk that died had taken them."""
        self._as_of_signal = seq
        self.version += 1

    # Deciding ---------------------------------------------------------------------------------

    def _exits_of_all(self, row: TickRow) -> Sequence[Order]:
        """Return the exits at a time from which a rule of time fires, in any instrument."""
        orders = list(self._exits_at(row[INSTRUMENT], row))
        for instrument, watch in self.watches.due(row[EVENT]):
            orders += self._exits(instrument, watch, row)
        return orders

    def _exits_at(self, instrument: int, row: TickRow) -> Sequence[Order]:
        """Return the exits that the last price of ``instrument`` causes at the time of ``row``."""
        watch = self._watch_of[instrument]
        breach = self._breach(row[EVENT])
        if breach is not None:
            if watch is not None:
                watch.take(self._last[instrument][PRICE])
            return self.flatten(breach.reason, Cause(row[RECEIVED]), row[RECEIVED])
        return NO_ORDERS if watch is None else self._exits(instrument, watch, row)

    def _exits(self, instrument: int, watch: ExitWatch, row: TickRow) -> Sequence[Order]:
        position = self.book.position(instrument)
        assert position is not None, "a watch belongs to an open position"
        lot_size = self._lot_sizes[instrument]
        waits = self.retries.waits(instrument, row[EVENT if self._replays else RECEIVED])
        closable = 0 if waits else self._in_flight.closable(position)
        shown_e4 = watch.stop_e4
        price_e4 = self._last[instrument][PRICE]
        exits = exits_due(watch, price_e4, row[EVENT], -(-closable // lot_size))
        if watch.stop_e4 != shown_e4:
            self.version += 1
        orders: list[Order] = []
        for exit in exits:
            quantity = min(exit.lots * lot_size, closable)
            closable -= quantity
            orders += self._exit(position, quantity, exit.reason, Cause(row[RECEIVED]))
        return orders or NO_ORDERS

    def _facts(self, signal: SignalRow, now_ns: int) -> Facts:
        known = self._limits.knows(signal.instrument)
        position = self.book.position(signal.instrument) if known else None
        last = self._last[signal.instrument] if known else NO_TICK
        event_ns = max(signal.ts_event_ns, self._newest[EVENT])
        breach = self._breach(event_ns)  # before the mandate is read: a breach halts
        entering, cash = 0, self.book.free_cash
        instruments = {position.instrument for position in self.book.open_positions()}
        for flight in self._in_flight.entries():
            instruments.add(flight.order.instrument)
            entering += flight.left if flight.order.instrument == signal.instrument else 0
            cash -= flight.reserved
        return Facts(  # in the order of its fields: by name it takes three times as long
            now_ns,
            event_ns,
            last[PRICE],
            last[RECEIVED],
            self._as_of_signal,
            entering,
            entering + (position.open if position else 0),
            self._in_flight.closable(position) if position else 0,
            self._mandate_now(),
            breach,
            self._cool_down.until_ns,
            self.numbering.entries_on(event_ns),
            len(instruments),
            self.numbering.sent(event_ns),
            cash,
        )

    def _close(self, signal: SignalRow, now_ns: int) -> Sequence[Order]:
        position, text = self.book.position(signal.instrument), signal.text
        reason = text if text == Reason.STRATEGY_FAILED else STRATEGY_SIGNAL + text
        self.watches.want_out(signal.instrument, reason)
        if position is None or self.retries.waits(signal.instrument, self._clock_ns(now_ns)):
            return NO_ORDERS  # what comes in is closed then, or with the first tick after the pause
        return self._exit(position, self._in_flight.closable(position), reason, Cause.of(signal))

    def _enter(self, signal: SignalRow, size: Size, now_ns: int) -> Sequence[Order]:
        self.watches.wanted[signal.instrument] = ""
        number, shares = self.numbering.next_position(), size.lots * size.lot_size
        decision = Decision.entering(number, signal, side_of(signal), shares)
        return self._send(decision, Delays.of(signal, now_ns))

    def _exit(
        self, position: Position, quantity: int, reason: str, cause: Cause
    ) -> Sequence[Order]:
        return self._send(Decision.leaving(position, quantity, reason, cause), NO_DELAYS)

    def _send(self, decision: Decision, delays: Delays) -> Sequence[Order]:
        price_e4 = self._last[decision.instrument][PRICE]
        orders = self._drafting.orders(decision, self._newest, price_e4)
        for order in orders:
            self._in_flight.add(order, delays)
        return orders

    def _clock_ns(self, now_ns: int) -> int:
        """Return the time by which pauses end."""
        newest = self._newest
        return newest[EVENT] if self._replays else max(now_ns, newest[RECEIVED])

    def _equity_e4(self) -> int:
        held = self.book.open_positions()
        value_e4 = sum(p.quantity * self._last[p.instrument][PRICE] for p in held)
        return math.floor(self.book.cash * PRICE_SCALE) + value_e4

    def _breach(self, ts_event_ns: int) -> Breach | None:
        """Return the loss limit that is reached, if any; halt where one is."""
        if not self.watches.looks_at_losses:
            return None
        held = [(p, self._last[p.instrument][PRICE]) for p in self.book.open_positions()]
        breach = self.watches.look(self._equity_e4(), ts_event_ns, held)
        self._due_ns = self.watches.due_ns
        if breach is not None and not self.mandate.is_halted:
            self.halt(breach.reason)
        return breach

    # Telling ----------------------------------------------------------------------------------

    @property
    def as_of_seq(self) -> int:
        """The last tick handled."""
        return self._newest[SEQ]

    @property
    def newest_event_ns(self) -> int:
        """The exchange time of the last tick handled."""
        return self._newest[EVENT]

    def quote(self, instrument: int) -> Quote:
        """Return how an instrument stands, as far as its last tick tells."""
        row = self._last[instrument]
        return Quote(row[PRICE], row[BID], row[ASK], row[EVENT])

    @property
    def flights(self) -> InFlight:
        """The orders of the day, and where each stands."""
        return self._in_flight

    @property
    def awaits_fills(self) -> bool:
        """True while an order may still be filled."""
        return not self._in_flight.landed

    @property
    def is_flat(self) -> bool:
        """True when nothing is held."""
        return self.book.is_flat

    def positions_row(self) -> NDArray[np.void]:
        """Return the record of the positions cell, shape ``(1,)``; seq is left 0."""
        positions = [self._position_fields(at) for at in range(len(self.instruments))]
        fields = (0, self.as_of_seq, self._as_of_signal, positions)
        return np.array([fields], dtype=self._row_dtype)

    def _position_fields(self, instrument: int) -> tuple[int, ...]:
        position, watch = self.book.position(instrument), self._watch_of[instrument]
        if position is None or watch is None:
            return (0, 0, 0, 0, *self._closed[instrument])
        held = (position.position_id, position.quantity, position.entry_e4, watch.stop_e4)
        return (*held, *self._closed[instrument])

    def last_price_e4(self, instrument: int) -> int:
        """Return the last price of ``instrument``, 0 before its first tick."""
        return self._last[instrument][PRICE]

    def statistics(self) -> RiskStatistics:
        """Return the counters as they stand."""
        return RiskStatistics(
            signals=self._signals,
            refused=self._refused,
            orders=self.numbering.orders,
            trades=self.book.trade_count,
            position=sum(position.quantity for position in self.book.open_positions()),
            cash_e4=math.floor(self.book.cash * PRICE_SCALE),
            equity_e4=self._equity_e4(),
        )

    def __repr__(self) -> str:
        return f"<RiskSession {self.mandate} as_of_seq={self.as_of_seq} {self.book!r}>"
