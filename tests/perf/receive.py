"""From the wire into the feed: how long a frame takes until the session has it.

    python -m tests.perf.receive

A process sends 186-byte frames over loopback, 2 000 a second, each with the time at which it is
handed to the socket: what a sender that sleeps in between is late by is no part of it. It measures
the way up to ``on_binary``, not decoding, not the ring. The ways take turns in short rounds, and
the best round of each counts: on a shared machine that is steadier than a long one. The ways are
the library's blocking ``recv_data``, which the feed used before, and ``feed.receive`` = "block" and
"poll", in poll mode bare.
"""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.connection import Connection as Pipe

import numpy as np
import websocket

from pipeline.brokers.contract import Received
from pipeline.feed.connection import Connection
from pipeline.feed.sharing import Share
from pipeline.records import TICK
from pipeline.settings import FeedSettings, Secrets
from pipeline.testing import make_instrument
from tests.system.listening import Listener, Peer

RATE = 2_000
FRAMES = 1_600  # in a round
ROUNDS = 12
WARM_UP = 200
FRAME_BYTES = 186
_FORK = multiprocessing.get_context("fork")


class Stamps:
    """A market session that notes how late each frame is."""

    headers: Sequence[str] = ()
    ping = ""
    ping_interval_ns = 0

    def __init__(self, url: str) -> None:
        self.url = self.address = url
        self.late_ns: list[int] = []
        self._received = Received(np.zeros(0, TICK))

    def log_in(self, secrets: Secrets) -> bool:
        return False

    def on_open(self) -> Sequence[str]:
        return ()

    def on_text(self, text: str, now_ns: int) -> Received:
        return self._received

    def on_binary(self, data: bytes | memoryview, now_ns: int) -> Received:
        self.late_ns.append(time.monotonic_ns() - int.from_bytes(data[:8], "little"))
        return self._received


def serve(pipe: Pipe, count: int) -> None:
    """Send ``count`` frames to one client, each at its time."""
    listener = Listener(lambda peer: _send(peer, count))
    pipe.send(listener.url)
    pipe.recv()


def _send(peer: Peer, count: int) -> None:
    peer.upgrade()
    head = b"\x82\x7e" + FRAME_BYTES.to_bytes(2, "big")
    rest = bytes(FRAME_BYTES - 8)
    start_ns = time.monotonic_ns() + 100_000_000
    for number in range(count):
        due_ns = start_ns + number * 1_000_000_000 // RATE
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / 2e9)
        peer.raw.sendall(head + time.monotonic_ns().to_bytes(8, "little") + rest)
    peer.hang_up()


def by_library(url: str, count: int) -> list[int]:
    client = websocket.create_connection(url)
    client.settimeout(0.05)
    late_ns: list[int] = []
    while len(late_ns) < count:
        try:
            _, data = client.recv_data(control_frame=True)
        except websocket.WebSocketTimeoutException:
            continue
        late_ns.append(time.monotonic_ns() - int.from_bytes(data[:8], "little"))
    client.shutdown()  # type: ignore[no-untyped-call]
    return late_ns


def by_feed(receive: str) -> Callable[[str, int], list[int]]:
    def run(url: str, count: int) -> list[int]:
        fields = {"broker": "kite", "url": url, "credentials": "simulator", "receive": receive}
        stamps = Stamps(url)
        share = Share(0, 0, (make_instrument(),))
        feed = FeedSettings.model_validate(fields)
        with closing(Connection(stamps, feed, share, spin_bare=True)) as connection:
            while len(stamps.late_ns) < count:
                connection.receive(256)
        return stamps.late_ns

    return run


WAYS = {
    "websocket-client, blocking recv_data": by_library,
    'feed.receive = "block"': by_feed("block"),
    'feed.receive = "poll"': by_feed("poll"),
}


def measure() -> dict[str, float]:
    """Return µs for each way, of the round with its lowest median."""
    rounds = [{name: _round(run) for name, run in WAYS.items()} for _ in range(ROUNDS)]
    best = {name: min((each[name] for each in rounds), key=lambda found: found[0]) for name in WAYS}
    return {
        f"{name}, {what}, µs": value
        for name, found in best.items()
        for what, value in zip(("p50", "p99", "CPU of a frame"), found, strict=True)
    }


def _round(run: Callable[[str, int], list[int]]) -> tuple[float, float, float]:
    """Return p50 and p99 of the frames behind the warm-up, and the CPU of a frame; µs."""
    ours, theirs = _FORK.Pipe()
    server = _FORK.Process(target=serve, args=(theirs, FRAMES), daemon=True)
    server.start()
    url = ours.recv()
    before = resource.getrusage(resource.RUSAGE_SELF)
    late_us = np.array(run(url, FRAMES)[WARM_UP:]) / 1e3
    after = resource.getrusage(resource.RUSAGE_SELF)
    ours.send("done")
    server.join()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    p50, p99 = np.percentile(late_us, (50, 99))
    return float(p50), float(p99), cpu_s * 1e6 / FRAMES


def main() -> None:
    for name, value in measure().items():
        print(f"{name:<60} {value:>12,.1f}")


if __name__ == "__main__":
    main()
