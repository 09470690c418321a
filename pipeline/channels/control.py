"""A process's ear for people: requests over a Unix socket, between two turns of its duty cycle.

No thread: the owner asks ``ControlSocket.take`` now and then, which is one system call. Whoever
sends rings the owner's bell afterwards, so a parked process looks at once, or after the slice of
50 ms in which it fell asleep meanwhile.

Some facts: SOCK_SEQPACKET keeps a request whole. The path of a Unix socket has 107 bytes at most,
and a run directory may be longer, so both sides go through /proc/self/fd. connect() needs write
permission on the socket's file: mode 0600, and 0700 for the directory, leave the owner and root.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ControlRefused, explain

CONTROL = "control.sock"
MESSAGE_BYTES_MAX = 64 * 1024
REPLY_SECONDS_MAX = 10.0
_CLIENTS_MAX = 8

Message = Mapping[str, object]


class Asked(NamedTuple):
    """One request, and the connection that waits for its reply."""

    message: Message
    connection: socket.socket

    def reply(self, message: Message) -> None:
        """Answer and hang up; nothing happens when the other side is gone."""
        with contextlib.suppress(OSError), self.connection:
            self.connection.send(json.dumps(message).encode())


class ControlSocket:
    """The owner's end."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path``, in place of what a process that died left there."""
        self._path = path
        path.unlink(missing_ok=True)
        self._listener = _new_socket()
        with _short(path) as short:
            before = os.umask(0o177)
            try:
                self._listener.bind(short)
            finally:
                os.umask(before)
        self._listener.listen(_CLIENTS_MAX)
        self._waiting: dict[int, socket.socket] = {}
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)

    def take(self) -> list[Asked]:
        """Return the requests that have come; never waits. Each must be replied to."""
        asked: list[Asked] = []
        for descriptor, _ in self._poll.poll(0):
            if descriptor == self._listener.fileno():
                self._accept()
            else:
                asked += self._receive(descriptor)
        return asked

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            self._waiting[connection.fileno()] = connection
            self._poll.register(connection, select.POLLIN)

    def _receive(self, descriptor: int) -> Iterator[Asked]:
        self._poll.unregister(descriptor)
        connection = self._waiting.pop(descriptor)
        try:
            message = json.loads(connection.recv(MESSAGE_BYTES_MAX))
        except (OSError, ValueError):
            connection.close()
            return
        if isinstance(message, dict):
            yield Asked(message, connection)
        else:
            connection.close()

    def close(self) -> None:
        for connection in (*self._waiting.values(), self._listener):
            connection.close()
        self._path.unlink(missing_ok=True)


class Call:
    """One request to the owner of a socket: ``send`` it, ring the bell, then ask for the reply."""

    def __init__(self, path: Path, message: Message) -> None:
        """Send ``message``. Raises ControlRefused where nobody listens."""
        self._path = path
        self._socket = _new_socket()
        self._socket.settimeout(REPLY_SECONDS_MAX)
        try:
            with _short(path) as short:
                self._socket.connect(short)
            self._socket.send(json.dumps(message).encode())
        except OSError as error:
            self._socket.close()
            raise self._refused(error.strerror or str(error)) from None

    def close(self) -> None:
        """Do not wait for the answer."""
        self._socket.close()

    def reply(self) -> Message:
        """Wait for the answer. Raises ControlRefused when none comes."""
        with self._socket:
            try:
                answer = self._socket.recv(MESSAGE_BYTES_MAX)
            except TimeoutError:
                raise self._refused(f"no answer within {REPLY_SECONDS_MAX:g} s") from None
            except OSError as error:
                raise self._refused(error.strerror or str(error)) from None
        if not answer:
            raise self._refused("the process ended before it answered")
        reply: Message = json.loads(answer)
        return reply

    def _refused(self, why: str) -> ControlRefused:
        return ControlRefused(
            explain(
                f"{self._path}: {why}",
                rule="a running risk process listens there",
                cure="name the run with --config and --set run.name=…; `tickpipe ring` shows who "
                "lives. Positions of a run that is down: look at them in the broker's terminal",
            )
        )


def _new_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give ``path`` a name that is short enough for a Unix socket."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
