"""From the call of send to the user's code, 2 000 frames a second of one full packet.

The same server and the same frames for everybody, one after the other in turns. A latency is the
time from the server's call of send until the callback has been entered: on_tick of a strategy in
tickpipe's three processes, on_ticks of KiteTicker, on_data of SmartWebSocketV2. The sender sleeps
between two frames; how late it is does not count. "bare wake-ups" reads no frame: recv on a socket
in one process, which then wakes another, so that it is the floor of everything that blocks.

In poll mode two processes spin, with a feed that polls three, and the sender needs a CPU too. On a
machine with fewer they yield to each other, and the row shows the scheduler.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.perf.compare.stamps import RECEIVED, SEEN, create_stamps, read_stamps
from tests.perf.day import GUIDE, ROOT
from tests.perf.wire.figures import with_ratios
from tests.perf.wire.frames import KITE_TOKEN, numbered
from tests.perf.wire.server import Server

RATE = 2_000
FRAMES = 8_000
WARM_UP = 2_000
DRAIN_SECONDS_MAX = 10.0
STRATEGY = ROOT / "tests/perf/compare/strategy.py"


class Way(NamedTuple):
    """One program that gets the frames of a broker."""

    name: str
    broker: str  # whose frames: kite or smartapi
    client: str = ""  # of clients.py
    needs: str = ""  # the package of that client
    settings: tuple[str, ...] = ()  # of tickpipe


def _ours(broker: str, name: str, *settings: str) -> Way:
    return Way(f"tickpipe, {name}", broker, settings=settings)


_POLL, _CALLBACK = 'waiting.mode="poll"', 'waiting.mode="callback"'
_FEED_POLLS = 'feed.receive="poll"'

WAYS = (
    _ours("kite", "poll, the feed too", _POLL, _FEED_POLLS),
    _ours("kite", "poll", _POLL),
    _ours("kite", "callback", _CALLBACK),
    Way("KiteTicker", "kite", client="kite", needs="kiteconnect"),
    Way("bare wake-ups", "kite", client="bare"),
    _ours("smartapi", "poll, the feed too", _POLL, _FEED_POLLS),
    _ours("smartapi", "poll", _POLL),
    _ours("smartapi", "callback", _CALLBACK),
    Way("SmartWebSocketV2", "smartapi", client="smart", needs="SmartApi"),
)


def measure(ways: Sequence[Way] = WAYS) -> dict[str, float]:
    """Return percentiles in µs for each way, and the ratios that are asked for."""
    figures: dict[str, float] = {}
    for way in ways:
        if way.needs and importlib.util.find_spec(way.needs) is None:
            continue
        for stage, values_ns in latencies(way).items():
            place = f"{way.broker}: {way.name}, {stage}"
            for percent in (50, 99):
                figures[f"{place}, p{percent}, µs"] = float(np.percentile(values_ns, percent)) / 1e3
    return with_ratios(figures)


def latencies(way: Way) -> dict[str, NDArray[np.int64]]:
    """Return ns from the call of send by what it ends in; frames that never came are left out."""
    frames = numbered(way.broker, WARM_UP + FRAMES)
    offsets = np.arange(len(frames), dtype=np.int64) * (1_000_000_000 // RATE)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name, Server(frames) as server:
        stamps = Path(name) / "stamps"
        create_stamps(stamps, len(frames))
        with _running(_command(way, server.port, stamps), Path(name)) as process:
            if not server.wait_for_client():
                process.kill()
                raise AssertionError(f"{way.name} did not connect:\n{process.communicate()[0]}")
            time.sleep(0.5)  # what was just started comes to rest; nothing waits for this
            server.start("at_times", offsets)
            sent_ns = server.finish()
            _drain(stamps)
            times = read_stamps(stamps)
    came = (times[SEEN] > 0) & (np.arange(len(frames)) >= WARM_UP)
    assert came.sum() > FRAMES / 2, f"{way.name} got {came.sum()} of {FRAMES} frames"
    found = {"to the callback": (times[SEEN] - sent_ns)[came]}
    if times[RECEIVED].any():
        found["to the frame in hand"] = (times[RECEIVED] - sent_ns)[came]
    return found


def _command(way: Way, port: int, stamps: Path) -> list[str]:
    if way.client:
        return ["tests.perf.wire.clients", way.client, str(port), str(stamps)]
    config = stamps.parent / "config.toml"
    token = f'token = "{KITE_TOKEN}"' if way.broker == "kite" else 'token = "58963"'
    lines = GUIDE.read_text().splitlines()
    kept = [token if line.startswith("token = ") else line for line in lines]
    config.write_text("\n".join(kept))
    path = "/smart-stream" if way.broker == "smartapi" else ""
    changes = [
        *way.settings,
        f'feed.broker="{way.broker}"',
        'feed.mode="full"',
        'feed.credentials="simulator"',
        f'feed.url="ws://127.0.0.1:{port}{path}"',
        f'channels.directory="{stamps.parent / "run"}"',
        f'strategy.use="{STRATEGY}:Stamped"',
        f'strategy.parameters.stamps="{stamps}"',
        "strategy.parameters.order_every=0",
        "strategy.parameters.work_us=0",
    ]
    command = ["pipeline", "run", "--config", str(config), "--results", str(stamps.parent)]
    return command + [part for change in changes for part in ("--set", change)]


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()  # a supervisor stops its children in order
        try:
            process.communicate(timeout=DRAIN_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def _drain(stamps: Path) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS_MAX
    while not read_stamps(stamps)[SEEN, -1] and time.monotonic() < deadline:
        time.sleep(0.02)
