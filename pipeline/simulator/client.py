"""One client's connection, from its login to its last close frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from pipeline.simulator.dialect import Modes

_REQUEST_BYTES_MAX = 64 * 1024
# A client may have megabytes unread in its socket at the end; closing waits until it has taken
# them, because a socket closed before would lose them.
_CLOSE_SECONDS_MAX = 600.0
_HEARTBEAT_SECONDS = 1.0
_SETTLED = b"settled"


class Client:
    """A WebSocket and what its other side subscribed to.

    A client says in several messages what it wants. It is ``settled``, and gets ticks, when it has
    answered a ping that was sent behind the answer to its first one: what it had sent by then has
    been read, so no tick comes in a mode that was about to be changed.
    """

    def __init__(self, heartbeat: bytes, on_settled: Callable[[], None]) -> None:
        """``heartbeat`` is sent when nothing else was for a second, unless it is empty."""
        self._heartbeat = heartbeat
        self._on_settled = on_settled
        self.modes: Modes = {}
        self.settled = False
        self.position = 0  # the first tick that it has not been sent
        self._frames_sent = 0
        self._asked = False
        self._socket = web.WebSocketResponse(
            autoping=False,
            compress=False,
            timeout=_CLOSE_SECONDS_MAX,
            max_msg_size=_REQUEST_BYTES_MAX,
        )
        self.say = self._socket.send_str
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.Future()  # code and reason
        self._gone = asyncio.Event()

    @property
    def listens(self) -> bool:
        return self.settled and bool(self.modes)

    async def send(self, frame: bytes) -> None:
        await self._socket.send_bytes(frame)
        self._frames_sent += 1

    async def settle(self) -> None:
        """Ask, once, whether everything that the client wanted to say first has been read."""
        if not self._asked:
            self._asked = True
            await self._socket.ping(_SETTLED)

    async def converse(
        self, request: web.Request, answer: Callable[[Client, str], Awaitable[None]]
    ) -> web.WebSocketResponse:
        """Upgrade ``request`` and give each text frame to ``answer`` until either side closes.

        Closing is done here, with nobody receiving: aiohttp's close() breaks a receive() of
        another task, and then closes the socket without waiting for the client's own close.
        """
        try:
            await self._socket.prepare(request)
            await self._answer_until_closed(answer)
        finally:
            self._gone.set()
        return self._socket

    async def _answer_until_closed(self, answer: Callable[[Client, str], Awaitable[None]]) -> None:
        reading, beating = map(asyncio.create_task, (self._read(answer), self._beat()))
        events: set[asyncio.Future[Any]] = {reading, self._ending}
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            beating.cancel()
        with suppress(asyncio.CancelledError):
            await reading  # raises what it raised
        if self._ending.done():
            code, reason = self._ending.result()
            await self._socket.close(code=code, message=reason.encode())

    async def _read(self, answer: Callable[[Client, str], Awaitable[None]]) -> None:
        with suppress(ConnectionError):
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await answer(self, message.data)
                elif message.type is WSMsgType.PING:
                    await self._socket.pong(message.data)
                elif message.type is WSMsgType.PONG and message.data == _SETTLED:
                    self.settled = True
                    self._on_settled()

    async def _beat(self) -> None:
        with suppress(ConnectionError):
            while self._heartbeat:
                sent = self._frames_sent
                await asyncio.sleep(_HEARTBEAT_SECONDS)
                if self._frames_sent == sent:
                    await self.send(self._heartbeat)

    def end(self, code: int, reason: str) -> None:
        """Have a close frame sent behind everything that was sent."""
        if not self._ending.done():
            self._ending.set_result((code, reason))

    async def wait_until_gone(self) -> None:
        """Wait until the client has answered the close frame or is gone without."""
        await self._gone.wait()
