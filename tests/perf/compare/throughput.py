"""How many ticks a second the pipeline carries without the WebSocket, and with what it loses.

The feed is the product's, its source is not: ticks appear in it at their intended times, in place
of frames on a socket, because a WebSocket client in Python ends near 50 000 frames a second and
says nothing about what is behind it. Strategy and risk are the product's; the strategy is called
for every tick. Loss is what the readers counted as overtaken, and what the strategy never saw.
"""

from __future__ import annotations

import io
import multiprocessing
import tempfile
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.feed import process as feed
from pipeline.records import GAP
from pipeline.results.files import read_results
from pipeline.runtime.logs import ChildLogs
from pipeline.settings import load_settings
from pipeline.supervisor.process import supervise
from tests.perf.compare.measure import parsed, percentiles
from tests.perf.compare.stamps import create_stamps, read_stamps
from tests.perf.compare.ways import GUIDE_CONFIG, STRATEGY, WayFailed

WARM_UP_TICKS = 20_000  # not measured
_FORK = multiprocessing.get_context("fork")


class OnTime:
    """A source of ticks that appear at their intended times, from the first look on."""

    duplicates = refused = skipped = outages = connected = silent = 0
    ended_gaps: list[NDArray[np.void]] = []  # noqa: RUF012 - it has none

    def __init__(self, ticks: NDArray[np.void], rate: int, started: Path) -> None:
        self._ticks = ticks
        self._rate = rate
        self._started = started
        self._start_ns = 0
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._ticks)

    def receive(self, limit: int) -> NDArray[np.void]:
        now_ns = monotonic_ns()
        if not self._start_ns:
            self._start_ns = now_ns
            self._started.write_text(str(now_ns))
        due = (now_ns - self._start_ns) * self._rate // 1_000_000_000
        stop = min(due, self._at + limit, len(self._ticks))
        rows = self._ticks[self._at : stop]
        rows["ts_recv_ns"] = now_ns
        self._at = stop
        return rows

    def missing(self) -> NDArray[np.void]:
        return np.zeros(0, GAP)

    def close(self) -> None: ...


def carry(mode: str, rate: int, seconds: float, ticks: NDArray[np.void]) -> dict[str, Any]:
    """Return what came of ``rate`` ticks a second in ``mode``; latencies in ns."""
    ticks = ticks[: WARM_UP_TICKS + int(rate * seconds)].copy()
    with tempfile.TemporaryDirectory(prefix="tickpipe-compare-", dir="/dev/shm") as name:
        folder = Path(name)
        create_stamps(folder / "stamps", len(ticks))
        child = _FORK.Process(target=_run, args=(mode, rate, ticks, folder))
        child.start()
        child.join()
        if child.exitcode:
            raise WayFailed(f"{mode} at {rate}/s ended with {child.exitcode}")
        return _figures(mode, rate, folder)


def _run(mode: str, rate: int, ticks: NDArray[np.void], folder: Path) -> None:
    settings = load_settings(
        GUIDE_CONFIG,
        [
            f'waiting.mode="{mode}"',
            f'channels.directory="{folder / "run"}"',
            f'run.results_dir="{folder / "results"}"',
            f'strategy.use="{STRATEGY}:Stamped"',
            f'strategy.parameters.stamps="{folder / "stamps"}"',
            "strategy.parameters.order_every=0",
            "strategy.parameters.work_us=0",
        ],
    )
    feed.open_source = lambda *_: OnTime(ticks, rate, folder / "start")  # forked
    raise SystemExit(supervise(settings, logs=ChildLogs(io.StringIO())))


def _figures(mode: str, rate: int, folder: Path) -> dict[str, Any]:
    received, seen = read_stamps(folder / "stamps")[:, WARM_UP_TICKS:]
    start_ns = int((folder / "start").read_text())
    order = np.arange(WARM_UP_TICKS, WARM_UP_TICKS + len(seen), dtype=np.int64)
    intended = start_ns + (order + 1) * 1_000_000_000 // rate
    handled = seen > 0
    (path,) = (folder / "results").glob("forward_test_results_*.csv")
    parameters, _ = read_results(path)
    return {
        "way": mode,
        "rate": rate,
        "sent": len(seen),
        "lost": int(len(seen) - handled.sum()),
        "laps": parameters["Laps"],
        "ticks lost by laps": parameters["Ticks Lost"],
        "handled_per_second": int(handled.sum()) / ((seen.max() - intended[0]) / 1e9),
        "latency": {
            "intended to strategy": percentiles((seen - intended)[handled]),
            "feed to strategy": percentiles((seen - received)[handled]),
            "feed to risk": parsed(parameters["Latency Feed To Risk"]),
        },
    }
