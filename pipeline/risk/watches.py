"""Which prices and times need a look: the watch of every open position, and the loss limits.

A tick between the quiet prices of its position and before ``due_ns`` needs none. The rules of
exit make a band for each position alone; the loss limits look at all of them together, and give
each its part of the room that equity has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import Order
from pipeline.risk.exits import NEVER_NS, ExitRules, ExitWatch
from pipeline.risk.hours import hours_of
from pipeline.risk.losses import Breach, Losses
from pipeline.risk.positions import Position
from pipeline.risk.rulebook import Rulebook
from pipeline.settings import Settings


class Watches:
    """The watch of every open position, by instrument."""

    def __init__(self, settings: Settings, rulebook: Rulebook) -> None:
        self._rules = ExitRules.of(settings.risk)
        self._hours = hours_of(settings, rulebook)
        self._lot_sizes = [instrument.lot_size for instrument in settings.instruments]
        self.losses = Losses(settings.risk)
        self.looks_at_losses = self.losses.watched
        self.of: list[ExitWatch | None] = [None] * len(settings.instruments)
        self.due_ns: int | None = None  # exchange time from which a rule of time fires somewhere
        self.wanted = [""] * len(settings.instruments)  # why somebody wants out; "" = nobody does

    def entered(self, position: Position, ts_event_ns: int) -> None:
        """Take an entry fill: watch ``position``, or measure from its new entry price."""
        instrument, entry_e4 = position.instrument, position.entry_e4
        lots = max(1, position.entered // self._lot_sizes[instrument])
        watch = self.of[instrument]
        if watch is not None:
            watch.restart(entry_e4, lots)
            return
        flat_ns = self._hours[instrument].flat_ns(ts_event_ns)
        watch = ExitWatch(self._rules, entry_e4, lots, flat_ns, position.sign, position.entry_ns)
        self.of[instrument] = watch
        if self.wanted[instrument]:
            watch.want(self.wanted[instrument])
        if self.looks_at_losses:
            watch.unsettle()
        self._find_due()

    def left(self, instrument: int) -> None:
        """Take the end of the position in ``instrument``."""
        self.of[instrument] = None
        self._find_due()

    def quiet(self, ticks: NDArray[np.void], held: Sequence[Position]) -> int:
        """Return how many TICK rows, from the first on, need no look; ``held`` are all positions
        that are open."""
        due_ns = NEVER_NS if self.due_ns is None else self.due_ns
        loud = ticks["ts_event_ns"] >= due_ns
        prices, instruments = ticks["price_e4"], ticks["instrument"]
        for position in held:
            watch = self.of[position.instrument]
            assert watch is not None, "an open position has a watch"
            outside = (prices < watch.quiet_low_e4) | (prices > watch.quiet_high_e4)
            loud |= outside & (instruments == position.instrument)
        return int(loud.argmax()) if loud.any() else len(ticks)

    def want_out(self, instrument: int, reason: str) -> None:
        """Have what is open there closed at any price until it is, and what comes in until the
        next entry is decided."""
        self.wanted[instrument] = reason
        watch = self.of[instrument]
        if watch is not None:
            watch.want(reason)

    def past(self, order: Order, ts_event_ns: int) -> bool:
        """Tell whether what ``order`` enters would have to be flat by this exchange time."""
        return ts_event_ns >= self._hours[order.instrument].flat_ns(order.ts_event_ns)

    def due(self, now_ns: int) -> Sequence[tuple[int, ExitWatch]]:
        """Return the watches, with their instruments, in which a rule of time fires."""
        held = [(at, watch) for at, watch in enumerate(self.of) if watch is not None]
        return [(at, watch) for at, watch in held if watch.due_ns <= now_ns]

    def look(
        self, equity_e4: int, ts_event_ns: int, held: Sequence[tuple[Position, int]]
    ) -> Breach | None:
        """Return the loss limit that is reached; where none is, let prices near these be quiet.

        ``held`` are the open positions with their last prices.
        """
        breach = self.losses.look(equity_e4, ts_event_ns)
        if breach is None:
            self._settle(held)
        return breach

    def unsettle(self, equity_e4: int, ts_event_ns: int) -> None:
        """Have the next tick of every position looked at: a fill is about to change equity."""
        self.losses.look(equity_e4, ts_event_ns)
        for watch in self.of:
            if watch is not None:
                watch.unsettle()

    def _settle(self, held: Sequence[tuple[Position, int]]) -> None:
        down_e4, up_e4 = self.losses.room()
        for position, price_e4 in held:
            watch = self.of[position.instrument]
            assert watch is not None, "an open position has a watch"
            shares, level = position.open * len(held), position.sign * price_e4
            watch.bound(level - down_e4 // shares, level + up_e4 // shares)
        self._find_due()

    def _find_due(self) -> None:
        times = [watch.due_ns for watch in self.of if watch is not None]
        due_ns = min((*times, self.losses.day_ends_ns)) if times else NEVER_NS
        self.due_ns = due_ns if due_ns < NEVER_NS else None
