"""From a decision to orders: ids, slices within the freeze quantity, limits."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.brokers.contract import Order, Side
from pipeline.records import SignalRow
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

    @classmethod
    def of(cls, signal: SignalRow) -> Cause:
        return cls(signal.ts_recv_ns, signal.ts_signal_ns)


NO_CAUSE = Cause()


class Decision(NamedTuple):
    """Shares to buy or sell, whatever orders that takes."""

    position_id: int
    instrument: int
    side: Side
    quantity: int
    is_exit: bool
    reason: str
    cause: Cause

    @classmethod
    def leaving(cls, position: Position, quantity: int, reason: str, cause: Cause) -> Decision:
        """Return the one that closes ``quantity`` shares of ``position``."""
        side = Side.SELL if position.side is Side.BUY else Side.BUY
        number, instrument = position.position_id, position.instrument
        return cls(number, instrument, side, quantity, True, reason, cause)

    @classmethod
    def entering(cls, position_id: int, signal: SignalRow, side: Side, quantity: int) -> Decision:
        """Return the one that opens a position of ``quantity`` shares."""
        cause = Cause.of(signal)
        return cls(position_id, signal.instrument, side, quantity, False, signal.text, cause)


class Drafting:
    """Writes the orders of a run, and has them counted."""

    def __init__(self, settings: Settings, rulebook: Rulebook, numbering: Numbering) -> None:
        risk = settings.risk
        self._instruments = settings.instruments
        self._tick_sizes = [e4(instrument.tick_size) for instrument in settings.instruments]
        self._numbering = numbering
        self._freezes = Freezes(settings, rulebook)
        collar = risk.collar_points if risk.order_type == "limit" else None
        self._collar_e4 = None if collar is None else e4(collar)

    def orders(self, decision: Decision, newest: TickRow, price_e4: int) -> list[Order]:
        """Return the orders of ``decision``, taken on the tick ``newest`` at the last price."""
        lot_size = self._instruments[decision.instrument].lot_size
        freeze = self._freezes.of(decision.instrument, newest[EVENT])
        pieces = enumerate(slices(decision.quantity, lot_size, freeze))
        return [self._order(decision, piece, shares, newest, price_e4) for piece, shares in pieces]

    def _order(
        self, decision: Decision, piece: int, shares: int, newest: TickRow, price_e4: int
    ) -> Order:
        assert price_e4 > 0, "an order needs a last price"
        order = Order(  # in the order of its fields: by name it takes three times as long
            self._order_id(decision, piece, newest[EVENT]),
            decision.instrument,
            self._instruments[decision.instrument].symbol,
            decision.side,
            shares,
            price_e4,
            decision.position_id,
            decision.reason,
            newest[SEQ],
            newest[EVENT],
            self._limit_e4(decision, price_e4),
            *decision.cause,
        )
        self._numbering.count(order, is_exit=decision.is_exit)
        return order

    def _order_id(self, decision: Decision, piece: int, now_ns: int) -> str:
        if decision.is_exit:
            return self._numbering.exit_id(decision.position_id, decision.instrument, now_ns)
        return self._numbering.entry_id(decision.position_id, now_ns, piece)

    def _limit_e4(self, decision: Decision, price_e4: int) -> int:
        if self._collar_e4 is None:
            return 0
        tick_e4 = self._tick_sizes[decision.instrument]
        return limit_e4(decision.side, price_e4, self._collar_e4, tick_e4)
