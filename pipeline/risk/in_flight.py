"""Orders that were sent and are not filled yet: what they will take, so nothing is asked twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from pipeline.brokers.contract import Fill, Order, Side
from pipeline.risk.charges import rupees
from pipeline.risk.positions import NO_DELAYS, Delays, Position


@dataclass(slots=True)
class _Flight:
    order: Order
    left: int  # shares not filled yet
    delays: Delays


class InFlight:
    """The orders on their way to and at the broker."""

    def __init__(self) -> None:
        self._flights: dict[str, _Flight] = {}

    def add(self, order: Order, delays: Delays) -> None:
        self._flights[order.order_id] = _Flight(order, order.quantity, delays)

    def land(self, fill: Fill) -> Delays:
        """Take a fill off its order and return that order's delays."""
        if fill.order_id not in self._flights:
            return NO_DELAYS
        flight = self._flights[fill.order_id]
        flight.left -= fill.quantity
        if flight.left <= 0:
            del self._flights[fill.order_id]
        return flight.delays

    def closable(self, position: Position) -> int:
        """Return the shares of ``position`` that no order is closing yet."""
        if not self._flights:
            return position.open
        exits = self._of(position.instrument)
        leaving = sum(f.left for f in exits if f.order.side is not position.side)
        return position.open - leaving

    def entering(self, instrument: int) -> int:
        """Return the shares of ``instrument`` that are being bought."""
        return sum(f.left for f in self._of(instrument) if f.order.side is Side.BUY)

    def reserved(self) -> Decimal:
        """Return the cash in ₹ that buying orders will take, charges apart."""
        buying = (f for f in self._flights.values() if f.order.side is Side.BUY)
        return rupees(sum(f.left * f.order.price_e4 for f in buying))

    def _of(self, instrument: int) -> Iterator[_Flight]:
        return (f for f in self._flights.values() if f.order.instrument == instrument)

    def __repr__(self) -> str:
        return f"<InFlight {', '.join(self._flights) or 'nothing'}>"
