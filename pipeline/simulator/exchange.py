"""SmartAPI's market data WebSocket as an exchange of our own would serve it.

There is one play position. At a speed it follows the clock from the first subscription on, with
or without listeners: who comes late or comes back gets the stream from where the clock is. At
full speed it moves as the listeners take the frames, all of them every frame, and waits while
there is none. What was missed, or lost in a broken connection, is gone, as at an exchange.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from pipeline.brokers.smartapi.session import auth_headers
from pipeline.brokers.smartapi.wire import instrument_key, is_exact
from pipeline.errors import TickFileError, explain
from pipeline.records import PRICE_SCALE
from pipeline.settings import SIMULATOR_SECRETS, Instrument
from pipeline.simulator.client import Client
from pipeline.simulator.playing import Frames, Playhead
from pipeline.simulator.requests import (
    TOKENS_MAX,
    Request,
    parse_request,
    too_many_frame,
    unknown_tokens_frame,
)

log = logging.getLogger("simulator")

PATH = "/smart-stream"
CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
END_OF_RECORDING = "end of recording"

_TICKS_PER_TURN_MAX = 64  # then pings, subscriptions and signals have their turn


class Exchange:
    """Plays TICK rows to every client of the aiohttp application ``app``."""

    def __init__(
        self,
        ticks: NDArray[np.void],
        instruments: Sequence[Instrument],
        *,
        speed: float | None,
        wait_for: int = 1,
    ) -> None:
        """Play at ``speed`` times real time, None as fast as it is taken, once ``wait_for``
        clients have subscribed. Raises TickFileError for prices that a frame cannot hold."""
        assert len(ticks), "a recording has at least one tick"
        keys = [instrument_key(row) for row in instruments]
        _refuse_inexact(ticks, keys)
        self.app = web.Application()
        self.app.router.add_get(PATH, self._smart_stream)
        self.frames_sent = 0
        self._instrument_of = {key: index for index, key in enumerate(keys)}
        self._instrument_at: list[int] = ticks["instrument"].tolist()
        self._frames = Frames(ticks, keys)
        self._playhead = Playhead(ticks, speed)
        self._wait_for = wait_for
        self._clients: set[Client] = set()
        self._enough = asyncio.Event()  # subscribed clients to start with
        self._somebody = asyncio.Event()  # is subscribed now

    # Playing ---------------------------------------------------------------------------------

    async def play(self) -> None:
        """Play the recording to its end, then close every connection with 1000."""
        await self._enough.wait()
        clock = asyncio.get_running_loop().time
        self._playhead.start(clock())
        while not self._playhead.ended:
            await self._turn(clock())
        log.info("the recording ended, %d frames sent", self.frames_sent)
        await self._close(CLOSE_NORMAL, END_OF_RECORDING)

    async def _turn(self, now_s: float) -> None:
        """Send what is due, in order, however late; else wait for the next tick."""
        playhead = self._playhead
        if not playhead.paced:
            await self._somebody.wait()
        start = playhead.position
        stop = min(playhead.due(now_s), start + _TICKS_PER_TURN_MAX)
        if start == stop:
            await asyncio.sleep(playhead.wait_s(now_s))
            return
        listeners = [client for client in self._clients if client.modes]
        reached = [await self._send(client, start, stop) for client in listeners]
        playhead.position = stop if playhead.paced else max(reached, default=start)
        await asyncio.sleep(0)

    async def _send(self, client: Client, start: int, stop: int) -> int:
        """Send ``client`` its frames and return the first position that it was not sent."""
        modes, send = client.modes, client.send
        for position in range(start, stop):
            if not modes:
                return position
            mode = modes.get(self._instrument_at[position])
            if mode is None:
                continue
            try:
                await send(self._frames.frame(mode, position))
            except ConnectionError:
                self._forget(client)
                return position
            self.frames_sent += 1
        return stop

    async def leave(self, seconds_max: float) -> None:
        """Close every connection, in bounded time even where nobody reads."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds_max):
                await self._close(CLOSE_GOING_AWAY, "the simulator was stopped")

    async def _close(self, code: int, reason: str) -> None:
        """Close every connection and wait until the clients have answered."""
        for client in self._clients:
            client.end(code, reason)
        await asyncio.gather(*(client.wait_until_gone() for client in self._clients))

    # Serving ---------------------------------------------------------------------------------

    async def _smart_stream(self, request: web.Request) -> web.StreamResponse:
        refused = _refused_header(request.headers)
        if refused:
            log.warning("login refused: %s is missing or wrong", refused)
            answer = {"errorCode": "AG8001", "message": f"{refused} is missing or wrong"}
            return web.json_response(answer, status=401)
        client = Client()
        self._clients.add(client)
        try:
            return await client.converse(request, self._answer)
        finally:
            self._forget(client)

    async def _answer(self, client: Client, text: str) -> None:
        if text == "ping":
            await client.say("pong")
            return
        request = parse_request(text)
        if isinstance(request, str):
            await client.say(request)
            return
        error = self._apply(client, request)
        if error:
            await client.say(error)
        if self._playhead.ended:
            client.end(CLOSE_NORMAL, END_OF_RECORDING)

    def _apply(self, client: Client, request: Request) -> str:
        """Change what ``client`` gets; return the error frame to send, or nothing."""
        known = [key for key in request.keys if key in self._instrument_of]
        unknown = [key for key in request.keys if key not in self._instrument_of]
        indexes = {self._instrument_of[key] for key in known}
        if not request.subscribes:
            for index in indexes:
                client.modes.pop(index, None)
        elif len(indexes | client.modes.keys()) > TOKENS_MAX:
            return too_many_frame(request, len(indexes | client.modes.keys()))
        else:
            client.modes.update(dict.fromkeys(indexes, request.params.mode))
        log.info("a client listens to %d instrument(s)", len(client.modes))
        self._count_listeners()
        return unknown_tokens_frame(request, unknown) if unknown else ""

    def _forget(self, client: Client) -> None:
        client.modes.clear()
        self._clients.discard(client)
        self._count_listeners()

    def _count_listeners(self) -> None:
        count = sum(bool(client.modes) for client in self._clients)
        if count >= self._wait_for:
            self._enough.set()
        if count:
            self._somebody.set()
        else:
            self._somebody.clear()


def _refused_header(headers: Mapping[str, str]) -> str:
    """Return the name of the first header that is not the simulator's, or nothing."""
    for name, expected in auth_headers(SIMULATOR_SECRETS).items():
        if name not in headers:
            return name
        found = headers[name].encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(found, expected.encode()):
            return name
    return ""


def _refuse_inexact(ticks: NDArray[np.void], keys: Sequence[tuple[int, bytes]]) -> None:
    wrong = np.flatnonzero(~is_exact(ticks, keys))
    if len(wrong):
        price = int(ticks["price_e4"][wrong[0]]) / PRICE_SCALE
        raise TickFileError(
            explain(
                f"tick {wrong[0] + 1} has the price {price} ₹",
                rule="SmartAPI sends whole paise, except in currency derivatives",
                cure="replay the file instead: `tickpipe replay FILE`",
            )
        )
