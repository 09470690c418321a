"""The cable between simulator and feed: it counts the ticks that go over it, and can be cut.

It passes on the frames of a WebSocket whole. The number of a tick is the sequence that SmartAPI's
binary frames carry; the simulator numbers the ticks of its recording 1, 2, 3, …

A subscription in the middle of the recording is answered with the newest ticks, which may have been
sent before: to a feed that was started anew they would be new. The cable keeps them to itself; they
are what comes before the simulator's first ping.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Coroutine
from typing import Any

BINARY, PING = 2, 9
SEQUENCE_OFFSET = 27  # in the packet
START_SECONDS_MAX = 20.0


class Connection:
    """The ticks that went over one connection, from the first number to the last."""

    def __init__(self) -> None:
        self.first = self.last = self.count = 0

    def note(self, number: int) -> None:
        self.first = self.first or number
        self.last = number
        self.count += 1

    def __repr__(self) -> str:
        return f"<Connection {self.first} to {self.last}, {self.count} ticks>"


class Cable:
    """Listens on ``port`` and connects each who comes to ``target``, both on this machine."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._connections: list[Connection] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._held = False
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._listening.wait(START_SECONDS_MAX), "the cable does not listen"

    @property
    def connections(self) -> list[Connection]:
        """Those over which a tick went, oldest first."""
        return [connection for connection in self._connections if connection.count]

    @property
    def sent(self) -> int:
        """The ticks that were given to a feed's socket."""
        return sum(connection.count for connection in self._connections)

    def cut(self) -> None:
        """Break every connection, without a word to either side."""
        self._call(self._abort_all())

    def hold(self) -> None:
        """Pass on no tick any more; connections stay."""
        self._call(self._hold())

    def close(self) -> None:
        self._call(self._abort_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS_MAX)

    async def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _hold(self) -> None:
        self._held = True

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = {writer, far_writer}
        self._writers |= ends
        pumps = [
            asyncio.create_task(_pass_bytes(reader, far_writer)),
            asyncio.create_task(self._pass_frames(far_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in ends:
                end.transport.abort() if end is far_writer else end.close()
            self._writers -= ends

    async def _pass_frames(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        connection = Connection()
        self._connections.append(connection)
        keeps = self.sent > 0
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(await reader.readuntil(b"\r\n\r\n"))  # the answer to the upgrade
            while True:
                opcode, head, payload = await _next_frame(reader)
                while opcode == BINARY and self._held:
                    await asyncio.sleep(0.05)
                keeps = keeps and opcode != PING
                if opcode == BINARY and keeps:
                    continue
                if opcode == BINARY:
                    connection.note(struct.unpack_from("<q", payload, SEQUENCE_OFFSET)[0])
                writer.write(head + payload)
                await writer.drain()


async def _pass_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


async def _next_frame(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Return opcode, head and payload of a server's frame, which is never masked (RFC 6455)."""
    head = await reader.readexactly(2)
    length = head[1]
    if length >= 126:
        more = await reader.readexactly(2 if length == 126 else 8)
        head, length = head + more, int.from_bytes(more, "big")
    return head[0] & 15, head, await reader.readexactly(length)
