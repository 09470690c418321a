"""One attempt to connect, in a thread: name servers and handshakes take as long as they like, and
neither the other connections nor a stop waits for them. Sockets that are opened are plain: what
comes and goes on them is the connection's.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_futures

import websocket

from pipeline.feed.frames import Opcode


def masked(opcode: int, data: bytes) -> bytes:
    """Return the frame of a client."""
    frame: bytes = websocket.ABNF.create_frame(data, opcode).format()
    return frame


class Attempt:
    """The opening of one WebSocket, up to the last text that subscribes."""

    def __init__(
        self, url: str, headers: Sequence[str], texts: Sequence[str], timeout_s: float
    ) -> None:
        self._opened: Future[socket.socket] = Future()
        arguments = (url, list(headers), list(texts), timeout_s)
        threading.Thread(target=self._run, args=arguments, daemon=True).start()

    def _run(self, url: str, headers: list[str], texts: list[str], timeout_s: float) -> None:
        try:
            self._opened.set_result(_open(url, headers, texts, timeout_s))
        except BaseException as error:  # noqa: BLE001 - raised again by ``result``
            self._opened.set_exception(error)

    def wait(self, seconds: float) -> bool:
        """Wait for at most ``seconds``; tell whether the attempt is over."""
        return bool(wait_for_futures([self._opened], seconds).done)

    def result(self) -> socket.socket:
        """Return the socket. Raises what connecting raised; never waits."""
        return self._opened.result(0)

    def abandon(self) -> None:
        """Want no socket any more: one that is opened later is closed."""
        self._opened.add_done_callback(_close)


def _close(opened: Future[socket.socket]) -> None:
    if opened.exception() is None:
        opened.result().close()


def _open(url: str, headers: list[str], texts: list[str], timeout_s: float) -> socket.socket:
    """Raises WebSocketException and OSError."""
    opened = websocket.create_connection(url, timeout=timeout_s, header=headers)
    found = opened.sock
    assert found is not None, "it is open"
    try:
        for text in texts:
            found.sendall(masked(Opcode.TEXT, text.encode()))
    except OSError:
        found.close()
        raise
    return found
