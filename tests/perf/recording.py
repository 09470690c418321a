"""What recording costs: ticks written a second, and the recorder's CPU beside a feed.

The disk is that of the system's temporary folder (TMPDIR). Every part and every file is synced.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.brokers.recorded.journal import settle, unsettled_days, write_journal
from pipeline.brokers.recorded.parquet import arrow, recorded
from pipeline.channels.feed_line import FeedLine
from pipeline.channels.line import READER_NAMES
from pipeline.channels.rundir import own_run
from pipeline.recorder import process
from pipeline.records import TICK
from tests.money import guide

TICKS, PART = 2_000_000, 100_000
SECONDS, RATE = 20, 1_000
OPEN_NS = 1_767_584_700 * 10**9  # 2026-01-05 09:15 IST


def day(count: int) -> np.ndarray:
    """Return ticks that walk, as prices do."""
    chance = np.random.default_rng(7)
    rows = np.zeros(count, TICK)
    rows["seq"] = np.arange(1, count + 1)
    rows["ts_event_ns"] = OPEN_NS + rows["seq"] * 10_000_000
    rows["ts_recv_ns"] = rows["ts_event_ns"] + chance.integers(10**6, 10**7, count)
    rows["price_e4"] = 2_500_000 + 500 * np.cumsum(chance.integers(-1, 2, count))
    rows["quantity"] = 65 * chance.integers(1, 20, count)
    rows["day_volume"] = np.cumsum(rows["quantity"])
    return rows


def written(folder: Path) -> dict[str, float]:
    instruments, rows = guide().instruments, day(TICKS)
    started, cpu = time.perf_counter(), time.process_time()
    for number, part in enumerate(np.split(rows, TICKS // PART)):
        write_journal(folder, f"1-{number:06}", "ticks", recorded("ticks", part, 1), instruments)
    figures = _figures("journal", time.perf_counter() - started, time.process_time() - cpu)
    started, cpu = time.perf_counter(), time.process_time()
    for each in unsettled_days(folder):
        settle(each)
    figures |= _figures("settle", time.perf_counter() - started, time.process_time() - cpu)
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    return figures | {"on disk, bytes a tick": size / TICKS}


def _figures(name: str, seconds: float, cpu: float) -> dict[str, float]:
    return {f"{name}, ticks/s": TICKS / seconds, f"{name}, ns CPU a tick": cpu / TICKS * 1e9}


def beside_a_feed(folder: Path) -> dict[str, float]:
    settings = guide(
        f"channels.directory='{folder / 'tickpipe-bench'}'",
        f"recorder.directory='{folder / 'rec'}'",
    )
    with own_run(settings.run_directory, READER_NAMES, print):
        line = FeedLine(settings)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        before = used.ru_utime + used.ru_stime
        pid = os.fork()
        if pid == 0:
            os._exit(int(process.run(settings)))
        rows, started = day(SECONDS * RATE), time.monotonic()
        for number, row in enumerate(rows.reshape(-1, 1)):
            time.sleep(max(0.0, started + number / RATE - time.monotonic()))
            line.ticks.publish(row)
        line.close()
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"the recorder ended with {status}"
        seconds = time.monotonic() - started
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime - before
    return {
        f"recorder at {RATE:,} ticks/s for {SECONDS} s, % of a CPU": 100 * cpu / seconds,
        "recorder, MB resident at most": used.ru_maxrss / 1024,
    }


def measure() -> dict[str, float]:
    """Return what both cost; the recorder's CPU with its start and its settling."""
    arrow()
    with tempfile.TemporaryDirectory() as folder:
        figures = written(Path(folder) / "rec")
    with tempfile.TemporaryDirectory() as folder:
        return figures | beside_a_feed(Path(folder))
