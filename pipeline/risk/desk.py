"""Where decisions become orders: ledger first, then the gateway, then the fills.

1  take_price   the tick's price, when signals of this tick or an older one wait
2  on_signal    those signals, in the queue's order; one of a newer tick is held
3  on_tick      the tick's exits
4  execute      order rows durable, orders sent
5  hear         what became of them: fills and trades durable
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import Order, OrderGateway, OrderUpdate
from pipeline.records import SignalRow
from pipeline.risk.ledger import Ledger
from pipeline.risk.limits import Refusal
from pipeline.risk.rows import SEQ, TickRow, tick_rows
from pipeline.risk.session import RiskSession

_TICK_SEQ = SignalRow._fields.index("tick_seq")


class Desk:
    """The only place that sends orders (I3)."""

    def __init__(self, session: RiskSession, ledger: Ledger, gateway: OrderGateway) -> None:
        self.session = session
        self._ledger = ledger
        self._gateway = gateway
        self._held: deque[tuple[object, ...]] = deque()

    @property
    def held_count(self) -> int:
        """Signals that wait for their tick."""
        return len(self._held)

    def on_ticks(self, ticks: NDArray[np.void], signals: NDArray[np.void], now_ns: int) -> None:
        """Handle TICK rows in order, each after the SIGNAL rows of its tick and of older ones.

        Signals of ticks handled before act first, at the last price.
        """
        if len(signals):
            self.on_signals(signals, now_ns)
        if not self._held and self.session.is_flat:
            ticks = _newest_of_each(ticks)
        for row in tick_rows(ticks):
            self.on_tick(row, now_ns)

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
        orders = self.session.on_tick(row)
        if orders:
            self._execute(orders)

    def flatten(self, reason: str) -> None:
        """Close everything at the last prices."""
        self._execute(self.session.flatten(reason))

    def write_events(self) -> None:
        """Write what the session did that a person should know of: halts and their end."""
        events, self.session.events = self.session.events, []
        for event in events:
            self._ledger.event(*event)

    def _is_due(self, seq: int) -> bool:
        tick_seq = self._held[0][_TICK_SEQ]
        assert isinstance(tick_seq, int)
        return tick_seq <= seq

    def _act(self, seq: int, now_ns: int) -> None:
        while self._held and self._is_due(seq):
            outcome = self.session.on_signal(self._held.popleft(), now_ns)
            if isinstance(outcome, Refusal):
                self._ledger.refused(outcome)
                self.write_events()
            else:
                self._execute(outcome)

    def _execute(self, orders: Sequence[Order]) -> None:
        if not orders:
            return
        with self._ledger.transaction():
            self.write_events()
            for order in orders:
                self._ledger.order_sent(order)
        for order in orders:
            self._gateway.send(order)
        self.hear()

    def hear(self) -> None:
        """Take what became known of orders, and write what it changed."""
        heard = self._gateway.take()
        if not heard:
            return
        with self._ledger.transaction():
            for each in heard:
                if isinstance(each, OrderUpdate):
                    self._on_update(each)

    def _on_update(self, update: OrderUpdate) -> None:
        heard = self.session.on_update(update)
        if heard is None:
            return
        if heard.fill is not None:
            self._ledger.filled(heard.fill)
        if heard.trade is not None:
            self._ledger.traded(heard.trade)

    def __repr__(self) -> str:
        return f"<Desk held_signals={self.held_count} {self.session!r}>"


def _newest_of_each(ticks: NDArray[np.void]) -> NDArray[np.void]:
    """Return the last row of every instrument, in the order of the ring."""
    if len(ticks) < 2:
        return ticks
    _, from_end = np.unique(ticks["instrument"][::-1], return_index=True)
    return ticks[np.sort(len(ticks) - 1 - from_end)]
