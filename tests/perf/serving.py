"""The broker's side of a loopback WebSocket, in a child process: one client, one connection.

Before the first frame it reads whatever the client subscribes to and cares for none of it. What is
sent, and when, is a player's: its methods are the orders that the child takes. A player sleeps to
the next intended time and never spins, because the CPUs belong to what is measured.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import multiprocessing
import re
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pipeline.feed.connection import CLOSE_NORMAL, END_OF_RECORDING

LEAD_NS = 50_000_000  # from the order to send until the first intended time
CONNECT_SECONDS_MAX = 30.0
_REASON = CLOSE_NORMAL.to_bytes(2, "big") + END_OF_RECORDING.encode()
CLOSE_FRAME = bytes((0x88, len(_REASON))) + _REASON  # the end of the day
_HANDSHAKE = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29
_FORK = multiprocessing.get_context("fork")

Sent = TypeVar("Sent")
PlayerOf = Callable[[socket.socket], object]


class Serving(Generic[Sent]):
    """A child process with a player of its client; use it as a context manager."""

    def __init__(self, player_of: PlayerOf) -> None:
        self._ours, theirs = _FORK.Pipe()
        self._child = _FORK.Process(target=_serve, args=(player_of, theirs))
        self._child.start()
        theirs.close()
        self.port: int = self._ours.recv()
        assert self._child.pid is not None
        self.pid = self._child.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._child.kill()
        self._child.join()
        self._ours.close()

    def wait_for_client(self) -> bool:
        """Wait until a client has subscribed; False when none came in time."""
        return self._ours.poll(CONNECT_SECONDS_MAX) and bool(self._ours.recv())

    def start(self, order: str, *arguments: Any) -> None:
        """Begin what the player calls ``order``; ``finish`` waits for it."""
        self._ours.send((order, arguments))

    def finish(self) -> Sent:
        """Return what the player says it sent."""
        sent: Sent = self._ours.recv()
        return sent


def _serve(player_of: PlayerOf, pipe: Connection) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_TIMERSLACK, 1)  # ns; the kernel's habit is 50 µs
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _shake_hands(client)
    client.recv(65_536)  # the subscription
    player = player_of(client)
    pipe.send(True)
    with suppress(EOFError, ConnectionError):
        while True:
            order, arguments = pipe.recv()
            pipe.send(getattr(player, order)(*arguments))


def _shake_hands(client: socket.socket) -> None:
    request = b""
    while b"\r\n\r\n" not in request:
        request += client.recv(4_096)
    found = re.search(rb"Sec-WebSocket-Key: *(\S+)", request, re.IGNORECASE)
    assert found is not None, request
    digest = hashlib.sha1(found[1] + _HANDSHAKE.encode()).digest()
    client.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )
