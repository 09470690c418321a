"""The orders of the day and where each stands: what is on its way is not asked for twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from pipeline.brokers.contract import Fill, Order, OrderState
from pipeline.risk.charges import rupees
from pipeline.risk.numbering import is_exit_id
from pipeline.risk.order_states import LIVE, UNPROVEN, Standing
from pipeline.risk.positions import NO_DELAYS, Delays, Position


@dataclass(slots=True)
class Flight:
    """One order, and what is known of it."""

    order: Order
    delays: Delays
    standing: Standing
    sent_ns: int = 0  # CLOCK_MONOTONIC
    cancel_ns: int = 0  # exchange time at which risk last asked to cancel it; 0 = never
    cancel_sent_ns: int | None = None  # the same by CLOCK_MONOTONIC; None = never
    revived: bool = False  # more may be filled after all: nobody counts on it any more
    absent: int = 0  # books in a row that did not have it

    @property
    def left(self) -> int:
        """Return the shares that may still be filled."""
        return self.standing.left

    @property
    def enters(self) -> bool:
        """Return whether it opens a position or adds to one."""
        return not is_exit_id(self.order.order_id)

    @property
    def reserved(self) -> Decimal:
        """Return the cash in ₹ that an entry will take at the worst, charges apart."""
        return rupees(self.left * max(self.order.price_e4, self.order.limit_e4))


class InFlight:
    """Every order of the day. Only those that may still be filled are gone through."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._live: dict[str, Flight] = {}
        self.remains: Mapping[int, int] = {}  # of our shares, where the account has less than all

    def add(self, order: Order, delays: Delays = NO_DELAYS) -> None:
        flight = Flight(order, delays, Standing(order.quantity))
        self._flights[order.order_id] = self._live[order.order_id] = flight

    def handed_over(self, order_id: str, now_ns: int) -> None:
        """Note that an order was given to the gateway."""
        flight = self._flights[order_id]
        flight.sent_ns = now_ns
        if flight.standing.state is OrderState.PENDING_NEW:
            flight.standing = flight.standing._replace(state=OrderState.SENT)

    def known(self, order_id: str) -> Flight | None:
        """Return the order of this id, sent today and ours."""
        return self._flights[order_id] if order_id in self._flights else None

    def land(self, fill: Fill) -> Delays:
        """Count a fill and return its order's delays."""
        if fill.order_id not in self._flights:
            return NO_DELAYS
        flight = self._flights[fill.order_id]
        self.put(flight, flight.standing.after(fill.quantity, fill.turnover_e4))
        return flight.delays

    def put(self, flight: Flight, standing: Standing) -> None:
        """Have ``flight`` stand there."""
        flight.revived |= flight.standing.state not in LIVE
        flight.standing = standing
        if standing.state in LIVE:
            self._live[flight.order.order_id] = flight
        else:
            self._live.pop(flight.order.order_id, None)

    @property
    def all(self) -> Sequence[Flight]:
        """Return every order of the day, oldest first."""
        return list(self._flights.values())

    @property
    def live(self) -> Sequence[Flight]:
        """Return the orders of which more may be filled, oldest first."""
        return list(self._live.values()) if self._live else ()

    @property
    def unproven(self) -> bool:
        """True while of an order nobody knows whether it arrived."""
        return any(flight.standing.state in UNPROVEN for flight in self._live.values())

    @property
    def landed(self) -> bool:
        """True when nothing more is expected of any order."""
        return not self._live

    def closable(self, position: Position) -> int:
        """Return the shares of ``position`` that the account has and no order is closing yet."""
        held, at = position.open, position.instrument
        if self.remains and at in self.remains:
            held = min(held, self.remains[at])
        if not self._live:
            return held
        leaving = sum(f.left for f in self._of(at) if f.order.side is not position.side)
        return max(0, held - leaving)  # one that came to life again may leave too

    def entries(self) -> Sequence[Flight]:
        """Return the orders by which shares are on their way in."""
        return [flight for flight in self._live.values() if flight.enters] if self._live else ()

    def _of(self, instrument: int) -> Iterator[Flight]:
        return (f for f in self._live.values() if f.order.instrument == instrument)

    def __repr__(self) -> str:
        return f"<InFlight {', '.join(self._live) or 'nothing'}>"
