"""The strategy of every measured run: the guide's, which also notes when it was given each tick.

Parameters: ``stamps`` names the file of stamps.py; ``order_every`` buys and closes in turn on
every so many ticks in place of the guide's signals, 0 = the guide's (a day of them has about a
hundred orders, too few for percentiles); ``work_us`` computes that long on every tick.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic_ns

from pipeline import Signal, Tick
from pipeline.settings import StrategySettings
from pipeline.strategies.momentum import Momentum
from tests.perf.compare.stamps import open_columns


class Stamped(Momentum):
    """Momentum with a watch."""

    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        self._received, self._seen = open_columns(Path(str(settings.parameters["stamps"])))
        self._order_every = int(settings.parameters["order_every"])
        self._work_ns = int(settings.parameters["work_us"]) * 1_000

    def on_tick(self, tick: Tick) -> Signal | None:
        now_ns = monotonic_ns()
        at = tick[0] - 1  # seq: every tick is sent once, and numbered by the feed in order
        self._received[at] = tick[2]
        self._seen[at] = now_ns
        if self._work_ns:
            until_ns = now_ns + self._work_ns
            while monotonic_ns() < until_ns:
                pass
        wanted = super().on_tick(tick)
        return self._in_turn(tick) if self._order_every else wanted

    def _in_turn(self, tick: Tick) -> Signal | None:
        if tick.seq % self._order_every or self.position.entry_pending:
            return None
        return Signal.buy("in turn") if self.position.is_flat else Signal.close("in turn")
