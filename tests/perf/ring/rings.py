"""The ring of tickpipe as a peer, in each implementation and in each way to wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import IMPLEMENTATIONS, NATIVE_MISSING
from pipeline.records import TICK
from pipeline.strategy.contract import Signal, Strategy, Tick
from pipeline.strategy.session import StrategySession
from pipeline.testing import make_instrument
from tests.perf.ring.pair import END, RECORD, Inbox, Peer

CAPACITY = 65_536
BATCH = 64
SPIN_NS = 200_000
LANGUAGES = {"native": "C", "reference": "Python"}


class Ring(Peer):
    """A ring with one reader, which spins or parks."""

    def __init__(self, implementation: str, *, parks: bool = False) -> None:
        self.name = f"ring in {LANGUAGES[implementation]}, {'parked' if parks else 'spinning'}"
        self._implementation = implementation
        self._parks = parks

    def missing(self) -> str:
        return "" if self._implementation in IMPLEMENTATIONS else NATIVE_MISSING

    def share(self, folder: Path) -> None:
        self._channels = IMPLEMENTATIONS[self._implementation]
        self._folder = folder / self.name
        self._folder.mkdir()
        self._readers = self._channels.Readers.create(self._folder, ["reader"])
        bells = self._readers.bells("reader")
        self._writer = self._channels.RingWriter(self._folder / "a.ring", TICK, CAPACITY, bells)

    def pack(self, rows: NDArray[np.void]) -> Iterator[Any]:
        return (rows[n : n + 1] for n in range(len(rows)))

    def open_writer(self) -> Callable[[Any], object]:
        return self._writer.publish

    def open_reader(self) -> Callable[[], Any]:
        readers = self._channels.Readers.attach(self._folder)
        ring = self._channels.RingReader(self._folder / "a.ring", TICK, readers.slot("reader"))
        bell = readers.bell("reader") if self._parks else None
        return partial(ring.wait_for_rows, BATCH, 0 if self._parks else SPIN_NS, False, bell)

    def to_bytes(self, received: Any) -> bytes:
        return bytes(received.tobytes())

    def close(self) -> None:
        self._writer.close()
        self._readers.close()


class Stamping(Strategy):
    """Notes when it was given each tick."""

    def __init__(self, inbox: Inbox) -> None:
        self._times = memoryview(inbox.times).cast("q")
        self._sizes = memoryview(inbox.sizes).cast("q")
        self.ticks = 0

    def on_tick(self, tick: Tick) -> Signal | None:
        now = time.monotonic_ns()
        self._times[self.ticks] = now
        self._sizes[self.ticks] = RECORD
        self.ticks += 1
        return None


class RingToStrategy(Ring):
    """The same, and the time is taken in the on_tick of a strategy."""

    def __init__(self, implementation: str) -> None:
        super().__init__(implementation)
        self.name += ", to on_tick"

    def receive_all(self, inbox: Inbox) -> int:
        strategy = Stamping(inbox)
        on_ticks = StrategySession(strategy, (make_instrument(),), failures_max=1).on_ticks
        receive, log, at = self._receive, inbox.log, 0
        while True:
            rows = receive()
            on_ticks(rows)
            data = rows.tobytes()
            log[at : at + len(data)] = data
            at += len(data)
            if data[-8:] == END:
                return strategy.ticks


def rings() -> list[Peer]:
    """Return one of each."""
    found: list[Peer] = [Ring(name, parks=parks) for name in LANGUAGES for parks in (False, True)]
    return [*found, RingToStrategy("native")]
