"""The ways that are compared, and one run of one of them: real processes, a real WebSocket."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.watch import Watch
from pipeline.results.files import read_results
from pipeline.settings import load_settings
from tests.perf.compare.sender import Sender, quote_frames
from tests.perf.compare.stamps import create_stamps

ROOT = Path(__file__).resolve().parent.parent.parent.parent
GUIDE_CONFIG = ROOT / "configs" / "guide.toml"
STRATEGY = Path(__file__).resolve().parent / "strategy.py"
START_SECONDS_MAX = 30.0
END_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class Way:
    """One way to get ticks to the strategy."""

    name: str
    meaning: str
    command: tuple[str, ...]
    is_ours: bool


def _ours(mode: str, meaning: str) -> Way:
    return Way(mode, meaning, ("pipeline", "run", "--mode", mode), True)


def _guides(name: str, loop: str, meaning: str) -> Way:
    return Way(name, meaning, ("tests.perf.compare.guide", loop), False)


WAYS = {
    way.name: way
    for way in (
        _guides("guide, polling", "polling", "queue.Queue, 50 ms sleep when it is empty"),
        _guides("guide, callback", "callback", "the strategy on the WebSocket's thread"),
        _ours("callback", "three processes; a reader parks and is woken"),
        _ours("adaptive", "three processes; a reader spins, then parks"),
        _ours("poll", "three processes; a reader spins"),
    )
}


class WayFailed(Exception):
    """A way that is measured ended otherwise than it should; its output is in the message."""


class Run:
    """A way that is running, connected and warm."""

    def __init__(
        self, way: Way, sender: Sender, folder: Path, results: Path, process: subprocess.Popen[str]
    ) -> None:
        self.way = way
        self.sender = sender
        self.stamps = folder / "stamps"
        self.results = results
        self._folder = folder
        self._process = process

    def pids(self) -> dict[str, int]:
        """Return the processes of the way by role, and the sender."""
        if not self.way.is_ours:
            return {"trader": self._process.pid, "sender": self.sender.pid}
        watch = Watch(self._folder / "run")
        beats = watch.latest()
        watch.close()
        roles = {role: int(beat["pid"][0]) for role, beat in beats.items()}
        return {"supervisor": self._process.pid, **roles, "sender": self.sender.pid}

    def end(self) -> None:
        """Let the day end, and wait until the way has written its results."""
        self.sender.start("close")
        self.sender.finish()
        try:
            output, _ = self._process.communicate(timeout=END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise WayFailed(f"{self.way.name} did not end") from None
        if self._process.returncode:
            raise WayFailed(f"{self.way.name} ended with {self._process.returncode}:\n{output}")

    def parameters_and_trades(self) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Return the two blocks of the results file."""
        (path,) = self.results.glob("forward_test_results_*.csv")
        return read_results(path)

    @property
    def ledger(self) -> Path:
        (path,) = self.results.glob("ledger_*.sqlite")
        return path


@contextmanager
def running(
    way: Way,
    ticks: NDArray[np.void],
    overrides: Sequence[str],
    *,
    order_every: int = 0,
    work_us: int = 0,
    results: Path | None = None,
) -> Iterator[Run]:
    """Start ``way`` and a sender of ``ticks``; yield when the way has subscribed.

    Everything is in memory (/dev/shm), the results and the ledger too unless ``results`` names
    another place: the ways are compared, not the disk.
    """
    instruments = load_settings(GUIDE_CONFIG, overrides).instruments
    with (
        tempfile.TemporaryDirectory(prefix="tickpipe-compare-", dir="/dev/shm") as name,
        Sender(quote_frames(ticks, instruments)) as sender,
    ):
        folder = Path(name)
        create_stamps(folder / "stamps", len(ticks))
        place = folder / "results" if results is None else results
        place.mkdir(exist_ok=True)
        changes = [
            *overrides,
            f'feed.url="ws://127.0.0.1:{sender.port}/smart-stream"',
            f'channels.directory="{folder / "run"}"',
            f'strategy.use="{STRATEGY}:Stamped"',
            f'strategy.parameters.stamps="{folder / "stamps"}"',
            f"strategy.parameters.order_every={order_every}",
            f"strategy.parameters.work_us={work_us}",
        ]
        with _started(way, changes, folder, place) as process:
            if not sender.wait_for_client():
                process.kill()
                raise WayFailed(f"{way.name} did not connect:\n{process.communicate()[0]}")
            yield Run(way, sender, folder, place, process)


@contextmanager
def _started(
    way: Way, changes: Sequence[str], folder: Path, results: Path
) -> Iterator[subprocess.Popen[str]]:
    arguments = ["--config", str(GUIDE_CONFIG), "--results", str(results)]
    for change in changes:
        arguments += ["--set", change]
    process = subprocess.Popen(
        [sys.executable, "-m", *way.command, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()  # the supervisor stops its children in order
            _reap(process)


def _reap(process: subprocess.Popen[str]) -> None:
    try:
        process.communicate(timeout=END_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def settle(seconds: float = 0.3) -> None:
    """Let processes that were just started come to rest: not a wait for anything."""
    time.sleep(seconds)
