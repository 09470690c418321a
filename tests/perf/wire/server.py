"""The broker's side of a loopback WebSocket, which sends frames that were made before.

One client, one connection. Before the first frame it reads whatever the client subscribes to and
cares for none of it; pings are answered. It sleeps to the next intended time and never spins,
because the CPUs belong to what is measured: a time to count from is that of the call of send.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import signal
import socket
import threading
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.feed.connection import CLOSE_NORMAL, END_OF_RECORDING
from tests.perf.compare.sender import shake_hands

CONNECT_SECONDS_MAX = 30.0
LEAD_NS = 50_000_000  # from the order to send until the first intended time
_PING, _PONG = 0x89, 0x8A
_PR_SET_PDEATHSIG, _PR_SET_TIMERSLACK = 1, 29
_FORK = multiprocessing.get_context("fork")


class Server:
    """A child process that sends ``frames``; use it as a context manager."""

    def __init__(self, frames: Sequence[bytes]) -> None:
        self._ours, theirs = _FORK.Pipe()
        self._child = _FORK.Process(target=_serve, args=(frames, theirs))
        self._child.start()
        theirs.close()
        self.port: int = self._ours.recv()

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
        """Begin one of these; ``finish`` waits for it.

        at_times OFFSETS_NS   the next frames, one at each time after a start in the near future
        flat_out COUNT        all frames, again and again, COUNT times, as fast as they are taken
        close                 the end of the day
        """
        self._ours.send((order, arguments))

    def finish(self) -> NDArray[np.int64]:
        """Return when each call of send was made; none of frames that were sent flat out."""
        sent_ns: NDArray[np.int64] = self._ours.recv()
        return sent_ns


# In the child --------------------------------------------------------------------------------


def _serve(frames: Sequence[bytes], pipe: Connection) -> None:
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_TIMERSLACK, 1)  # ns; the kernel's habit is 50 µs
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pipe.send(listener.getsockname()[1])
        client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    shake_hands(client)
    client.recv(65_536)  # the subscription
    threading.Thread(target=_answer_pings, args=(client,), daemon=True).start()
    pipe.send(True)
    play = _Play(client, frames)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            order, arguments = pipe.recv()
            pipe.send(getattr(play, order)(*arguments))


def _answer_pings(client: socket.socket) -> None:
    """KiteTicker closes a connection whose pings nobody answers. A client's frame is masked."""
    with contextlib.suppress(OSError):
        while data := client.recv(65_536):
            size = data[1] & 0x7F if len(data) > 1 else 0
            if data[0] == _PING and len(data) >= 6 + size:
                mask, payload = data[2:6], data[6 : 6 + size]
                answer = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
                client.sendall(bytes((_PONG, size)) + answer)


class _Play:
    def __init__(self, client: socket.socket, frames: Sequence[bytes]) -> None:
        self._client = client
        self._frames = frames
        self._at = 0

    def at_times(self, offsets_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        clock, send = time.monotonic_ns, self._client.sendall
        due_ns = (clock() + LEAD_NS + offsets_ns).tolist()
        sent_ns = np.zeros(len(due_ns), np.int64)
        for place, due in enumerate(due_ns):
            if (pause_ns := due - clock()) > 0:
                time.sleep(pause_ns / 1e9)
            sent_ns[place] = clock()
            send(self._frames[self._at])
            self._at += 1
        return sent_ns

    def flat_out(self, count: int) -> NDArray[np.int64]:
        together = b"".join(self._frames)
        for _ in range(count):
            self._client.sendall(together)
        return np.zeros(0, np.int64)

    def close(self) -> NDArray[np.int64]:
        reason = CLOSE_NORMAL.to_bytes(2, "big") + END_OF_RECORDING.encode()
        self._client.sendall(bytes((0x88, len(reason))) + reason)
        return np.zeros(0, np.int64)
