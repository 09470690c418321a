"""The broker's side: a broker's frames over a real WebSocket, each at its intended time.

The sender sends everything that is due, however late: a late frame is late for whoever measures
from the intended time, which is how an open loop counts. How late it was itself is measured beside
(``sent_ns``). A real broker sends from another machine.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.smartapi.wire import encode, instrument_key
from pipeline.settings import Instrument
from tests.perf.compare.stamps import open_columns
from tests.perf.serving import CLOSE_FRAME, LEAD_NS, Serving

TOGETHER_MAX = 64  # frames in one call of send, when several are due


@dataclass(frozen=True)
class Sent:
    """What was sent: the ticks from ``first`` on (counted from 0), when it was intended and when
    the call of send had returned. Flat out nothing is intended: both are the same."""

    first: int
    intended_ns: NDArray[np.int64]
    sent_ns: NDArray[np.int64]


class Sender(Serving[Sent]):
    """Sends ``frames``. Its orders:

    at_times OFFSETS_NS   one tick at each of these times after a start in the near future
    flat_out SECONDS      as fast as the client takes it
    within WINDOW STAMPS  everything that is left, at most WINDOW ticks ahead of the strategy
    close                 the end of the day
    """

    def __init__(self, frames: NDArray[np.uint8]) -> None:
        super().__init__(lambda client: _Player(client, frames))


def quote_frames(ticks: NDArray[np.void], instruments: tuple[Instrument, ...]) -> NDArray[np.uint8]:
    """Return one WebSocket frame of SmartAPI per tick, shape (n, bytes of a frame)."""
    packets = encode("quote", ticks, [instrument_key(row) for row in instruments], 1)
    return framed(packets.view(np.uint8).reshape(-1, packets.itemsize))


def framed(payloads: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return payloads, shape (n, bytes), as WebSocket frames."""
    count, size = payloads.shape
    assert size < 126, "a longer payload has a longer head"
    frames = np.empty((count, 2 + size), np.uint8)
    frames[:, 0], frames[:, 1] = 0x82, size  # final, binary; not masked
    frames[:, 2:] = payloads
    return frames


# In the child --------------------------------------------------------------------------------


class _Player:
    """The frames and how many are out."""

    def __init__(self, client: socket.socket, frames: NDArray[np.uint8]) -> None:
        self._client = client
        self._bytes = frames.data.cast("B")
        self._size = frames.shape[1]
        self._count = len(frames)
        self._at = 0

    def at_times(self, offsets_ns: NDArray[np.int64]) -> Sent:
        first, clock = self._at, time.monotonic_ns
        intended = clock() + LEAD_NS + offsets_ns
        due_ns, sent_ns = intended.tolist(), np.zeros(len(intended), np.int64)
        done, count = 0, len(due_ns)
        while done < count:
            now_ns = clock()
            if due_ns[done] > now_ns:
                time.sleep((due_ns[done] - now_ns) / 1e9)
                now_ns = clock()
            stop = done + 1
            while stop < count and due_ns[stop] <= now_ns and stop - done < TOGETHER_MAX:
                stop += 1
            self._send(first + stop)
            sent_ns[done:stop] = clock()
            done = stop
        return Sent(first, intended, sent_ns)

    def flat_out(self, seconds: float) -> Sent:
        end_ns = time.monotonic_ns() + int(seconds * 1e9)
        return self._send_while(lambda stop: time.monotonic_ns() < end_ns)

    def within(self, window: int, stamps: Path) -> Sent:
        _, seen = open_columns(stamps)

        def wait_for_strategy(stop: int) -> bool:
            while stop > window and not seen[stop - window]:
                time.sleep(0.000_5)
            return True

        return self._send_while(wait_for_strategy)

    def _send_while(self, may_go_on: Callable[[int], bool]) -> Sent:
        first = self._at
        sent_ns: list[int] = []
        while self._at < self._count:
            start, stop = self._at, min(self._at + TOGETHER_MAX, self._count)
            if not may_go_on(stop):
                break
            self._send(stop)
            sent_ns += [time.monotonic_ns()] * (stop - start)
        times = np.array(sent_ns, np.int64)
        return Sent(first, times, times)

    def _send(self, stop: int) -> None:
        self._client.sendall(self._bytes[self._at * self._size : stop * self._size])
        self._at = stop

    def close(self) -> Sent:
        self._client.sendall(CLOSE_FRAME)
        return Sent(self._at, np.zeros(0, np.int64), np.zeros(0, np.int64))
