"""Programs that note when each frame was given to them: the brokers' clients, and bare wake-ups.

    python -m tests.perf.wire.clients kite|smart|bare PORT STAMPS

Frame n has the day volume n, counted from 1, by which a client knows it. ``bare`` reads no frame:
one process blocks in recv on the socket and wakes another one through an eventfd, which is what no
program of two processes that block can be quicker than.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns
from typing import Any

from tests import peers
from tests.perf.compare.stamps import open_columns
from tests.perf.wire.frames import KITE_TOKEN, SMART_TOKEN

LATE_MAX = 65_536


def run_kite(port: int, stamps: Path) -> None:
    """Be KiteTicker in full mode."""
    _, seen = open_columns(stamps)
    root = f"ws://127.0.0.1:{port}"
    ticker = peers.kite_ticker()("simulator-key", "simulator-access-token", root=root)

    def on_connect(client: Any, _: object) -> None:
        client.subscribe([KITE_TOKEN])
        client.set_mode("full", [KITE_TOKEN])

    def on_ticks(_: object, ticks: list[dict[str, Any]]) -> None:
        now_ns = monotonic_ns()
        for tick in ticks:
            seen[tick["volume_traded"] - 1] = now_ns

    ticker.on_connect = on_connect
    ticker.on_ticks = on_ticks
    ticker.connect()


def run_smart(port: int, stamps: Path) -> None:
    """Be SmartWebSocketV2 in SnapQuote mode."""
    _, seen = open_columns(stamps)
    kind = peers.smart_web_socket()
    kind.ROOT_URI = f"ws://127.0.0.1:{port}/smart-stream"
    login = ("Bearer simulator-jwt", "simulator-key", "SIM0001", "simulator-feed-token")
    client = kind(*login, max_retry_attempt=0)

    def on_data(_: object, packet: dict[str, Any]) -> None:
        seen[packet["volume_trade_for_the_day"] - 1] = monotonic_ns()

    tokens = [{"exchangeType": 2, "tokens": [SMART_TOKEN]}]
    client.on_open = lambda _: client.subscribe("peer", 3, tokens)
    client.on_data = on_data
    client.connect()


def run_bare(port: int, stamps: Path) -> None:
    """Note the wake-up by the socket, and that of the process which is woken then."""
    received, seen = open_columns(stamps)
    event = os.eventfd(0, os.EFD_SEMAPHORE)
    if os.fork() == 0:
        die_with_parent()
        for at in range(len(seen)):
            os.eventfd_read(event)
            seen[at] = monotonic_ns()
        os._exit(0)
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: bare\r\n\r\n")
        while not stream.recv(LATE_MAX).endswith(b"\r\n\r\n"):
            pass
        stream.sendall(b"subscribe")
        at = taken = size = 0
        while data := stream.recv(LATE_MAX):
            now_ns = monotonic_ns()
            size = size or 4 + int.from_bytes(data[2:4], "big")  # RFC 6455, above 125 bytes
            taken += len(data)
            while (at + 1) * size <= taken:
                received[at] = now_ns
                os.eventfd_write(event, 1)
                at += 1


def die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


CLIENTS: dict[str, Callable[[int, Path], None]] = {
    "kite": run_kite,
    "smart": run_smart,
    "bare": run_bare,
}

if __name__ == "__main__":
    name, at_port, file = sys.argv[1:]
    CLIENTS[name](int(at_port), Path(file))
