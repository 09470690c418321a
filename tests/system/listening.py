"""A server whose every connection a test plays itself, byte by byte, in a thread."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha1

import numpy as np
from numpy.typing import NDArray
from websocket import ABNF

from pipeline.feed.connection import Connection
from pipeline.feed.frames import Opcode

SECONDS_MAX = 30.0
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Peer:
    """The server's side of one connection."""

    def __init__(self, raw: socket.socket) -> None:
        self.raw = raw
        self.request = b""
        while b"\r\n\r\n" not in self.request and (part := raw.recv(4_096)):
            self.request += part

    def answer(self, status: str, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0"]
        self.raw.sendall("\r\n".join((*lines, "", "")).encode())

    def upgrade(self) -> None:
        """Shake hands."""
        key = self.request.lower().split(b"sec-websocket-key: ")[1].split(b"\r\n")[0]
        start = self.request.lower().index(key)
        accept = b64encode(sha1(self.request[start : start + len(key)] + _MAGIC).digest())
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + accept,
        ]
        self.raw.sendall(b"\r\n".join((*lines, b"", b"")))

    def send(self, data: bytes, opcode: int = Opcode.BINARY) -> None:
        self.raw.sendall(ABNF(1, 0, 0, 0, opcode, 0, data).format())

    def hear(self) -> str:
        """Return the next text that comes."""
        head = self._exactly(2)
        length = head[1] & 0x7F
        if length == 126:
            length = int.from_bytes(self._exactly(2), "big")
        mask, data = self._exactly(4), self._exactly(length)
        return bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)).decode()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.raw.recv(count - len(data))
            if not part:
                raise ConnectionResetError
            data += part
        return data

    def hang_up(self) -> None:
        """Say nothing more; what was sent arrives."""
        self.raw.shutdown(socket.SHUT_WR)
        self.wait_until_gone()

    def wait_until_gone(self) -> None:
        """Read, and throw away, until the other side has closed."""
        try:
            while self.raw.recv(65_536):
                pass
        except ConnectionError:
            pass


Script = Callable[[Peer], None]


class Listener:
    """Plays one of ``scripts`` to each connection in turn, the last of them to all that follow."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._peers: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self.port}/"
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._server.accept()
            except OSError:
                return
            raw.settimeout(SECONDS_MAX)
            self._peers.append(raw)
            script = self._scripts[min(self.accepted, len(self._scripts) - 1)]
            self.accepted += 1
            threading.Thread(target=self._play, args=(script, raw), daemon=True).start()

    def _play(self, script: Script, raw: socket.socket) -> None:
        try:
            if self._tls is not None:
                raw = self._tls.wrap_socket(raw, server_side=True)
            script(Peer(raw))
        except (ConnectionError, OSError):
            pass  # the other side left, or the test is over
        finally:
            raw.close()

    def close(self) -> None:
        with suppress(OSError):  # closed by the test
            self._server.shutdown(socket.SHUT_RDWR)  # which ends the accept
        self._server.close()
        for raw in self._peers:
            raw.close()


def receive_until(
    connection: Connection, condition: Callable[[], bool], seconds: float = SECONDS_MAX
) -> NDArray[np.void]:
    """Receive until ``condition`` holds; return the ticks."""
    deadline = time.monotonic() + seconds
    batches = [connection.receive(256)]
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        batches.append(connection.receive(256))
    return np.concatenate(batches)
