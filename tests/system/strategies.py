"""Strategies that misbehave on purpose, or tell what they saw. Named in settings by file path."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NoReturn

from pipeline import Signal, Strategy, Tick
from pipeline.records import Gap
from pipeline.settings import StrategySettings


class WritesDown(Strategy):
    """Writes every tick it is given into the file that its parameter names."""

    def __init__(self, settings: StrategySettings) -> None:
        self._file = Path(str(settings.parameters["file"])).open("w", buffering=1 << 16)  # noqa: SIM115

    def on_tick(self, tick: Tick) -> None:
        self._file.write(f"{tick.seq},{tick.ts_event_ns},{tick.price_e4}\n")

    def __del__(self) -> None:
        self._file.close()


class WritesDownSlowly(WritesDown):
    """Takes a millisecond for a tick."""

    def on_tick(self, tick: Tick) -> None:
        time.sleep(0.001)
        super().on_tick(tick)


class HoldsAndWritesDown(Strategy):
    """Writes every tick and every gap down, and buys the first instrument whenever it has none."""

    def __init__(self, settings: StrategySettings) -> None:
        self._file = Path(str(settings.parameters["file"])).open("w", buffering=1 << 16)  # noqa: SIM115
        self._asked_at = 0

    def on_tick(self, tick: Tick) -> Signal | None:
        self._file.write(f"tick,{tick.seq},{tick.instrument_index},{tick.day_volume}\n")
        if tick.instrument_index or not self.position.is_flat or tick.seq < self._asked_at + 100:
            return None
        self._asked_at = tick.seq
        return Signal.buy("flat")

    def on_gap(self, gap: Gap) -> None:
        self._file.write(f"gap,{gap.reason},{gap.lost},{','.join(map(str, gap.instruments))}\n")

    def __del__(self) -> None:
        self._file.close()


class BuysOnce(Strategy):
    """Buys on the first tick, holds, and leaves the rest to risk."""

    bought = False

    def on_tick(self, tick: Tick) -> Signal | None:
        if self.bought:
            return None
        self.bought = True
        return Signal.buy("first tick")


class BuysThenRaises(BuysOnce):
    """Buys on the first tick and raises on every tick while it holds."""

    def on_tick(self, tick: Tick) -> Signal | None:
        if not self.position.is_flat:
            raise ZeroDivisionError("made up for a test")
        return super().on_tick(tick)


class BuysThenNonsense(BuysOnce):
    """Buys on the first tick and returns what is no signal while it holds."""

    def on_tick(self, tick: Tick) -> Signal | None:
        return super().on_tick(tick) if self.position.is_flat else "BUY please"  # type: ignore[return-value]


class BuysThenNeverReturns(BuysOnce):
    """Buys on the first tick and is never heard of again once it holds."""

    def on_tick(self, tick: Tick) -> Signal | None:
        return super().on_tick(tick) if self.position.is_flat else self.hang()

    def hang(self) -> NoReturn:
        while True:
            time.sleep(3600)


class BuysThenDies(BuysOnce):
    """Buys on the first tick; its process is killed as with kill -9 on the tenth."""

    def on_tick(self, tick: Tick) -> Signal | None:
        if tick.seq == 10:
            os.kill(os.getpid(), 9)
        return super().on_tick(tick)


class BuysOnceSlowly(BuysOnce):
    """Buys on the first tick and takes two milliseconds for every one: a day that lasts."""

    def on_tick(self, tick: Tick) -> Signal | None:
        time.sleep(0.002)
        return super().on_tick(tick)


class BuysUntilItHolds(Strategy):
    """Buys on every tick until it has held something, and leaves the rest to risk."""

    held = False

    def on_tick(self, tick: Tick) -> Signal | None:
        self.held |= self.position.quantity != 0
        return None if self.held else Signal.buy("not held yet")
