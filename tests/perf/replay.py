"""Ticks per second of a lockstep replay through the real processes, in every mode.

From the first tick published to the last one handled by risk, as the feed's heartbeats tell it;
starting the processes is not in it. In lockstep a tick waits for three processes in turn, so
this is the time of a round trip, not the throughput of the ring.
"""

from __future__ import annotations

import io
import tempfile
import time
from pathlib import Path

from pipeline.runtime.logs import ChildLogs
from pipeline.supervisor.process import Beats, supervise
from tests.perf.day import day_file, guide_settings


class _Stopwatch:
    """Takes the time between the first and the last look at a moving counter."""

    def __init__(self) -> None:
        self.first = self.last = (0.0, 0)

    def look(self, beats: Beats) -> None:
        ticks = int(beats["risk"]["ticks"][0]) if "risk" in beats else 0
        if ticks > self.last[1]:
            self.last = (int(beats["risk"]["beat_ns"][0]) / 1e9, ticks)
            if not self.first[1]:
                self.first = self.last

    @property
    def per_second(self) -> float:
        return (self.last[1] - self.first[1]) / (self.last[0] - self.first[0])


def measure() -> dict[str, float]:
    return {f"replay: lockstep, {mode}, ticks/s": _replay(mode) for mode in MODES}


MODES = ("poll", "callback", "adaptive")


def _replay(mode: str) -> float:
    watch = _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        settings = guide_settings(
            f'waiting.mode="{mode}"',
            'feed.broker="recorded"',
            f'feed.recording="{day_file(Path(folder))}"',
            "channels.lockstep=true",
            f'channels.directory="/dev/shm/tickpipe-bench-{time.monotonic_ns()}"',
            f'run.results_dir="{folder}"',
        )
        supervise(settings, logs=ChildLogs(io.StringIO()), on_turn=watch.look)
    return watch.per_second
