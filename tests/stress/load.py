"""One load on one ring: a writer on intended times, one to three readers that count.

The writer publishes tick n at ``start + n / rate`` whatever the readers do (open loop): it sleeps
until the next one is due and then publishes what has come due, 256 at most in one call, as the
feed does. The first reader is the strategy: the real session around the shipped strategy, tick by
tick, or around one that takes batches. The others copy and check, as a recorder does.

Every reader checks each seq against the one before and the gaps it was told of. A latency is that
of the oldest tick of a batch, from its intended time, so that a late writer does not hide it.

The strategy has a CPU of its own where there are two, the writer the first one; the other readers
share what is between, or sit with the writer. A reader that polls is bare on a CPU of its own.
"""

from __future__ import annotations

import gc
import os
import resource
import statistics
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import Implementation, choose
from pipeline.channels.inspection import RingReport, inspect
from pipeline.channels.layout import State
from pipeline.channels.line import FEED, STRATEGY, TICKS
from pipeline.channels.locks import OwnerLock
from pipeline.channels.readers import ReaderSlot
from pipeline.channels.ring import RingWriter
from pipeline.channels.rundir import lock_path
from pipeline.channels.waiting import Callback, Waiting
from pipeline.records import TICK, WhenLapped
from pipeline.runtime import duty_cycle
from pipeline.runtime.pinning import pin
from pipeline.runtime.stopping import Stop
from tests.rig import Processes, until
from tests.stress.counting import Recorder, StrategyReader

READERS = (STRATEGY, "second", "third")
BATCH_MAX = 256  # as the feed's RECEIVE_MAX and strategy.batch_max
BLOCK = 8_192  # rows made ahead, played again and again
SAMPLE_SECONDS = 0.02
WAITING_FEED_LAG = 512  # ticks; the fault of a feed that waits
WAITING_FEED_SECONDS = 0.000_5

Publish = Callable[[NDArray[np.void]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of the ring and its readers."""

    rate: int  # ticks/s
    seconds: float
    readers: int = 1
    instruments: int = 1
    mode: str = "callback"  # or poll
    strategy: str = "tick"  # or batch
    tick_us: float = 0.0  # what the strategy sleeps for each tick
    capacity: int = 65_536
    when_lapped: WhenLapped = WhenLapped.LATEST
    implementation: str = "auto"
    skip_every: int = 0  # a fault: the strategy's reader drops one tick in so many, silently
    feed_waits: bool = False  # a fault: the writer waits for its slowest reader

    @property
    def names(self) -> tuple[str, ...]:
        return READERS[: self.readers]

    @property
    def total(self) -> int:
        return max(1, int(self.rate * self.seconds))


class Seat(NamedTuple):
    """The CPU of a process; ``own`` where it shares it with none of ours."""

    cpu: int
    own: bool


class Written(NamedTuple):
    """What the writer did."""

    published: int
    seconds: float
    calls: int
    publish_p90_ns: int
    publish_max_ns: int
    late_ns: int  # the oldest tick of a call, from its intended time, at worst
    blocked: int  # times that it gave up its CPU and was not asleep until the next tick

    @property
    def rate(self) -> float:
        return self.published / self.seconds


class Read(NamedTuple):
    """What one reader received, lost and was told, and what its slot says from outside."""

    name: str
    received: int
    lost: int
    laps: int
    told_lost: int
    told_laps: int
    slot_lost: int
    slot_laps: int
    holes: int  # seqs that did not follow, and no gap was told
    failures: int
    p50_ns: int
    p99_ns: int
    max_ns: int


class Outcome(NamedTuple):
    load: Load
    written: Written
    reads: tuple[Read, ...]
    lag: int  # of the strategy, ticks, median of the second half
    lag_max: int

    @property
    def lost(self) -> int:
        return sum(read.lost for read in self.reads)


def seats(cpus: list[int], readers: int) -> list[Seat]:
    """Return where the writer and each reader sit, the strategy behind the writer."""
    between = [*range(1, len(cpus) - 1)][: readers - 1]
    places = [0, len(cpus) - 1, *(between[i % len(between)] if between else 0 for i in range(2))]
    places = places[: 1 + readers]
    return [Seat(cpus[place], places.count(place) == 1) for place in places]


def run_load(load: Load, directory: Path) -> Outcome:
    """Put ``load`` on a ring in ``directory``, which is of mode 0700 and empty."""
    channels = choose(load.implementation)
    channels.Readers.create(directory, load.names).close()
    places = seats(sorted(os.sched_getaffinity(0)), load.readers)
    processes = Processes()
    try:
        writer = processes.fork(lambda: _write(load, channels, directory, places[0]))
        readers = [
            processes.fork(lambda n=n, s=s: _read(load, channels, directory, n, s))  # type: ignore[misc]
            for n, s in zip(load.names, places[1:], strict=True)
        ]
        lags = _watch(directory)
        patience = 60 + 3 * load.seconds
        written = Written(*writer.result(patience))
        sums = [reader.result(patience) for reader in readers]
        reads = [_with_slot(own, inspect(directory)) for own in sums]
    finally:
        processes.kill_all()
    lag = statistics.median_low(lags[len(lags) // 2 :] or [0])
    return Outcome(load, written, tuple(reads), lag, max(lags, default=0))


def _watch(directory: Path) -> list[int]:
    """Return how far the strategy was behind, looked at from outside until the writer ends."""
    until((directory / TICKS).exists)
    lags = []
    while (report := inspect(directory)).state is State.OPEN and report.owner_alive:
        lags += [reader.behind for reader in report.readers if reader.name == STRATEGY]
        time.sleep(SAMPLE_SECONDS)
    return lags


def _with_slot(own: dict[str, Any], report: RingReport) -> Read:
    (slot,) = (reader for reader in report.readers if reader.name == own["name"])
    return Read(**own, slot_lost=slot.lost, slot_laps=slot.lapped)


# The writer ----------------------------------------------------------------------------------


def _settle(seat: Seat) -> None:
    pin([seat.cpu])
    gc.collect()
    gc.freeze()


def _write(load: Load, channels: Implementation, directory: Path, seat: Seat) -> Written:
    _settle(seat)
    OwnerLock(lock_path(directory, FEED))
    table = channels.Readers.attach(directory)
    bells = table.bells(*load.names)
    ring = channels.RingWriter(directory / TICKS, TICK, load.capacity, bells)
    slots = [table.slot(name) for name in load.names]
    until(lambda: all(slot.pid for slot in slots))
    written = _publish_on_time(
        load, _waiting_feed(ring, slots) if load.feed_waits else ring.publish
    )
    ring.close()
    return written


def _waiting_feed(ring: RingWriter, slots: list[ReaderSlot]) -> Publish:
    """Return a publish that breaks I1: it waits until no reader can be overtaken."""

    def publish(rows: NDArray[np.void]) -> None:
        while ring.published + len(rows) - min(slot.cursor for slot in slots) > WAITING_FEED_LAG:
            time.sleep(WAITING_FEED_SECONDS)
        ring.publish(rows)

    return publish


def _publish_on_time(load: Load, publish: Publish) -> Written:
    rows, clock, total, rate = _block(load.instruments), time.monotonic_ns, load.total, load.rate
    offsets = (np.arange(BLOCK) * (1e9 / rate)).astype(np.int64)
    at = sleeps = late = spent = 0
    took = array("q")
    switches = _voluntary_switches()
    start = clock() + 1_000_000
    while at < total and spent < 2e9 * (load.seconds + 1):
        now = clock()
        due = min(total, (now - start) * rate // 1_000_000_000 + 1)
        if due <= at:
            sleeps += 1
            time.sleep(max(0, start + at * 1_000_000_000 // rate - now) / 1e9)
            continue
        first, begin = at % BLOCK, start + (at - at % BLOCK) * 1_000_000_000 // rate
        part = rows[first : first + min(due - at, BATCH_MAX)]
        part["ts_recv_ns"] = offsets[first : first + len(part)] + begin
        before = clock()
        publish(part)
        took.append(clock() - before)
        spent += took[-1]  # a feed that waits for readers does not wait for ever
        late = max(late, before - int(part["ts_recv_ns"][0]))
        at += len(part)
    seconds = (clock() - start) / 1e9
    blocked = max(0, _voluntary_switches() - switches - sleeps)
    p90, longest = (int(ns) for ns in np.percentile(took, (90, 100), method="nearest"))
    return Written(at, seconds, len(took), p90, longest, late, blocked)


def _block(instruments: int) -> NDArray[np.void]:
    """Return rows whose prices walk, the instruments in turn."""
    rows, chance = np.zeros(BLOCK, TICK), np.random.default_rng(1)
    rows["instrument"] = np.arange(BLOCK) % instruments
    rows["price_e4"] = 2_500_000 + np.cumsum(chance.integers(-3, 4, BLOCK)) * 500
    rows["quantity"] = 75
    return rows


def _voluntary_switches() -> int:
    """Return how often this thread gave up its CPU to wait for something."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


# A reader ------------------------------------------------------------------------------------


def _read(
    load: Load, channels: Implementation, directory: Path, name: str, seat: Seat
) -> dict[str, Any]:
    _settle(seat)
    table = channels.Readers.attach(directory)
    until((directory / TICKS).exists)
    place, is_strategy = table.slot(name), name == STRATEGY
    policy = load.when_lapped if is_strategy else WhenLapped.OLDEST
    ring = channels.RingReader(directory / TICKS, TICK, place, policy)
    if is_strategy:
        reader: Recorder = StrategyReader(ring, load, BATCH_MAX)
    else:
        reader = Recorder(ring, BATCH_MAX)
    waiting: Waiting = channels.poll(lambda: ring.ready, ring.watched, seat.own)
    if load.mode == "callback":
        waiting = Callback(table.bell(name), lambda: ring.ready)
    place.take()
    duty_cycle.run(
        reader.work,
        idle=waiting.idle,
        stop=Stop(os.getppid()),
        beat=lambda cycles: None,
        ended=lambda: ring.ended,
    )
    return _sums(name, reader)


def _sums(name: str, reader: Recorder) -> dict[str, Any]:
    latencies = np.array(reader.latencies if len(reader.latencies) else array("q", [0]))
    p50, p99, most = np.percentile(latencies, (50, 99, 100), method="nearest")
    return {
        "name": name,
        "received": reader.seqs.received,
        "lost": reader.ring.lost,
        "laps": reader.ring.lapped,
        "told_lost": reader.seqs.told_lost,
        "told_laps": reader.seqs.told_laps,
        "holes": reader.seqs.holes,
        "failures": reader.failures,
        "p50_ns": int(p50),
        "p99_ns": int(p99),
        "max_ns": int(most),
    }
