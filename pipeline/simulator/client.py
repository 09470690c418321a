"""One client's connection, from its login to its last close frame."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

_REQUEST_BYTES_MAX = 64 * 1024
# A client may have megabytes unread in its socket at the end; closing waits until it has taken
# them, because a socket closed before would lose them.
_CLOSE_SECONDS_MAX = 600.0


class Client:
    """A WebSocket and what its other side subscribed to."""

    def __init__(self) -> None:
        self.modes: dict[int, int] = {}  # by instrument
        self._socket = web.WebSocketResponse(
            compress=False, timeout=_CLOSE_SECONDS_MAX, max_msg_size=_REQUEST_BYTES_MAX
        )
        self.send = self._socket.send_bytes
        self.say = self._socket.send_str
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.Future()  # code and reason
        self._gone = asyncio.Event()

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
        reading = asyncio.create_task(self._read(answer))
        events: set[asyncio.Future[Any]] = {reading, self._ending}
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
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

    def end(self, code: int, reason: str) -> None:
        """Have a close frame sent behind everything that was sent."""
        if not self._ending.done():
            self._ending.set_result((code, reason))

    async def wait_until_gone(self) -> None:
        """Wait until the client has answered the close frame or is gone without."""
        await self._gone.wait()
