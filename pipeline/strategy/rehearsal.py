"""A tick, handed to a strategy that wants nothing (see runtime/rehearsing.py)."""

from __future__ import annotations

import numpy as np

from pipeline.records import PRICE_SCALE, TICK
from pipeline.settings import Settings
from pipeline.strategy.contract import Strategy, Tick
from pipeline.strategy.session import StrategySession


class _Nobody(Strategy):
    ticks = 0

    def on_tick(self, tick: Tick) -> None:
        self.ticks += 1


class Rehearsal:
    """What a session does with a tick, but for the user's code, which nobody may call twice."""

    def __init__(self, settings: Settings) -> None:
        self._nobody = _Nobody(settings.strategy)
        self._session = StrategySession(self._nobody, settings.instruments[:1], failures_max=1)
        self._ticks = np.zeros(1, TICK)
        self._ticks["price_e4"] = 100 * PRICE_SCALE

    @property
    def ticks(self) -> int:
        """Ticks handed over so far."""
        return self._nobody.ticks

    def __call__(self) -> None:
        self._session.on_ticks(self._ticks)
