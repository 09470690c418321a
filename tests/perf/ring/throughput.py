"""How many ticks a second get through one ring with nothing lost.

A writer and its readers in processes of their own, not pinned. The ring itself never waits for a
reader; here the writer looks at the readers' cursors and keeps half a ring ahead of the slowest at
most, so that nothing is lost and the slowest side sets the rate. Every reader adds up a field of
all ticks: what it got is what was sent.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import Implementation, choose
from pipeline.channels.readers import Readers, ReaderSlot
from pipeline.channels.ring import RingReader, RingWriter
from pipeline.records import TICK
from pipeline.settings import Settings
from pipeline.strategy.contract import Signal, Strategy, Tick
from pipeline.strategy.session import StrategySession
from tests.perf.day import guide_settings

CAPACITY = 65_536
BATCH = 64
SECONDS = 1.0

Consume = Callable[[NDArray[np.void]], object]


class DoNothing(Strategy):
    """A strategy that looks at the price of every tick."""

    def __init__(self) -> None:
        self.last = 0

    def on_tick(self, tick: Tick) -> Signal | None:
        self.last = tick.price_e4
        return None


def throughput() -> dict[str, float]:
    """Return ticks a second for readers that take batches, and that call Python for each tick."""
    settings = guide_settings()
    limit = settings.strategy.batch_max
    return {
        "1 writer, 2 readers in batches, ticks/s": rate([_nothing, _nothing], 4_096),
        "1 writer, 1 reader, StrategySession.on_ticks, ticks/s": rate([_session(settings)], limit),
        "1 writer, 1 reader, for row in rows, ticks/s": rate([_for_each_row], limit),
    }


def _nothing(rows: NDArray[np.void]) -> None:
    """Have the batch, and that is all."""


def _session(settings: Settings) -> Consume:
    return StrategySession(DoNothing(), settings.instruments, failures_max=1).on_ticks


def _for_each_row(rows: NDArray[np.void]) -> None:
    last = 0
    for row in rows:
        last = row["price_e4"]
    assert last


def rate(consumers: Sequence[Consume], limit: int, seconds: float = SECONDS) -> float:
    """Return the ticks a second that a reader for each of ``consumers`` gets, ``limit`` at once.

    Raises RuntimeError where a reader fails, lost a tick, or got another one than was sent.
    """
    channels = choose("auto")
    names = [f"reader{number}" for number in range(len(consumers))]
    with tempfile.TemporaryDirectory(prefix="tickpipe-bench-", dir="/dev/shm") as name:
        folder = Path(name)
        readers = channels.Readers.create(folder, names)
        bells = readers.bells(*names)
        writer = channels.RingWriter(folder / "ticks.ring", TICK, CAPACITY, bells)
        places = [readers.slot(name) for name in names]
        with _Children() as children:
            for reader, consume in zip(names, consumers, strict=True):
                children.fork(partial(_read, channels, folder, reader, consume, limit))
            ticks, took = _write(writer, places, seconds, children)
            children.wait_for_all()
        readers.close()
    return ticks / took


class _Children:
    """Forked readers; none is left behind."""

    def __init__(self) -> None:
        self._pids: list[int] = []

    def fork(self, run: Callable[[], bool]) -> None:
        pid = os.fork()
        if pid == 0:
            _be_child(run)
        self._pids.append(pid)

    def check(self) -> None:
        """Raise RuntimeError where one has failed."""
        self._reap(os.WNOHANG)

    def wait_for_all(self) -> None:
        while self._pids:
            self._reap(0)

    def _reap(self, options: int) -> None:
        for pid in list(self._pids):
            ended, status = os.waitpid(pid, options)
            if ended:
                self._pids.remove(pid)
                if status:
                    raise RuntimeError("a reader lost ticks or failed, see its traceback")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _be_child(run: Callable[[], bool]) -> NoReturn:
    code = 1
    try:
        code = 0 if run() else 1
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(code)


def _write(
    writer: RingWriter, places: Sequence[ReaderSlot], seconds: float, children: _Children
) -> tuple[int, float]:
    """Publish for ``seconds``; return how many ticks, and the time until all were handled."""

    def wait_for(condition: Callable[[ReaderSlot], bool]) -> None:
        while not all(condition(place) for place in places):
            children.check()
            os.sched_yield()

    rows = np.zeros(BATCH, TICK)
    rows["price_e4"] = np.arange(1, BATCH + 1)
    wait_for(lambda place: place.pid != 0)
    started = time.monotonic()
    while time.monotonic() < started + seconds:
        wait_for(lambda place: place.cursor >= writer.published - CAPACITY // 2)
        for _ in range(CAPACITY // 8 // BATCH):
            writer.publish(rows)
    wait_for(lambda place: place.cursor == writer.published)
    took, ticks = time.monotonic() - started, writer.published
    writer.close()
    return ticks, took


def _read(channels: Implementation, folder: Path, name: str, consume: Consume, limit: int) -> bool:
    """Hand every tick to ``consume``; return whether all came, and each as it was sent."""
    readers: Readers = channels.Readers.attach(folder)
    place = readers.slot(name)
    ring: RingReader = channels.RingReader(folder / "ticks.ring", TICK, place)
    idle = channels.poll(lambda: ring.ready, ring.watched, False).idle
    place.take()
    total = count = 0
    while not ring.ended:
        rows = ring.read(limit)
        if len(rows):
            consume(rows)
            total += int(rows["price_e4"].sum())
            count += len(rows)
            ring.commit()
        else:
            idle()
    return ring.lost == 0 and total == count // BATCH * (BATCH * (BATCH + 1) // 2)
