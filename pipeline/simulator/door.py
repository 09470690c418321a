"""The port where clients of the simulator come in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web


class Door:
    """A port with a server behind it; it can be shut for a while.

    The port stays ours meanwhile: a socket that is bound and does not listen refuses clients, and
    nobody else gets its port.
    """

    def __init__(
        self, runner: web.AppRunner, bind: Callable[[int], socket.socket], port: int
    ) -> None:
        """``bind`` returns a socket that is bound to a port, 0 = any, and does not listen."""
        self._runner = runner
        self._bind = bind
        self._socket = bind(port)
        self.port = int(self._socket.getsockname()[1])
        self._site: web.SockSite | None = None
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._site = web.SockSite(self._runner, self._socket)
        await self._site.start()  # listens

    async def shut(self, seconds: float) -> None:
        """Have nobody listen for ``seconds``, beginning now; who is connected stays so."""
        if self._site is not None:
            await self._site.stop()  # closes the socket
            self._site = None
            self._socket = self._bind(self.port)
        if self._opening is not None:
            self._opening.cancel()
        self._opening = asyncio.create_task(self._open_after(seconds))

    async def _open_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    async def aclose(self) -> None:
        """Give the port up."""
        if self._opening is not None:
            self._opening.cancel()
            with suppress(asyncio.CancelledError):
                await self._opening
        if self._site is None:
            self._socket.close()
