"""A process's place in the run: its ends of the ring, the queue and the cells, by role.

    FeedLine       writes ticks
    StrategyLine   reads ticks and positions, writes signals
    RiskLine       reads ticks and signals, writes positions
    RecorderLine   reads ticks, gaps and depth; nobody waits for it
    AdapterLine    reads ticks and positions: a user's program beside the run
    Watch          reads every heartbeat: supervisor and display

Lockstep: strategy and risk commit what they have handled; risk reads no tick that the strategy
has not committed, and the feed asks ``done`` before it publishes the next.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import choose
from pipeline.channels.locks import OwnerLock, lock_is_held, lock_pid
from pipeline.channels.readers import Readers
from pipeline.channels.rundir import lock_path, open_readers, remove_if_last
from pipeline.records import HEARTBEAT, ProcessState
from pipeline.settings import Settings

FEED, STRATEGY, RISK = "feed", "strategy", "risk"
ROLES = (FEED, STRATEGY, RISK)
READER_NAMES = (STRATEGY, RISK)
ADAPTER = "adapter"  # a reader more, where a user's program wants the ticks too
RECORDER = "recorder"  # reads them too, and nobody waits for it

TICKS, SIGNALS, POSITIONS = "ticks.ring", "signals.queue", "positions.cell"


class Line:
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

    @contextmanager
    def attaching(self) -> Iterator[None]:
        """Leave nothing behind when the others do not come."""
        try:
            yield
        except BaseException:
            Line.close(self)
            raise

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


def declare_gone(readers: Readers, role: str) -> None:
    """Say that the reader ``role`` died, so that nobody waits for it any more."""
    if role in READER_NAMES:
        readers.slot(role).declare_gone()
        readers.bells(RISK).ring()  # it may be parked, waiting for that reader
