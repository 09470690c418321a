"""Readers of a ring that check every seq, and strategies that do it for the strategy's reader."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Gap, GapReason
from pipeline.settings import Instrument
from pipeline.strategies.momentum import Momentum
from pipeline.strategy.contract import Signal, Strategy, Tick
from pipeline.strategy.session import StrategySession, nothing_overwritten
from pipeline.testing import make_instrument, make_strategy_settings

if TYPE_CHECKING:
    from tests.stress.load import Load

FAILURES_MAX = 7


class Seqs:
    """The seqs that a reader was given: each follows the one before, or a gap it was told of."""

    def __init__(self) -> None:
        self.expected = 1
        self.received = 0
        self.holes = 0
        self.told_lost = 0
        self.told_laps = 0

    def take_one(self, seq: int) -> None:
        if seq != self.expected:
            self.holes += 1
        self.expected = seq + 1
        self.received += 1

    def take(self, seqs: NDArray[np.uint64], overwritten: int = 0) -> None:
        """Take a batch whose first ``overwritten`` cannot be relied on; the gap is told later."""
        intact = seqs[overwritten:]
        if not len(intact):
            return
        self.holes += int(intact[0]) != self.expected + overwritten
        self.holes += int(np.count_nonzero(np.diff(intact) != 1))
        self.expected = int(intact[-1]) + 1 - overwritten
        self.received += len(intact)

    def gap(self, lost: int) -> None:
        self.expected += lost
        self.told_lost += lost
        self.told_laps += 1


class CheckingTicks(Momentum):
    """The shipped strategy, which counts what it is given and takes its time."""

    def __init__(self, seqs: Seqs, tick_us: float) -> None:
        super().__init__(make_strategy_settings())
        self._seqs = seqs
        self._seconds = tick_us / 1e6

    def on_tick(self, tick: Tick) -> Signal | None:
        self._seqs.take_one(tick.seq)
        if self._seconds:
            time.sleep(self._seconds)
        return super().on_tick(tick)

    def on_gap(self, gap: Gap) -> None:
        self._seqs.gap(gap.lost)


class CheckingBatches(Strategy):
    """Takes batches as they lie in the ring: the mean and the spread of their prices."""

    def __init__(self, seqs: Seqs, tick_us: float) -> None:
        super().__init__(make_strategy_settings())
        self._seqs = seqs
        self._seconds = tick_us / 1e6
        self.given = np.zeros(0, np.uint64)
        self.mean = self.spread = 0.0

    def on_batch(self, ticks: NDArray[np.void]) -> Iterable[tuple[int, Signal]] | None:
        self.given = ticks["seq"].copy()  # to be checked when it is known what was overwritten
        self.mean, self.spread = ticks["price_e4"].mean(), ticks["price_e4"].std()
        if self._seconds:
            time.sleep(self._seconds * len(ticks))
        return None

    def on_gap(self, gap: Gap) -> None:
        self._seqs.gap(gap.lost)


class Recorder:
    """Copies what there is, checks it, and goes on with the oldest when it was overtaken."""

    failures = 0

    def __init__(self, ring: Any, batch_max: int) -> None:
        self.ring = ring
        self.seqs = Seqs()
        self.latencies = array("q")
        self._batch_max = batch_max
        self._lost_told = 0

    def work(self) -> int:
        """Be a turn of the duty cycle."""
        rows = self._next()
        if self.ring.lost != self._lost_told:
            self._lost_told, lost = self.ring.lost, self.ring.lost - self._lost_told
            self.tell(lost)
        if not len(rows):
            return 0
        intended_ns = int(rows["ts_recv_ns"][0])
        self.handle(rows)
        self.latencies.append(time.monotonic_ns() - intended_ns)
        self.ring.commit()
        return len(rows)

    def _next(self) -> NDArray[np.void]:
        rows: NDArray[np.void] = self.ring.read(self._batch_max)
        return rows

    def tell(self, lost: int) -> None:
        self.seqs.gap(lost)

    def handle(self, rows: NDArray[np.void]) -> None:
        self.seqs.take(rows["seq"])


class StrategyReader(Recorder):
    """Hands what there is to a strategy through the real session, as the strategy process does."""

    def __init__(self, ring: Any, load: Load, batch_max: int) -> None:
        super().__init__(ring, batch_max)
        self._skip_every = self._skip_at = load.skip_every
        self._batches = load.strategy == "batch"
        kind = CheckingBatches if self._batches else CheckingTicks
        self._strategy = kind(self.seqs, load.tick_us)
        instruments = instruments_of(load.instruments)
        self._session = StrategySession(self._strategy, instruments, FAILURES_MAX)
        self._release = self._end_view if self._batches else nothing_overwritten

    @property
    def failures(self) -> int:  # type: ignore[override]
        return self._session.failures

    def _next(self) -> NDArray[np.void]:
        rows: NDArray[np.void]
        rows = self.ring.view(self._batch_max) if self._batches else self.ring.read(self._batch_max)
        if self._skip_every and self.ring.cursor >= self._skip_at and len(rows):
            self._skip_at = self.ring.cursor + self._skip_every
            rows = rows[:-1]
            if not len(rows) and self._batches:
                self.ring.release()
        return rows

    def tell(self, lost: int) -> None:
        self._session.on_gap(Gap(GapReason.LAPPED, lost))

    def handle(self, rows: NDArray[np.void]) -> None:
        self._session.on_ticks(rows, self._release)

    def _end_view(self) -> int:
        overwritten: int = self.ring.release()
        self._lost_told = self.ring.lost  # the session tells of these
        assert isinstance(self._strategy, CheckingBatches)
        self.seqs.take(self._strategy.given, overwritten)
        return overwritten


def instruments_of(count: int) -> tuple[Instrument, ...]:
    return tuple(make_instrument(symbol=f"S{n}", token=str(n)) for n in range(1, count + 1))
