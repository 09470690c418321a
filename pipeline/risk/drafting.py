"""From a decision to orders: ids, slices within the freeze quantity, limits."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.brokers.contract import Order, Side
from pipeline.risk.numbering import Numbering
from pipeline.risk.positions import Position
from pipeline.risk.rows import EVENT, SEQ, TickRow
from pipeline.risk.rulebook import Rulebook
from pipeline.risk.sizing import Freezes, limit_e4, slices
from pipeline.settings import Settings, e4


class Cause(NamedTuple):
    """When what caused an order happened (CLOCK_MONOTONIC); 0 = nothing of the kind did."""

    ts_recv_ns: int = 0  # the feed had the tick
    ts_signal_ns: int = 0  # the strategy had decided


NO_CAUSE = Cause()


class Drafting:
    """Writes the orders of a run, numbers and counts them."""

    def __init__(self, settings: Settings, rulebook: Rulebook, numbering: Numbering) -> None:
        risk = settings.risk
        self._instruments = settings.instruments
        self._numbering = numbering
        self._freezes = Freezes(settings, rulebook)
        collar = risk.collar_points if risk.order_type == "limit" else None
        self._collar_e4 = None if collar is None else e4(collar)

    def entry(
        self,
        instrument: int,
        side: Side,
        quantity: int,
        reason: str,
        cause: Cause,
        newest: TickRow,
        price_e4: int,
    ) -> list[Order]:
        """Return the orders that open the next position, decided on ``newest``."""
        position_id, now_ns = self._numbering.next_position(), newest[EVENT]
        orders = []
        for piece, shares in enumerate(self._slices(instrument, quantity, now_ns)):
            order_id = self._numbering.entry_id(position_id, now_ns, piece)
            order = self._order(
                order_id, instrument, side, shares, position_id, reason, cause, newest, price_e4
            )
            self._numbering.count(order, is_exit=False)
            orders.append(order)
        return orders

    def exit(
        self,
        position: Position,
        quantity: int,
        reason: str,
        cause: Cause,
        newest: TickRow,
        price_e4: int,
    ) -> list[Order]:
        """Return the orders that close ``quantity`` shares of ``position``."""
        number, instrument, now_ns = position.position_id, position.instrument, newest[EVENT]
        side = Side.SELL if position.side is Side.BUY else Side.BUY
        orders = []
        for shares in self._slices(instrument, quantity, now_ns):
            order_id = self._numbering.exit_id(number, instrument, now_ns)
            order = self._order(
                order_id, instrument, side, shares, number, reason, cause, newest, price_e4
            )
            self._numbering.count(order, is_exit=True)
            orders.append(order)
        return orders

    def _slices(self, instrument: int, quantity: int, now_ns: int) -> list[int]:
        lot_size = self._instruments[instrument].lot_size
        return slices(quantity, lot_size, self._freezes.of(instrument, now_ns))

    def _order(
        self,
        order_id: str,
        instrument: int,
        side: Side,
        quantity: int,
        position_id: int,
        reason: str,
        cause: Cause,
        newest: TickRow,
        price_e4: int,
    ) -> Order:
        assert price_e4 > 0, "an order needs a last price"
        row, collar_e4 = self._instruments[instrument], self._collar_e4
        limit = 0
        if collar_e4 is not None:
            limit = limit_e4(side, price_e4, collar_e4, e4(row.tick_size))
        return Order(
            order_id=order_id,
            instrument=instrument,
            symbol=row.symbol,
            side=side,
            quantity=quantity,
            price_e4=price_e4,
            limit_e4=limit,
            position_id=position_id,
            reason=reason,
            tick_seq=newest[SEQ],
            ts_event_ns=newest[EVENT],
            ts_recv_ns=cause.ts_recv_ns,
            ts_signal_ns=cause.ts_signal_ns,
        )
