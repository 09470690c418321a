"""A process's place in the run: its ends of the ring, the queue and the cells, by role.

    FeedLine       writes ticks
    StrategyLine   reads ticks and positions, writes signals
    RiskLine       reads ticks and signals, writes positions
    Watch          reads every heartbeat: supervisor and display

``adapter`` has the end of a user's program that reads the ring beside them.

Lockstep: strategy and risk commit what they have handled; risk reads no tick that the strategy
has not committed, and the feed asks ``done`` before it publishes the next.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import choose
from pipeline.channels.cell import CellReader
from pipeline.channels.control import CONTROL, Asked, ControlSocket
from pipeline.channels.depths import DEPTHS, DepthReader
from pipeline.channels.gaps import GAPS, GAPS_CAPACITY, GapReader
from pipeline.channels.locks import OwnerLock, lock_is_held, lock_pid
from pipeline.channels.missed import read_again
from pipeline.channels.newest import create_newest
from pipeline.channels.readers import Readers, ReaderSlot
from pipeline.channels.ring import RingReader, RingWriter
from pipeline.channels.rundir import (
    lock_path,
    open_readers,
    owner_created,
    remove_if_last,
    wait_for,
    wait_for_owner,
)
from pipeline.channels.waiting import Callback, Waiting, Words, wait_of
from pipeline.records import (
    DEPTH,
    GAP,
    HEARTBEAT,
    SIGNAL,
    TICK,
    Gap,
    ProcessState,
    WhenLapped,
    positions_dtype,
)
from pipeline.settings import Mode, Settings

FEED, STRATEGY, RISK = "feed", "strategy", "risk"
ROLES = (FEED, STRATEGY, RISK)
READER_NAMES = (STRATEGY, RISK)
ADAPTER = "adapter"  # a reader more, where a user's program wants the ticks too
RECORDER = "recorder"  # reads them too, and nobody waits for it

TICKS, SIGNALS, POSITIONS = "ticks.ring", "signals.queue", "positions.cell"


class _Line:
    """What every role has: a lock for life, the table of readers, a heartbeat."""

    def __init__(self, settings: Settings, role: str) -> None:
        self.directory = settings.run_directory
        self.lockstep = settings.channels.lockstep
        self._failed = False
        self._channels = choose(settings.channels.implementation)
        self._readers = open_readers(self.directory, READER_NAMES, self._channels.Readers)
        self._places = {name: self._readers.slot(name) for name in self._readers.names}
        self._others = [
            (slot, lock_path(self.directory, name))
            for name, slot in self._places.items()
            if name != role
        ]
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
        self._bury_the_dead()

    def _bury_the_dead(self) -> None:
        """Declare readers gone whose process died and could not: nobody need wait for them."""
        for slot, lock in self._others:
            pid = slot.pid  # before the look at the lock: the next process has another
            if not slot.gone and not lock_is_held(lock) and pid == lock_pid(lock) != 0:
                slot.declare_gone()

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
        self._strategy = self._places[STRATEGY]
        # A run without risk was started for the adapter alone: then that one is waited for.
        alone = ADAPTER in self._places and self._places[RISK].gone
        self._last = self._places[ADAPTER if alone else RISK]
        self._everybody = self._readers.bells(*self._places)
        listeners = [name for name in self._places if not (self.lockstep and name == RISK)]
        count = len(settings.instruments)
        self._newest = create_newest(self.directory, self.directory / TICKS, count)
        self.newest = self._newest.slots[:count]  # a TICK row of each, the feed's to write
        self.gaps = self._channels.RingWriter(self.directory / GAPS, GAP, GAPS_CAPACITY)
        self.ticks = self._channels.RingWriter(
            self.directory / TICKS,
            TICK,
            settings.channels.ring_capacity,
            self._readers.bells(*listeners),
        )
        self._depths: RingWriter | None = None
        if settings.strategy.depth:
            self._depths = self._channels.RingWriter(
                self.directory / DEPTHS, DEPTH, settings.channels.ring_capacity
            )
        self._everybody.ring()  # who read the ring of a feed that died follows

    def publish(self, rows: NDArray[np.void]) -> None:
        """Publish TICK rows, or TICK_WITH_DEPTH rows and first the depth that some have."""
        if self._depths is not None:
            depths = rows["depth"].copy()
            depths["tick_seq"] = self.ticks.published + np.arange(1, len(rows) + 1)
            depths["instrument"] = rows["instrument"]
            self._depths.publish(depths[depths["ts_recv_ns"] > 0])
            rows = np.ascontiguousarray(rows["tick"])
        self.ticks.publish(rows)

    def wait_for_readers(self) -> None:
        """Wait until every reader has attached, so that none misses the first tick."""
        for slot in self._places.values():
            wait_for(partial(self._has_attached, slot), f"{slot.name} to attach")

    def _has_attached(self, slot: ReaderSlot) -> bool:
        """True also when it came and went; a process of a run before is not it."""
        lock = lock_path(self.directory, slot.name)
        return slot.gone or (slot.pid == lock_pid(lock) != 0 and lock_is_held(lock))

    @property
    def unread(self) -> int:
        """Ticks that the slowest reader has not handled yet."""
        reading = [slot for slot in self._places.values() if slot.pid and not slot.gone]
        return max((self.ticks.published - slot.cursor for slot in reading), default=0)

    @property
    def done(self) -> bool:
        """True when the last in the row, risk, has handled all that was published (lockstep)."""
        if self._last.cursor >= self.ticks.published or self._last.gone:
            return True
        if self._strategy.gone and self.ticks.bells is not self._everybody:
            self.ticks.bells = self._everybody  # nobody else will wake risk any more
            self._everybody.ring()
        return False

    def close(self) -> None:
        self.ticks.close(failed=self._failed)
        self.gaps.close(failed=self._failed)
        if self._depths is not None:
            self._depths.close(failed=self._failed)
        self.newest = self.newest[:0].copy()
        self._newest.close()
        self._everybody.ring()
        super().close()


class _ReaderLine(_Line):
    """What strategy and risk share: the ticks, and a way to wait for them."""

    ticks: RingReader

    def __init__(self, settings: Settings, role: str, spin_bare: bool) -> None:
        super().__init__(settings, role)
        self._settings = settings
        self._spin_bare = spin_bare
        self._place = self._places[role]
        self._bell = self._readers.bell(role)

    def _attach(self, when_lapped: WhenLapped) -> None:
        path = wait_for_owner(self.directory, TICKS, FEED)
        self.ticks = self._channels.RingReader(path, TICK, self._place, when_lapped)
        self.gaps = GapReader(wait_for_owner(self.directory, GAPS, FEED), self._channels)
        self.waiting = self._new_waiting()
        self._place.take()

    @property
    def ready(self) -> bool:
        """True when a look is worth while."""
        raise NotImplementedError

    @property
    def watched(self) -> Words:
        """The words that change when it becomes so."""
        raise NotImplementedError

    def idle(self) -> None:
        """Wait as the settings say, after a turn without work."""
        self.waiting.idle()

    def follow(self) -> Gap | None:
        """Go on with the ring of the next feed; None unless this one was read to its end."""
        gap = self.ticks.follow() if self.ticks.superseded else None
        if gap is not None:
            self.waiting = self._new_waiting()  # the words to watch lie in another mapping
        return gap

    def _new_waiting(self) -> Waiting:
        mode, ready = self._settings.waiting.mode, lambda: self.ready
        if mode is Mode.CALLBACK:
            return Callback(self._bell, ready)
        if mode is Mode.ADAPTIVE:
            spin_us = self._settings.waiting.adaptive_spin_us
            return self._channels.adaptive(self._bell, ready, self.watched, spin_us)
        return self._channels.poll(ready, self.watched, self._spin_bare)

    def close(self) -> None:
        self.ticks.close()
        self.gaps.close()
        super().close()


class StrategyLine(_ReaderLine):
    """The strategy's end."""

    def __init__(self, settings: Settings, spin_bare: bool = False) -> None:
        super().__init__(settings, STRATEGY, spin_bare)
        self._risk_bells = self._readers.bells(RISK)
        self.signals = self._channels.QueueWriter(
            self.directory / SIGNALS, SIGNAL, settings.channels.queue_capacity, self._risk_bells
        )
        wait_for_owner(self.directory, POSITIONS, RISK)
        self.positions = self._open_positions()
        self.depths: DepthReader | None = None
        if settings.strategy.depth:
            path = wait_for_owner(self.directory, DEPTHS, FEED)
            self.depths = DepthReader(path, self._channels)
        self._attach(settings.strategy.when_lapped)
        self._wait = wait_of(settings, spin_bare, self._bell)

    @property
    def ready(self) -> bool:
        return self.ticks.ready

    @property
    def watched(self) -> Words:
        return self.ticks.watched

    def read(self, limit: int) -> NDArray[np.void]:
        """Wait once as the settings say, and return the next ticks, 1 to ``limit``, or none.

        It is ``idle`` and ``ticks.read`` in one, with nothing between the wait and the tick.
        """
        return self.ticks.wait_for_rows(limit, *self._wait)

    def _open_positions(self) -> CellReader:
        path = self.directory / POSITIONS
        return self._channels.CellReader(path, positions_dtype(len(self._settings.instruments)))

    def follow_positions(self) -> None:
        """Go on with the positions of another risk, where one took over."""
        if self.positions.superseded:
            self.positions.close()
            self.positions = self._open_positions()

    def commit(self) -> None:
        """Say that all ticks read so far are handled and their signals are in the queue."""
        self.ticks.commit()
        if self.lockstep:
            self._risk_bells.ring()

    def close(self) -> None:
        self._place.declare_gone()
        self._risk_bells.ring()
        self.signals.close()
        self.positions.close()
        if self.depths is not None:
            self.depths.close()
        super().close()


class RiskLine(_ReaderLine):
    """Risk's end."""

    def __init__(self, settings: Settings, spin_bare: bool = False) -> None:
        super().__init__(settings, RISK, spin_bare)
        self.positions = self._channels.CellWriter(
            self.directory / POSITIONS, positions_dtype(len(settings.instruments))
        )
        self._strategy = self._places[STRATEGY]
        self.signals = self._channels.QueueReader(self._wait_for_signals(), SIGNAL)
        self._feed_lock = lock_path(self.directory, FEED)
        self._control = ControlSocket(self.directory / CONTROL)
        self.handled_before = self._place.cursor  # > 0: another risk of this run died
        self._woken = False
        self._own_bell = self._readers.bells(RISK)
        self._attach(settings.risk.when_lapped)

    def wake(self) -> None:
        """Have the next turn begin now; for threads of this process."""
        self._woken = True
        self._own_bell.ring()

    def _wait_for_signals(self) -> Path:
        """Wait for the queue; that of a strategy that died will do: what it wanted still counts."""
        path, slot = self.directory / SIGNALS, self._strategy
        wait_for(
            lambda: owner_created(path, STRATEGY) or (slot.gone and path.exists()),
            f"{STRATEGY} to create {path}",
        )
        return path

    def missed(self, after_seq: int) -> NDArray[np.void]:
        """Return the ticks behind ``after_seq`` that another risk of this run may not have
        handled, as far as the ring still has them; nothing where there was no other one."""
        if not self.handled_before:
            return np.zeros(0, TICK)
        first = min(after_seq, self.handled_before)
        return read_again(self.directory / TICKS, self._place, first, self.ticks.cursor)

    def asked(self) -> list[Asked]:
        """Return what people and programs ask of risk, see risk/control.py; never waits."""
        return self._control.take()

    @property
    def _bound(self) -> int | None:
        """The last tick that risk may read: in lockstep, what the strategy has committed."""
        if self.lockstep and not self._strategy.gone:
            return self._strategy.cursor
        return None

    def read(self, limit: int) -> NDArray[np.void]:
        self._woken = False  # before the look that it asks for
        return self.ticks.read(limit, self._bound)

    def commit(self) -> None:
        """Say that all ticks read so far are handled and the positions cell shows it."""
        self.ticks.commit()

    @property
    def watched(self) -> Words:
        return self.ticks.watched + self.signals.watched + self._strategy.watched

    @property
    def ready(self) -> bool:
        if self.signals.waiting or self._woken:
            return True
        if self._strategy.gone:  # then a closed ring is the end, and worth a look
            return self.ticks.ready
        newest = self._strategy.cursor if self.lockstep else self.ticks.published
        return newest > self.ticks.cursor or self.ticks.superseded

    @property
    def ended(self) -> bool:
        """True when no tick and no signal can come any more."""
        return self.ticks.ended and self.strategy_is_gone and not self.signals.waiting

    @property
    def strategy_is_gone(self) -> bool:
        """True when no signal can come any more."""
        return self._strategy.gone or not lock_is_held(lock_path(self.directory, STRATEGY))

    @property
    def feed_alive(self) -> bool:
        return lock_is_held(self._feed_lock)

    @property
    def strategy_lapped(self) -> int:
        """Times that the strategy was overtaken."""
        return self._strategy.lapped

    @property
    def strategy_lost(self) -> int:
        """Ticks that the strategy lost by being lapped."""
        return self._strategy.lost

    def close(self) -> None:
        self._place.declare_gone()
        self._control.close()
        self.positions.close()
        self.signals.close()
        super().close()


class Watch:
    """Reads the heartbeats of a run from outside; attaches to each as it appears."""

    def __init__(self, directory: Path) -> None:
        self._paths = {role: directory / f"{role}.beat" for role in (*ROLES, RECORDER)}
        self._cells: dict[str, CellReader] = {}
        self._rows: dict[str, NDArray[np.void]] = {}

    def latest(self) -> dict[str, NDArray[np.void]]:
        """Return the newest heartbeat of every role that has one, shape ``(1,)`` each."""
        for role, path in self._paths.items():
            if role in self._cells and self._cells[role].superseded:
                self._cells.pop(role).close()
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
        readers.slot(role).declare_gone()
        readers.bells(RISK).ring()  # it may be parked, waiting for that reader
