"""Risk without its process: ticks, signals and fills in; orders, refusals and trades out.

Decides, never does: the desk sends what is returned here and hands back the fills. An order
counts as in flight until it is filled, so no tick and no signal asks for the same shares twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import Fill, Order, OrderUpdate, Quote, Side
from pipeline.records import PRICE_SCALE, Action, ExitKind, SignalRow, positions_dtype
from pipeline.results.trades import Trade
from pipeline.risk.exits import ExitRules, ExitWatch, exits_due, kind_of
from pipeline.risk.history import Mark
from pipeline.risk.hours import hours_of
from pipeline.risk.in_flight import InFlight
from pipeline.risk.limits import Facts, Limits, Refusal
from pipeline.risk.numbering import Numbering
from pipeline.risk.order_states import News, Standing, hear
from pipeline.risk.positions import NO_DELAYS, Book, Delays, Position
from pipeline.risk.rows import (
    ASK,
    BID,
    EVENT,
    INSTRUMENT,
    NO_TICK,
    PRICE,
    RECEIVED,
    SEQ,
    TickRow,
)
from pipeline.risk.rulebook import NO_RULES, Rulebook
from pipeline.risk.tariffs import tariffs_of
from pipeline.settings import Settings

NO_ORDERS: tuple[Order, ...] = ()

STRATEGY_SIGNAL = "Strategy Signal: "
STRATEGY_FAILED = "NaN Threshold Exceeded"  # a CLOSE for this reason is shown without the prefix


class Cause(NamedTuple):
    """When what caused an order happened (CLOCK_MONOTONIC); 0 = nothing of the kind did."""

    ts_recv_ns: int = 0  # the feed had the tick
    ts_signal_ns: int = 0  # the strategy had decided


NO_CAUSE = Cause()


class Heard(NamedTuple):
    """What an update of an order changed."""

    order: Order
    standing: Standing
    fill: Fill | None = None
    trade: Trade | None = None
    report: str = ""  # what a person must know; "" = nothing unusual


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

    def __init__(self, settings: Settings, rulebook: Rulebook = NO_RULES) -> None:
        """Take the settings, and the rulebook where they use the calendar or dated charges.

        Raises SettingsError where the rulebook has no rates for an instrument.
        """
        count = len(settings.instruments)
        self.book = Book(
            settings.instruments,
            settings.capital.initial_capital,
            tariffs_of(settings, rulebook),
        )
        self._halts: dict[str, str] = {}  # who refuses entries, and why
        self.version = 0  # grows whenever positions_row() differs in more than as_of_seq
        self.instruments = settings.instruments
        self.recovery = settings.recovery
        self._lot_sizes = [instrument.lot_size for instrument in settings.instruments]
        self._limits = Limits(settings, rulebook)
        self._hours = hours_of(settings, rulebook)
        self._rules = ExitRules.of(settings.risk)
        self._in_flight = InFlight()
        self.numbering = Numbering(count)
        self._newest = NO_TICK
        self.judged_seq = 0  # the last tick whose exits were judged
        self._last: list[TickRow] = [NO_TICK] * count
        self._watches: list[ExitWatch | None] = [None] * count
        self._closed = [(0, int(ExitKind.NONE))] * count  # position id, kind of its last exit
        self._row_dtype = positions_dtype(count)
        self._as_of_signal = self._signals = self._refused = 0

    def on_tick(self, row: TickRow) -> Sequence[Order]:
        """Take one tick and return the exits it causes."""
        self._newest = row
        self.judged_seq = row[SEQ]
        instrument = row[INSTRUMENT]
        self._last[instrument] = row
        watch = self._watches[instrument]
        if watch is None:
            return NO_ORDERS
        if watch.quiet_low_e4 <= row[PRICE] <= watch.quiet_high_e4 and row[EVENT] < watch.flat_ns:
            return NO_ORDERS
        return self._exits(watch, row)

    def remember(self, row: TickRow, *, after_seq: int) -> None:
        """Take a tick that was handled before a restart; a mark has those up to ``after_seq``."""
        self.take_price(row)
        watch = self._watches[row[INSTRUMENT]]
        if watch is not None and row[SEQ] > after_seq:
            watch.take(row[PRICE])

    def skip_signals(self, seq: int) -> None:
        """Count the signals up to ``seq`` as handled: a risk that died had taken them."""
        self._as_of_signal = seq
        self.version += 1

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
        refusal = self._limits.refusal(signal, facts)
        if refusal is not None:
            self._refused += 1
            return refusal
        return self._close(signal) if signal.action == Action.CLOSE else self._enter(signal, facts)

    def on_update(self, update: OrderUpdate) -> Heard | None:
        """Take what became known of an order; None where it is nothing new, or not ours."""
        flight = self._in_flight.known(update.order_id)
        if flight is None:
            return None
        news = hear(flight.standing, update)
        if news.standing == flight.standing and not news.report:
            return None
        fill = trade = None
        if news.quantity:
            fill = self._fill_of(flight.order, news, update.ts_event_ns)
            trade = self.on_fill(flight.order, fill)
        self._in_flight.put(flight, news.standing)
        return Heard(flight.order, news.standing, fill, trade, news.report)

    def _fill_of(self, order: Order, news: News, ts_event_ns: int) -> Fill:
        worse_e4 = news.turnover_e4 - news.quantity * order.price_e4
        return Fill(
            order_id=order.order_id,
            quantity=news.quantity,
            turnover_e4=news.turnover_e4,
            slippage_e4=worse_e4 if order.side is Side.BUY else -worse_e4,
            ts_event_ns=ts_event_ns or self._newest[EVENT],
        )

    def on_fill(self, order: Order, fill: Fill) -> Trade | None:
        """Book a fill; return the trade of an exit, None for an entry.

        Raises TickpipeError when more is closed than is held.
        """
        self.version += 1
        delays = self._in_flight.land(fill)
        if not self.book.is_exit(order):
            self._watch(self.book.enter(order, fill, delays), fill)
            return None
        watch = self._watches[order.instrument]
        assert watch is not None, "an open position has a watch"
        trade = self.book.leave(order, fill, watch.low_e4, watch.high_e4)
        if self.book.position(order.instrument) is None:
            self._watches[order.instrument] = None
            self._closed[order.instrument] = (order.position_id, int(kind_of(order.reason)))
        return trade

    def flatten(self, reason: str) -> list[Order]:
        """Return orders that close everything at the last prices."""
        closable = [(p, self._in_flight.closable(p)) for p in self.book.open_positions()]
        return [self._exit_order(p, shares, reason) for p, shares in closable if shares]

    # Recovering: restoring.py ------------------------------------------------------------------

    def watch(self, instrument: int) -> ExitWatch | None:
        """Return what the exits of the open position remember."""
        return self._watches[instrument]

    def marks(self) -> list[Mark]:
        """Return what the exits of every open position remember."""
        return [
            Mark(
                position.position_id,
                position.instrument,
                position.quantity,
                position.entry_e4,
                watch.low_e4,
                watch.high_e4,
                watch.targets_reached,
                self.judged_seq,
            )
            for position, watch in zip(self.book.by_instrument, self._watches, strict=True)
            if position is not None and watch is not None
        ]

    # Halting ----------------------------------------------------------------------------------

    @property
    def halted(self) -> str:
        """Why there are no entries; empty = there are."""
        return "; ".join(f"{who}: {why}" for who, why in self._halts.items())

    def halts(self, who: str) -> str:
        """Return why ``who`` halts entries; "" = it does not."""
        return self._halts[who] if who in self._halts else ""

    def halt(self, who: str, why: str) -> None:
        """Refuse entries until the same one resumes."""
        self._halts[who] = why

    def resume(self, who: str) -> None:
        """Lift the halt of ``who``; those of others stand."""
        self._halts.pop(who, None)

    # Deciding ---------------------------------------------------------------------------------

    def _exits(self, watch: ExitWatch, row: TickRow) -> Sequence[Order]:
        position = self.book.position(row[INSTRUMENT])
        assert position is not None, "a watch belongs to an open position"
        lot_size = self._lot_sizes[position.instrument]
        closable = self._in_flight.closable(position)
        stop_before = watch.stop_e4
        exits = exits_due(watch, row[PRICE], row[EVENT], -(-closable // lot_size))
        if watch.stop_e4 != stop_before:
            self.version += 1
        if not exits:
            return NO_ORDERS
        orders: list[Order] = []
        for exit in exits:
            quantity = min(exit.lots * lot_size, closable)
            closable -= quantity
            orders.append(self._exit_order(position, quantity, exit.reason, Cause(row[RECEIVED])))
        return orders

    def _facts(self, signal: SignalRow, now_ns: int) -> Facts:
        known = self._limits.knows(signal.instrument)
        position = self.book.position(signal.instrument) if known else None
        event_ns = max(signal.ts_event_ns, self._newest[EVENT])
        return Facts(
            now_ns=now_ns,
            event_ns=event_ns,
            price_e4=self._last[signal.instrument][PRICE] if known else 0,
            last_signal=self._as_of_signal,
            held=(position.open if position else 0) + self._in_flight.entering(signal.instrument),
            closable=self._in_flight.closable(position) if position else 0,
            halted=self.halted,
            entries_today=self.numbering.entries_on(event_ns),
            cash=self.book.cash - self._in_flight.reserved(),
        )

    def _close(self, signal: SignalRow) -> Sequence[Order]:
        position = self.book.position(signal.instrument)
        assert position is not None, "NOTHING_TO_CLOSE was checked"
        text = signal.text
        reason = text if text == STRATEGY_FAILED else STRATEGY_SIGNAL + text
        closable = self._in_flight.closable(position)
        return [self._exit_order(position, closable, reason, _cause(signal))]

    def _enter(self, signal: SignalRow, facts: Facts) -> Sequence[Order]:
        instrument = signal.instrument
        lots = self._limits.entry_lots(instrument, facts.price_e4, facts.cash)
        position_id = self.numbering.next_position()
        order = self._order(
            self.numbering.entry_id(position_id, self._newest[EVENT]),
            instrument,
            Side.BUY,
            lots * self._lot_sizes[instrument],
            position_id,
            signal.text,
            _cause(signal),
        )
        self.numbering.count(order, is_exit=False)
        self._in_flight.add(order, Delays.of(signal, facts.now_ns))
        return [order]

    def _exit_order(
        self, position: Position, quantity: int, reason: str, cause: Cause = NO_CAUSE
    ) -> Order:
        number, instrument = position.position_id, position.instrument
        order = self._order(
            self.numbering.exit_id(number, instrument, self._newest[EVENT]),
            instrument,
            Side.SELL if position.side is Side.BUY else Side.BUY,
            quantity,
            number,
            reason,
            cause,
        )
        self.numbering.count(order, is_exit=True)
        self._in_flight.add(order, NO_DELAYS)
        return order

    def _order(
        self,
        order_id: str,
        instrument: int,
        side: Side,
        quantity: int,
        position_id: int,
        reason: str,
        cause: Cause,
    ) -> Order:
        price_e4 = self._last[instrument][PRICE]
        assert price_e4 > 0, "an order needs a last price"
        return Order(
            order_id=order_id,
            instrument=instrument,
            symbol=self.instruments[instrument].symbol,
            side=side,
            quantity=quantity,
            price_e4=price_e4,
            position_id=position_id,
            reason=reason,
            tick_seq=self._newest[SEQ],
            ts_event_ns=self._newest[EVENT],
            ts_recv_ns=cause.ts_recv_ns,
            ts_signal_ns=cause.ts_signal_ns,
        )

    def _watch(self, position: Position, fill: Fill) -> None:
        lots = max(1, position.entered // self._lot_sizes[position.instrument])
        watch = self._watches[position.instrument]
        if watch is None:
            flat_ns = self._hours[position.instrument].flat_ns(fill.ts_event_ns)
            watch = ExitWatch(self._rules, position.entry_e4, lots, flat_ns)
            self._watches[position.instrument] = watch
        else:
            watch.restart(position.entry_e4, lots)

    # Telling ----------------------------------------------------------------------------------

    @property
    def as_of_seq(self) -> int:
        """The last tick handled."""
        return self._newest[SEQ]

    @property
    def newest_recv_ns(self) -> int:
        """When the feed had the last tick handled."""
        return self._newest[RECEIVED]

    @property
    def awaits_fills(self) -> bool:
        """True while an order may still be filled."""
        return not self._in_flight.landed

    @property
    def held(self) -> list[int]:
        """Shares held by instrument; long > 0."""
        return [
            0 if position is None else position.quantity for position in self.book.by_instrument
        ]

    def closes(self, order: Order) -> bool:
        """Tell whether a fill of ``order`` closes shares that are held."""
        return self.book.is_exit(order)

    def quote(self, instrument: int) -> Quote:
        """Return how an instrument stands, as far as its last tick tells."""
        row = self._last[instrument]
        return Quote(row[PRICE], row[BID], row[ASK], row[EVENT])

    @property
    def flights(self) -> InFlight:
        """The orders of the day, and where each stands."""
        return self._in_flight

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
        position, watch = self.book.position(instrument), self._watches[instrument]
        if position is None or watch is None:
            return (0, 0, 0, 0, *self._closed[instrument])
        held = (position.position_id, position.quantity, position.entry_e4, watch.stop_e4)
        return (*held, *self._closed[instrument])

    def statistics(self) -> RiskStatistics:
        """Return the counters as they stand."""
        held = self.book.open_positions()
        value_e4 = sum(p.quantity * self._last[p.instrument][PRICE] for p in held)
        cash_e4 = int(self.book.cash * PRICE_SCALE)
        return RiskStatistics(
            signals=self._signals,
            refused=self._refused,
            orders=self.numbering.orders,
            trades=self.book.trade_count,
            position=sum(position.quantity for position in held),
            cash_e4=cash_e4,
            equity_e4=cash_e4 + value_e4,
        )

    def __repr__(self) -> str:
        state = f"halted={self.halted!r}" if self.halted else "trading"
        return f"<RiskSession {state} as_of_seq={self.as_of_seq} {self.book!r}>"


def _cause(signal: SignalRow) -> Cause:
    return Cause(signal.ts_recv_ns, signal.ts_signal_ns)
