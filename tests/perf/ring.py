"""Cost of the reference channels, one process, ns a call or a tick.

Nobody is parked and nobody else runs: this is the price that the feed and a reader pay, not the
latency between two processes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.channels.readers import Readers
from pipeline.channels.ring import RingReader, RingWriter
from pipeline.records import TICK

CALLS = 20_000
BATCH = 64


def measure() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        readers = Readers.create(directory, ["reader"])
        path = directory / "ticks.ring"
        writer = RingWriter(path, TICK, 65_536, readers.bells("reader"))
        reader = RingReader(path, TICK, readers.slot("reader"))
        one, many = np.zeros(1, TICK), np.zeros(BATCH, TICK)
        figures = {
            "ring: publish one tick, ns": _ns(lambda: writer.publish(one)),
            f"ring: publish {BATCH} ticks, ns a tick": _ns(lambda: writer.publish(many)) / BATCH,
        }
        reader.read(1)

        def publish_and_read() -> None:
            writer.publish(many)
            reader.read(BATCH)

        both = _ns(publish_and_read) / BATCH
        figures[f"ring: publish and read {BATCH} ticks, ns a tick"] = both
        reader.close()
        writer.close()
        readers.close()
    return figures


def _ns(call: Callable[[], None]) -> float:
    started = time.perf_counter_ns()
    for _ in range(CALLS):
        call()
    return (time.perf_counter_ns() - started) / CALLS
