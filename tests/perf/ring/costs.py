"""What the ring costs the process that calls it: a publish, a read, being idle."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.channels import IMPLEMENTATIONS, Implementation
from pipeline.channels.readers import Readers
from pipeline.channels.ring import RingReader, RingWriter
from pipeline.channels.waiting import Callback
from pipeline.records import TICK
from pipeline.runtime import duty_cycle
from pipeline.runtime.stopping import Stop
from tests.perf.ring.rings import CAPACITY, LANGUAGES

CALLS = 20_000
BATCH = 64
IDLE_SECONDS = 2.0
WAIT_FOR_NOTHING = "wait for rows on an empty ring, not at all, ns"  # the call, and the GIL


class Ends(NamedTuple):
    """Both ends of a ring, and the table that both use."""

    readers: Readers
    writer: RingWriter
    reader: RingReader


@contextmanager
def both_ends(channels: Implementation, capacity: int = CAPACITY) -> Iterator[Ends]:
    with tempfile.TemporaryDirectory(prefix="tickpipe-bench-", dir="/dev/shm") as folder:
        readers = channels.Readers.create(Path(folder), ["reader"])
        path = Path(folder) / "ticks.ring"
        writer = channels.RingWriter(path, TICK, capacity, readers.bells("reader"))
        reader = channels.RingReader(path, TICK, readers.slot("reader"))
        try:
            yield Ends(readers, writer, reader)
        finally:
            reader.close()
            writer.close()
            readers.close()


def costs() -> dict[str, float]:
    """Return the costs of every implementation that is there."""
    figures: dict[str, float] = {}
    for channels in IMPLEMENTATIONS.values():
        found = _calls(channels)
        found["idle reader, parked, % CPU"] = 100 * idle_part(channels)
        name = f"ring in {LANGUAGES[channels.name]}"
        figures |= {f"{name}: {figure}": value for figure, value in found.items()}
    return figures


def _calls(channels: Implementation) -> dict[str, float]:
    one, many = np.zeros(1, TICK), np.zeros(BATCH, TICK)
    with both_ends(channels) as (_, writer, reader):

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
        figures[WAIT_FOR_NOTHING] = _ns(partial(reader.wait_for_rows, 1, 0))
    return figures


def _ns(call: Callable[[], object]) -> float:
    """Return the time of one call with the loop around it: the median of ten series."""
    series = []
    for _ in range(10):
        started = time.perf_counter_ns()
        for _ in range(CALLS // 10):
            call()
        series.append((time.perf_counter_ns() - started) / (CALLS // 10))
    return float(np.median(series))


def idle_part(channels: Implementation) -> float:
    """Return the part of a CPU that a duty cycle in callback mode takes while nothing comes."""
    with both_ends(channels) as (readers, _, reader):
        waiting = Callback(readers.bell("reader"), lambda: reader.ready)
        stop = Stop(os.getppid())
        end = time.monotonic() + IDLE_SECONDS
        before = time.process_time()
        duty_cycle.run(
            lambda: len(reader.read(BATCH)),
            idle=waiting.idle,
            stop=stop,
            beat=lambda _: None,
            ended=lambda: time.monotonic() > end,
        )
        return (time.process_time() - before) / IDLE_SECONDS
