"""Cost of the channels, each implementation in the same run.

The first three figures are of one process, ns a call or a tick: nobody is parked and nobody else
runs. This is the price that the feed and a reader pay, not the latency between two processes.

The latency is one way between two processes: the writer publishes one tick at each of 10 000
intended times a second, and the reader stamps the moment at which ``read`` gave it the tick. It is
counted from the intended time (open loop), so that a writer that is late does not hide it. The
tails are the machine's: other guests, the scheduler. Not to be compared with a ping-pong halved.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import IMPLEMENTATIONS, Implementation
from pipeline.channels.waiting import Callback, Waiting
from pipeline.records import TICK

CALLS = 20_000
BATCH = 64
MESSAGES = 5_000
INTERVAL_NS = 100_000
CAPACITY = 65_536


def measure() -> dict[str, float]:
    figures: dict[str, float] = {}
    for channels in IMPLEMENTATIONS.values():
        found = costs(channels)
        for way in ("spinning", "parked") if len(os.sched_getaffinity(0)) > 1 else ():
            took = one_way_ns(channels, way)
            for percent in (50, 99):
                found[f"one way, {way}, p{percent}, ns"] = float(np.percentile(took, percent))
        figures |= {f"ring {channels.name}: {name}": value for name, value in found.items()}
    return figures


def costs(channels: Implementation) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        readers = channels.Readers.create(directory, ["reader"])
        path = directory / "ticks.ring"
        writer = channels.RingWriter(path, TICK, CAPACITY, readers.bells("reader"))
        reader = channels.RingReader(path, TICK, readers.slot("reader"))
        one, many = np.zeros(1, TICK), np.zeros(BATCH, TICK)

        def publish_and_read() -> None:
            writer.publish(many)
            reader.read(BATCH)

        for _ in range(2 * CAPACITY // BATCH):  # touch every page
            publish_and_read()
        figures = {
            "publish one, ns": _ns(partial(writer.publish, one)),
            f"publish {BATCH}, ns a tick": _ns(partial(writer.publish, many)) / BATCH,
        }
        reader.read(1)
        figures[f"publish and read {BATCH}, ns a tick"] = _ns(publish_and_read) / BATCH
        reader.close()
        writer.close()
        readers.close()
    return figures


def one_way_ns(channels: Implementation, way: str) -> NDArray[np.int64]:
    """Return the latency of each message."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        directory = Path(folder)
        readers = channels.Readers.create(directory, ["reader"])
        writer = channels.RingWriter(directory / "a.ring", TICK, CAPACITY, readers.bells("reader"))
        everywhere, cpus = os.sched_getaffinity(0), sorted(os.sched_getaffinity(0))
        pid = os.fork()
        if pid == 0:
            os.sched_setaffinity(0, {cpus[-1]})
            _be_reader(channels, directory, way)
        os.sched_setaffinity(0, {cpus[0]})
        while not readers.slot("reader").pid:
            time.sleep(0.001)
        intended = _publish_on_time(writer.publish)
        writer.close()
        os.waitpid(pid, 0)
        os.sched_setaffinity(0, everywhere)
        seen = np.load(directory / "seen.npy")
        readers.close()
    return seen - intended


def _publish_on_time(publish: Callable[[NDArray[np.void]], None]) -> NDArray[np.int64]:
    row, clock = np.zeros(1, TICK), time.monotonic_ns
    intended = clock() + 10_000_000 + INTERVAL_NS * np.arange(MESSAGES, dtype=np.int64)
    for due in intended.tolist():
        while clock() < due:
            pass
        publish(row)
    return intended


def _be_reader(channels: Implementation, directory: Path, way: str) -> None:
    readers = channels.Readers.attach(directory)
    place = readers.slot("reader")
    ring = channels.RingReader(directory / "a.ring", TICK, place)
    waiting: Waiting = channels.poll(lambda: ring.ready, ring.watched, True)
    if way == "parked":
        waiting = Callback(readers.bell("reader"), lambda: ring.ready)
    seen, at, clock = np.zeros(MESSAGES, np.int64), 0, time.monotonic_ns
    read, idle = ring.read, waiting.idle
    place.take()
    while at < MESSAGES:
        count = len(read(BATCH))
        if count:
            seen[at : at + count] = clock()
            at += count
        else:
            idle()
    np.save(directory / "seen.npy", seen)
    os._exit(0)


def _ns(call: Callable[[], None]) -> float:
    started = time.perf_counter_ns()
    for _ in range(CALLS):
        call()
    return (time.perf_counter_ns() - started) / CALLS
