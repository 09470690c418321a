"""How many ticks and frames a second the feed takes from one connection, and its memory meanwhile.

The real feed process (`pipeline.feed.process.run`) on a real WebSocket on loopback, full mode of
Kite, with nobody reading its ring: what counts is the feed alone. The server sends without a
pause; TCP makes it wait when the feed is behind, so nothing is lost. The rate is that of a stretch
in the middle, from the feed's own heartbeats.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.channels import choose
from pipeline.channels.line import READER_NAMES
from pipeline.channels.rundir import own_run
from pipeline.channels.watch import Watch
from pipeline.feed.process import run as run_feed
from pipeline.settings import Instrument, Settings
from tests.perf.day import guide_settings
from tests.perf.wire.frames import INSTRUMENTS, kite_frames, web_socket
from tests.perf.wire.server import Server

SECONDS_MAX = 600.0
SAMPLE_SECONDS = 0.02
TOGETHER = 500  # frames of one packet in one call of send
_FORK = multiprocessing.get_context("fork")


def measure(memory_ticks: int) -> dict[str, float]:
    """Return ticks and frames a second, and the slope of the feed's memory."""
    instruments, frames = kite_frames()
    big = [web_socket(frames[f"frame of {INSTRUMENTS:,} full packets"])]
    small = [web_socket(frames["one full packet"])] * TOGETHER
    many = taken(instruments, big, 3_000, INSTRUMENTS)
    single = taken(instruments, small, 300, TOGETHER)
    long = taken(instruments, big, -(-memory_ticks // INSTRUMENTS), INSTRUMENTS)
    return {
        f"intake: ticks/s in frames of {INSTRUMENTS:,}": _rate(many),
        "intake: frames/s of one packet": _rate(single),
        "memory of the feed: ticks taken": float(long[-1][1]),
        "memory of the feed: first, MiB": long[len(long) // 10][2] / 2**20,
        "memory of the feed: last, MiB": long[-1][2] / 2**20,
        "memory of the feed: slope, bytes a million ticks": slope(long),
    }


Sample = tuple[float, int, int]  # seconds, ticks published, resident bytes


def taken(
    instruments: Sequence[Instrument], frames: Sequence[bytes], rounds: int, ticks: int
) -> list[Sample]:
    """Let a feed take ``rounds`` times ``frames`` (``ticks`` in each round) and sample it."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name, Server(frames) as server:
        settings = _settings(Path(name) / "run", instruments, server.port, rounds * ticks)
        table = choose("auto").Readers
        with own_run(settings.run_directory, READER_NAMES, lambda note: None, table) as readers:
            for role in READER_NAMES:
                readers.slot(role).declare_gone()
            feed = _FORK.Process(target=run_feed, args=(settings,))
            feed.start()
            try:
                assert server.wait_for_client(), "the feed did not connect"
                server.start("flat_out", rounds)
                return _sampled(settings, feed)
            finally:
                feed.kill()
                feed.join()


def _settings(
    directory: Path, instruments: Sequence[Instrument], port: int, ticks: int
) -> Settings:
    guide = guide_settings(
        'feed.broker="kite"',
        'feed.mode="full"',
        f'feed.url="ws://127.0.0.1:{port}"',
        'feed.credentials="simulator"',
        f"feed.ticks_max={ticks}",
        f'channels.directory="{directory}"',
    )
    return guide.model_copy(update={"instruments": tuple(instruments)})


def _sampled(settings: Settings, feed: Any) -> list[Sample]:
    samples: list[Sample] = []
    deadline = time.monotonic() + SECONDS_MAX
    watch = Watch(settings.run_directory)
    try:
        while feed.is_alive() and time.monotonic() < deadline:
            beats = watch.latest()
            if "feed" in beats and (ticks := int(beats["feed"]["ticks"][0])):
                at_s = int(beats["feed"]["beat_ns"][0]) / 1e9
                if not samples or at_s > samples[-1][0]:
                    samples.append((at_s, ticks, _resident(feed.pid)))
            time.sleep(SAMPLE_SECONDS)
    finally:
        watch.close()
    assert len(samples) > 3, "the feed was done before it could be measured"
    return [sample for sample in samples if sample[2]]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):  # it has just ended
        return 0


def _rate(samples: Sequence[Sample]) -> float:
    """Return ticks a second between the first heartbeat with ticks and the last."""
    (first_s, first, _), (last_s, last, _) = samples[0], samples[-1]
    return (last - first) / (last_s - first_s)


def slope(samples: Sequence[Sample]) -> float:
    """Return bytes a million ticks by least squares, the first tenth (warming up) left out."""
    settled = samples[len(samples) // 10 :]
    ticks, resident = np.array([sample[1:] for sample in settled], float).T
    return float(np.polyfit(ticks / 1e6, resident, 1)[0])
