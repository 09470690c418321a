"""How many ticks a second the pipeline carries without the WebSocket, and with what it loses.

The feed is the product's, its source is not: ticks come in frames of 100 µs, in place of those on
a socket, because a WebSocket client in Python ends near 50 000 frames a second and says nothing
about what is behind it. Strategy and risk are the product's, the strategy is the guide's and is
called for every tick, and nothing is measured but what every run measures of itself. Its time
"in hand" is the intended one here, so that latencies count from there. Loss is what the readers
counted as overtaken, and what the strategy never saw; risk goes on when it was overtaken, or
there would be nothing to count.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.line import ROLES, STRATEGY
from pipeline.feed import process as feed
from pipeline.records import GAP
from pipeline.results.files import read_results
from pipeline.runtime.logs import ChildLogs
from pipeline.settings import load_settings
from pipeline.supervisor.process import supervise
from tests.perf.compare.measure import PLENTY, parsed
from tests.perf.compare.usage import Sample, sample, used
from tests.perf.compare.ways import GUIDE_CONFIG, WayFailed

FRAME_NS = 100_000
_FORK = multiprocessing.get_context("fork")


class Frames:
    """A source of ticks that come in frames at their intended times, from the first look on."""

    duplicates = refused = skipped = outages = connected = silent = missing_since_ns = 0
    ended_gaps: list[NDArray[np.void]] = []  # noqa: RUF012 - it has none

    def __init__(self, ticks: NDArray[np.void], rate: int) -> None:
        self._ticks = ticks
        self._due_ns = np.arange(1, len(ticks) + 1, dtype=np.int64) * 1_000_000_000 // rate
        self._frame = max(1, rate * FRAME_NS // 1_000_000_000)
        self._rate = rate
        self._start_ns = 0
        self._at = 0

    @property
    def ended(self) -> bool:
        return self._at == len(self._ticks)

    def receive(self, limit: int) -> NDArray[np.void]:
        self._start_ns = self._start_ns or monotonic_ns()
        whole = min(self._at + self._frame, len(self._ticks))
        early_ns = int(self._due_ns[whole - 1]) - (monotonic_ns() - self._start_ns)
        if early_ns > 0:
            time.sleep(early_ns / 1e9)
        due = (monotonic_ns() - self._start_ns) * self._rate // 1_000_000_000
        start, stop = self._at, min(due, self._at + limit, len(self._ticks))
        rows = self._ticks[start:stop]
        rows["ts_recv_ns"] = self._start_ns + self._due_ns[start:stop]
        self._at = stop
        return rows

    def missing(self) -> NDArray[np.void]:
        return np.zeros(0, GAP)

    def close(self) -> None: ...


class _Progress:
    """How far the strategy is and what the processes took, at the first look and the last."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int, dict[str, Sample]]] = []

    def look(self, beats: Mapping[str, NDArray[np.void]]) -> None:
        if set(beats) != set(ROLES) or not beats[STRATEGY]["ticks"][0]:
            return
        try:
            samples = sample({role: int(beats[role]["pid"][0]) for role in ROLES})
        except (FileNotFoundError, ProcessLookupError):
            return  # one has ended
        beat = beats[STRATEGY][0]
        self._seen[1:] = [(int(beat["ticks"]), int(beat["beat_ns"]), samples)]

    def figures(self) -> dict[str, Any]:
        (first, from_ns, before), (last, to_ns, after) = self._seen
        return {
            "handled_per_second": (last - first) / ((to_ns - from_ns) / 1e9),
            "usage": {name: each.as_dict() for name, each in used(before, after).items()},
        }


def carry(mode: str, rate: int, seconds: float, ticks: NDArray[np.void]) -> dict[str, Any]:
    """Return what came of ``rate`` ticks a second in ``mode``; latencies in ns."""
    ticks = ticks[: int(rate * seconds)].copy()
    with tempfile.TemporaryDirectory(prefix="tickpipe-compare-", dir="/dev/shm") as name:
        folder = Path(name)
        child = _FORK.Process(target=_run, args=(mode, rate, ticks, folder))
        child.start()
        child.join()
        if child.exitcode:
            raise WayFailed(f"{mode} at {rate}/s ended with {child.exitcode}")
        return {"way": mode, "rate": rate, "sent": len(ticks), **_figures(folder, len(ticks))}


def _run(mode: str, rate: int, ticks: NDArray[np.void], folder: Path) -> None:
    settings = load_settings(
        GUIDE_CONFIG,
        [
            *PLENTY,
            f'waiting.mode="{mode}"',
            f'channels.directory="{folder / "run"}"',
            f'run.results_dir="{folder / "results"}"',
            'risk.when_lapped="oldest"',
        ],
    )
    feed.open_source = lambda *_: Frames(ticks, rate)  # forked with us
    progress = _Progress()
    code = supervise(settings, logs=ChildLogs(io.StringIO()), on_turn=progress.look)
    (folder / "progress.json").write_text(json.dumps(progress.figures()))
    raise SystemExit(code)


def _figures(folder: Path, sent: int) -> dict[str, Any]:
    (path,) = (folder / "results").glob("forward_test_results_*.csv")
    parameters, _ = read_results(path)
    seen = parsed(parameters["Latency Feed To Strategy"])
    return {
        "lost": sent - seen["samples"],
        "laps": parameters["Laps"],
        "ticks lost by laps": parameters["Ticks Lost"],
        "latency": {"intended to strategy": seen},
        **json.loads((folder / "progress.json").read_text()),
    }
