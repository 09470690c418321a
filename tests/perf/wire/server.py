"""The broker's side of a connection that is measured: frames that were made before.

Pings are answered. A time to count from is that of the call of send.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.perf.serving import CLOSE_FRAME, LEAD_NS, Serving

_PING, _PONG = 0x89, 0x8A


class Server(Serving[NDArray[np.int64]]):
    """Sends ``frames``, and says when each call of send was made. Its orders:

    at_times OFFSETS_NS   the next frames, one at each time after a start in the near future
    flat_out COUNT        all frames, again and again, COUNT times, as fast as they are taken
    close                 the end of the day
    """

    def __init__(self, frames: Sequence[bytes]) -> None:
        super().__init__(lambda client: _Player(client, frames))


# In the child --------------------------------------------------------------------------------


class _Player:
    def __init__(self, client: socket.socket, frames: Sequence[bytes]) -> None:
        self._client = client
        self._frames = frames
        self._at = 0
        threading.Thread(target=_answer_pings, args=(client,), daemon=True).start()

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
        self._client.sendall(CLOSE_FRAME)
        return np.zeros(0, np.int64)


def _answer_pings(client: socket.socket) -> None:
    """KiteTicker closes a connection whose pings nobody answers. A client's frame is masked."""
    with contextlib.suppress(OSError):
        while data := client.recv(65_536):
            size = data[1] & 0x7F if len(data) > 1 else 0
            if data[0] == _PING and len(data) >= 6 + size:
                mask, payload = data[2:6], data[6 : 6 + size]
                answer = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
                client.sendall(bytes((_PONG, size)) + answer)
