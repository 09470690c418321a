"""The strategy of a soak: the shipped one, which writes down what it is given.

Its parameters can break it, to see that the soak finds it: ``skip_every`` ticks it forgets one,
``leak_part`` of its memory more is kept each second, ``drift_ns`` longer it sleeps at each tick.
"""

from __future__ import annotations

import time
from pathlib import Path

from pipeline import Signal, Tick
from pipeline.settings import StrategySettings
from pipeline.strategies.momentum import Momentum
from tests.stress.memory import memory_of
from tests.stress.tape import TapeWriter


class Soaked(Momentum):
    def __init__(self, settings: StrategySettings) -> None:
        super().__init__(settings)
        parameters = settings.parameters
        self._tape = TapeWriter(Path(str(parameters["tape"])))
        self._skip_every = int(str(parameters["skip_every"]))
        self._leak_part = float(str(parameters["leak_part"]))
        self._drift_ns = float(str(parameters["drift_ns"]))
        self._ticks = 0
        self._leaked = bytearray()
        self._bytes_ns = (0, 0)  # its memory at the first tick, and when that was

    def on_tick(self, tick: Tick) -> Signal | None:
        self._ticks += 1
        if self._skip_every and self._ticks % self._skip_every == 0:
            return None
        if self._drift_ns:
            time.sleep(self._ticks * self._drift_ns / 1e9)
        now_ns = time.monotonic_ns()
        self._tape.write(tick.day_volume, tick.ts_recv_ns, now_ns)
        if self._leak_part:
            self._leak(now_ns)
        return super().on_tick(tick)

    def _leak(self, now_ns: int) -> None:
        if not self._leaked:
            memory = memory_of()
            assert memory is not None, "we live"
            self._bytes_ns = (memory.own, now_ns)
        size, since_ns = self._bytes_ns
        wanted = 1 + int(size * self._leak_part * (now_ns - since_ns) / 1e9)
        self._leaked += b"\1" * (wanted - len(self._leaked))
