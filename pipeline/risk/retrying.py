"""When an exit that the broker refused is asked for again: not on every tick. Pure.

A refusal is seldom over a microsecond later, and a flood of ticks would spend the account's orders
of the day on it. So the next exit of that instrument waits, longer after each refusal in a row,
until a fill. A person who flattens, and the end of the run, do not wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.brokers.contract import OrderState

REFUSED = frozenset(
    {
        OrderState.REJECTED,
        OrderState.EXPIRED,
        OrderState.CANCELLED,  # by the broker: risk cancels entries only
        OrderState.NEVER_ARRIVED,
    }
)
PAUSES_MAX = 30  # the longest pause, in first pauses


@dataclass(slots=True)
class Retries:
    """The pauses of a run; times are CLOCK_MONOTONIC."""

    first_ns: int
    _until_ns: dict[int, int] = field(default_factory=dict)  # by instrument
    _pauses: dict[int, int] = field(default_factory=dict)

    def refused(self, instrument: int, now_ns: int) -> None:
        """Count a refused exit: 1, 2, 4, … first pauses from now on."""
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
