"""When an exit that the broker refused is asked for again: not on every tick. Pure.

A refusal is seldom over a microsecond later, and a flood of ticks would spend the account's orders
of the day on it. So the next exit of that instrument waits, longer after each refusal in a row,
until a fill. A person who flattens, and the end of the run, do not wait with their first order; a
CLOSE of the strategy does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.brokers.contract import OrderState
from pipeline.risk.exits import Exit, ExitWatch
from pipeline.risk.in_flight import Flight

REFUSED = frozenset(
    {
        OrderState.REJECTED,
        OrderState.EXPIRED,
        OrderState.CANCELLED,  # by the broker; what risk cancelled is no refusal
        OrderState.NEVER_ARRIVED,
    }
)
PAUSES_MAX = 30  # the longest pause, in first pauses


@dataclass(slots=True)
class Retries:
    """The pauses of a run; times are CLOCK_MONOTONIC, in a replay those of the ticks."""

    first_ns: int
    _until_ns: dict[int, int] = field(default_factory=dict)  # by instrument
    _pauses: dict[int, int] = field(default_factory=dict)

    def hear(self, flight: Flight, before: OrderState, now_ns: int) -> None:
        """Take where an order stands now that was ``before``."""
        state = flight.standing.state
        asked = state is OrderState.CANCELLED and flight.cancel_ns  # by risk: resting.py
        if not flight.enters and state in REFUSED and before not in REFUSED and not asked:
            self.refused(flight.order.instrument, now_ns)

    def restore(self, flight: Flight, before: OrderState) -> None:
        """Take from a ledger where an order stood that was ``before``: as if it had been heard of
        when its tick was. Who cancelled an order is not in a ledger, so that counts for nothing.
        """
        if flight.standing.state is not OrderState.CANCELLED:
            self.hear(flight, before, flight.order.ts_recv_ns)

    def forget_after(self, now_ns: int) -> None:
        """Forget pauses that began after ``now_ns``: the machine was started again since."""
        for instrument, pauses in list(self._pauses.items()):
            if self._until_ns[instrument] - pauses * self.first_ns > now_ns:
                self.filled(instrument)

    def refused(self, instrument: int, now_ns: int) -> None:
        """Count a refused exit: 1, 2, 4, … first pauses from now on.

        Within a pause none is counted: several orders of one decision are one refusal.
        """
        if self.waits(instrument, now_ns):
            return
        pauses = self._pauses[instrument] = min(
            PAUSES_MAX, 2 * self._pauses[instrument] if instrument in self._pauses else 1
        )
        self._until_ns[instrument] = now_ns + pauses * self.first_ns

    def filled(self, instrument: int) -> None:
        """Forget the refusals of an instrument."""
        self._until_ns.pop(instrument, None)
        self._pauses.pop(instrument, None)

    def waits(self, instrument: int, now_ns: int) -> bool:
        """Tell whether exits of ``instrument`` wait still."""
        return instrument in self._until_ns and now_ns < self._until_ns[instrument]


def unsold(watch: ExitWatch, flight: Flight, before: OrderState, lot_size: int) -> None:
    """Have ``watch`` keep what an order of a target ended without; its state was ``before``."""
    order, standing = flight.order, flight.standing
    if flight.enters or not watch.has_target(order.reason):
        return
    ended = standing.state in REFUSED
    if ended and before not in REFUSED:
        lots = -(-(standing.quantity - standing.filled) // lot_size)
        watch.owe(order.order_id, Exit(order.reason, lots))
    elif before in REFUSED and not ended:  # it is alive after all
        watch.owe(order.order_id, None)
