"""A process's place in the run: its ends of the ring, the queue and the cells, by role.

    FeedLine       writes ticks
    StrategyLine   reads ticks and positions, writes signals
    RiskLine       reads ticks and signals, writes positions
    Watch          reads every heartbeat: supervisor and display

Lockstep: strategy and risk commit what they have handled; risk reads no tick that the strategy
has not committed, and the feed asks ``done`` before it publishes the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import Implementation, choose
from pipeline.channels.cell import CellReader
from pipeline.channels.locks import OwnerLock, lock_is_held, lock_pid
from pipeline.channels.readers import Readers, ReaderSlot
from pipeline.channels.rundir import (
    lock_path,
    open_readers,
    remove_if_last,
    wait_for,
    wait_for_owner,
)
from pipeline.channels.waiting import Bell, Callback, Waiting, Words
from pipeline.records import HEARTBEAT, SIGNAL, TICK, ProcessState, positions_dtype
from pipeline.settings import Mode, Settings

FEED, STRATEGY, RISK = "feed", "strategy", "risk"
ROLES = (FEED, STRATEGY, RISK)
READER_NAMES = (STRATEGY, RISK)

TICKS, SIGNALS, POSITIONS = "ticks.ring", "signals.queue", "positions.cell"


class _Line:
    """What every role has: a lock for life, the table of readers, a heartbeat."""

    def __init__(self, settings: Settings, role: str) -> None:
        self.directory = settings.run_directory
        self.lockstep = settings.channels.lockstep
        self._failed = False
        self._channels = choose(settings.channels.implementation)
        self._readers = open_readers(self.directory, READER_NAMES, self._channels.Readers)
        self._lock = OwnerLock(lock_path(self.directory, role))
        self._beat = self._channels.CellWriter(self.directory / f"{role}.beat", HEARTBEAT)
        self._beat_row = np.zeros(1, HEARTBEAT)
        self._beat_row["pid"] = os.getpid()
        self.beat(ProcessState.STARTING)

    def beat(self, state: ProcessState, **fields: int | NDArray[np.void]) -> None:
        """Publish the heartbeat with the given counters; the others keep their last value."""
        row = self._beat_row
        row["state"] = state
        row["beat_ns"] = time.monotonic_ns()
        for name, value in fields.items():
            row[name] = value
        self._beat.publish(row)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._failed = error is not None
        self.beat(ProcessState.FAILED if self._failed else ProcessState.STOPPED)
        self.close()

    def close(self) -> None:
        self._beat.close()
        self._readers.close()
        self._lock.close()
        remove_if_last(self.directory)  # the supervisor was killed, or there never was one


class FeedLine(_Line):
    """The feed's end: the only writer of the ring."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, FEED)
        self._strategy = self._readers.slot(STRATEGY)
        self._risk = self._readers.slot(RISK)
        self._only_risk = self._readers.bells(RISK)
        listeners = (STRATEGY,) if self.lockstep else READER_NAMES
        self.ticks = self._channels.RingWriter(
            self.directory / TICKS,
            TICK,
            settings.channels.ring_capacity,
            self._readers.bells(*listeners),
        )

    def wait_for_readers(self) -> None:
        """Wait until strategy and risk have attached, so that neither misses the first tick."""
        for slot in (self._strategy, self._risk):
            wait_for(partial(self._has_attached, slot), f"{slot.name} to attach")

    def _has_attached(self, slot: ReaderSlot) -> bool:
        """True also when it came and went; a process of a run before is not it."""
        lock = lock_path(self.directory, slot.name)
        return slot.gone or (slot.pid == lock_pid(lock) != 0 and lock_is_held(lock))

    @property
    def done(self) -> bool:
        """True when every reader has handled all that was published (lockstep)."""
        if self._risk.cursor >= self.ticks.published or self._risk.gone:
            return True
        if self._strategy.gone and self.ticks.bells is not self._only_risk:
            self.ticks.bells = self._only_risk  # nobody else will wake risk any more
            self._only_risk.ring()
        return False

    def close(self) -> None:
        self.ticks.close(failed=self._failed)
        self._only_risk.ring()
        super().close()


class StrategyLine(_Line):
    """The strategy's end."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, STRATEGY)
        self._risk_bells = self._readers.bells(RISK)
        self.signals = self._channels.QueueWriter(
            self.directory / SIGNALS, SIGNAL, settings.channels.queue_capacity, self._risk_bells
        )
        self._place = self._readers.slot(STRATEGY)
        self.positions = self._channels.CellReader(
            wait_for_owner(self.directory, POSITIONS, RISK),
            positions_dtype(len(settings.instruments)),
        )
        self.ticks = self._channels.RingReader(
            wait_for_owner(self.directory, TICKS, FEED), TICK, self._place
        )
        self._place.take()

    def commit(self) -> None:
        """Say that all ticks read so far are handled and their signals are in the queue."""
        self.ticks.commit()
        if self.lockstep:
            self._risk_bells.ring()

    def waiting(self, settings: Settings, spin_bare: bool) -> Waiting:
        bell = self._readers.bell(STRATEGY)
        ready, words = lambda: self.ticks.ready, self.ticks.watched
        return _waiting(self._channels, settings, spin_bare, ready, bell, words)

    def close(self) -> None:
        self._place.declare_gone()
        self._risk_bells.ring()
        self.signals.close()
        self.positions.close()
        self.ticks.close()
        super().close()


class RiskLine(_Line):
    """Risk's end."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, RISK)
        self.positions = self._channels.CellWriter(
            self.directory / POSITIONS, positions_dtype(len(settings.instruments))
        )
        self._place = self._readers.slot(RISK)
        self._strategy = self._readers.slot(STRATEGY)
        self.signals = self._channels.QueueReader(
            wait_for_owner(self.directory, SIGNALS, STRATEGY), SIGNAL
        )
        self.ticks = self._channels.RingReader(
            wait_for_owner(self.directory, TICKS, FEED), TICK, self._place
        )
        self._place.take()

    @property
    def _bound(self) -> int | None:
        """The last tick that risk may read: in lockstep, what the strategy has committed."""
        if self.lockstep and not self._strategy.gone:
            return self._strategy.cursor
        return None

    def read(self, limit: int) -> NDArray[np.void]:
        return self.ticks.read(limit, self._bound)

    def commit(self) -> None:
        """Say that all ticks read so far are handled and the positions cell shows it."""
        self.ticks.commit()

    @property
    def ready(self) -> bool:
        if self.signals.waiting:
            return True
        if self._strategy.gone:  # then a closed ring is the end, and worth a look
            return self.ticks.ready
        newest = self._strategy.cursor if self.lockstep else self.ticks.published
        return newest > self.ticks.cursor

    @property
    def ended(self) -> bool:
        """True when no tick and no signal can come any more."""
        return self.ticks.ended and self._strategy_is_done() and not self.signals.waiting

    def _strategy_is_done(self) -> bool:
        return self._strategy.gone or not lock_is_held(lock_path(self.directory, STRATEGY))

    @property
    def feed_alive(self) -> bool:
        return lock_is_held(lock_path(self.directory, FEED))

    @property
    def strategy_lapped(self) -> int:
        """Times that the strategy was overtaken."""
        return self._strategy.lapped

    @property
    def strategy_lost(self) -> int:
        """Ticks that the strategy lost by being lapped."""
        return self._strategy.lost

    def waiting(self, settings: Settings, spin_bare: bool) -> Waiting:
        bell = self._readers.bell(RISK)
        words = self.ticks.watched + self.signals.watched + self._strategy.watched
        return _waiting(self._channels, settings, spin_bare, lambda: self.ready, bell, words)

    def close(self) -> None:
        self._place.declare_gone()
        self.positions.close()
        self.signals.close()
        self.ticks.close()
        super().close()


def _waiting(
    channels: Implementation,
    settings: Settings,
    spin_bare: bool,
    ready: Callable[[], bool],
    bell: Bell,
    words: Words,
) -> Waiting:
    if settings.waiting.mode is Mode.CALLBACK:
        return Callback(bell, ready)
    if settings.waiting.mode is Mode.ADAPTIVE:
        return channels.adaptive(bell, ready, words, settings.waiting.adaptive_spin_us)
    return channels.poll(ready, words, spin_bare)


class Watch:
    """Reads the heartbeats of a run from outside; attaches to each as it appears."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cells: dict[str, CellReader] = {}
        self._rows: dict[str, NDArray[np.void]] = {}

    def latest(self) -> dict[str, NDArray[np.void]]:
        """Return the newest heartbeat of every role that has one, shape ``(1,)`` each."""
        for role in ROLES:
            path = self._directory / f"{role}.beat"
            if role not in self._cells and path.exists():
                self._cells[role] = CellReader(path, HEARTBEAT)
            if role in self._cells and (row := self._cells[role].latest()) is not None:
                self._rows[role] = row
        return self._rows

    def close(self) -> None:
        for cell in self._cells.values():
            cell.close()


def declare_gone(readers: Readers, role: str) -> None:
    """Say that the reader ``role`` died, so that nobody waits for it any more."""
    if role in READER_NAMES:
        slot: ReaderSlot = readers.slot(role)
        slot.declare_gone()
        readers.bells(RISK).ring()  # it may be parked, waiting for that reader
