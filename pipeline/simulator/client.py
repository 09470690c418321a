"""One client's connection, from its login to its last close frame."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from aiohttp import WSCloseCode, WSMsgType, web

from pipeline.simulator.dialect import Modes
from pipeline.simulator.report import ConnectionReport

_REQUEST_BYTES_MAX = 64 * 1024
# A client may have megabytes unread in its socket at the end; closing waits until it has taken
# them, because a socket closed before would lose them.
_CLOSE_SECONDS_MAX = 600.0
_SETTLED = b"settled"
_READ = b"read "
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: close() sends RST, drops the rest


class Cut(NamedTuple):
    """How the next frames are torn."""

    frames: int  # how many of them
    bytes: int  # in a piece
    pause_s: float  # between two pieces
    once: bool  # the second piece is all the rest
    lost: bool  # it never comes


class Client:
    """A WebSocket and what its other side subscribed to.

    A client says in several messages what it wants. It is ``settled``, and gets ticks, when it has
    answered a ping that was sent behind the answer to its first one: what it had sent by then has
    been read, so no tick comes in a mode that was about to be changed.
    """

    def __init__(
        self,
        report: ConnectionReport,
        heartbeat: bytes,
        heartbeat_seconds: float,
        on_change: Callable[[], None],
    ) -> None:
        """``heartbeat`` is sent when nothing else was for so long, unless it is empty;
        ``on_change`` is called when ``listens`` may have changed."""
        self.report = report
        self.modes: Modes = {}
        self.position = 0  # the first tick that it has not been sent
        self.cut: Cut | None = None
        self._heartbeat = heartbeat
        self._heartbeat_seconds = heartbeat_seconds
        self._on_change = on_change
        self._settled = self._asked = False
        self._broken = False  # a fault ended it
        self._mute = False  # nothing is sent to it
        self._dry = False  # no ticks are
        self._socket = web.WebSocketResponse(
            autoping=False,
            compress=False,
            timeout=_CLOSE_SECONDS_MAX,
            max_msg_size=_REQUEST_BYTES_MAX,
        )
        self._transport: asyncio.Transport | None = None
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.Future()  # code and reason
        self._gone = asyncio.Event()

    @property
    def takes_ticks(self) -> bool:
        return self._is_here and not (self._mute or self._dry or self._ending.done())

    @property
    def _is_here(self) -> bool:
        """False from when the other side hung up, which is before ``converse`` hears of it."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def listens(self) -> bool:
        return self._settled and bool(self.modes) and self.takes_ticks

    # Sending ---------------------------------------------------------------------------------

    async def send(self, frame: bytes) -> int:
        """Send a frame of ticks and return its number, 1 for the first. Raises ConnectionError."""
        self.report.frames = number = self.report.frames + 1
        if self.cut is None:
            await self._socket.send_bytes(frame)
        else:
            await self._send_torn(frame, self.cut)
        return number

    async def say(self, text: str) -> None:
        if not self._mute:
            await self._socket.send_str(text)

    async def say_binary(self, data: bytes) -> None:
        """Send a frame that has no ticks."""
        if not self._mute:
            await self._socket.send_bytes(data)

    def _write(self, raw: bytes) -> None:
        """Send bytes that are no whole frame. Raises ConnectionError."""
        if self._transport is None or not self._is_here:
            raise ConnectionResetError("the client is gone")
        self._transport.write(raw)

    async def settle(self) -> None:
        """Ask, once, whether everything that the client wanted to say first has been read."""
        if not self._asked:
            self._asked = True
            await self._socket.ping(_SETTLED)

    async def ask_what_was_read(self) -> None:
        """Have the frames so far proven by the answer to a ping."""
        if self.listens:
            await self._socket.ping(_READ + str(self.report.frames).encode())

    async def _send_torn(self, frame: bytes, cut: Cut) -> None:
        raw = _framed(frame)
        size = min(cut.bytes, len(raw) - 1)
        step = len(raw) if cut.once else size
        rest = [raw[start : start + step] for start in range(size, len(raw), step)]
        self.cut = cut._replace(frames=cut.frames - 1) if cut.frames > 1 else None
        self._mute = True  # nothing may come between two pieces
        self._write(raw[:size])
        for piece in rest:
            await asyncio.sleep(cut.pause_s)
            if cut.lost:
                self.finish()
                raise ConnectionResetError("cut off by a fault")
            self._write(piece)
        self._mute = self._broken

    # Breaking --------------------------------------------------------------------------------

    def spoil(self, noise: bytes) -> None:
        """Send bytes that are no frame, and nothing behind them. Raises ConnectionError."""
        self._write(noise)
        self._broken = self._mute = True

    def reset(self) -> None:
        """Reset the connection: what the kernel still holds is lost."""
        self._broken = self._mute = True
        if self._transport is not None and self._is_here:
            of = self._transport.get_extra_info("socket")
            of.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    def finish(self) -> None:
        """Close our side behind everything that was sent, without a close frame."""
        self._broken = self._mute = True
        if self._transport is not None and self._is_here:
            self._transport.write_eof()

    def fall_silent(self, seconds: float | None, *, heartbeats: bool) -> None:
        """Send nothing, or with ``heartbeats`` no ticks, for ``seconds`` or for ever."""
        self._mute, self._dry = not heartbeats, heartbeats
        if seconds is not None:
            asyncio.get_running_loop().call_later(seconds, self._speak_again)

    def _speak_again(self) -> None:
        self._mute, self._dry = self._broken, False
        self._on_change()

    # Conversing ------------------------------------------------------------------------------

    async def converse(
        self, request: web.Request, answer: Callable[[Client, str], Awaitable[None]]
    ) -> web.WebSocketResponse:
        """Upgrade ``request`` and give each text frame to ``answer`` until either side closes.

        Closing is done here, with nobody receiving: aiohttp's close() breaks a receive() of
        another task, and then closes the socket without waiting for the client's own close.
        """
        try:
            await self._socket.prepare(request)
            self._transport = request.transport
            await self._answer_until_closed(answer)
        finally:
            self._broken = self._mute = True
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
        if self._ending.done() and not self._broken:
            code, reason = self._ending.result()
            by_us = await self._socket.close(code=code, message=reason.encode())
            if by_us and self._socket.close_code != WSCloseCode.ABNORMAL_CLOSURE:
                self.report.proven = self.report.frames  # it answered: it has read what was before

    async def _read(self, answer: Callable[[Client, str], Awaitable[None]]) -> None:
        with suppress(ConnectionError):
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    await answer(self, message.data)
                elif message.type is WSMsgType.PING and not self._mute:
                    await self._socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    self._learn(bytes(message.data))

    def _learn(self, pong: bytes) -> None:
        if pong == _SETTLED:
            self._settled = True
            self._on_change()
        elif pong.startswith(_READ):
            self.report.proven = int(pong.removeprefix(_READ))

    async def _beat(self) -> None:
        with suppress(ConnectionError):
            while self._heartbeat:
                sent = self.report.frames
                await asyncio.sleep(self._heartbeat_seconds)
                if self.report.frames == sent:
                    await self.say_binary(self._heartbeat)

    def end(self, code: int, reason: str) -> None:
        """Have a close frame sent behind everything that was sent."""
        if not self._ending.done():
            self._ending.set_result((code, reason))

    async def wait_until_gone(self) -> None:
        """Wait until the client has answered the close frame or is gone without."""
        await self._gone.wait()


def _framed(payload: bytes) -> bytes:
    """Return ``payload`` as the one binary frame that a server sends."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x82, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x82, 126, size) + payload
    return struct.pack("!BBQ", 0x82, 127, size) + payload
