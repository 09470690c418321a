"""A broker's market data WebSocket as an exchange of our own would serve it.

There is one play position. At a speed it follows the clock from the first subscription on, with
or without listeners: who comes late or comes back gets the stream from where the clock is. At
full speed it moves as the listeners take the frames, all of them every frame, and waits while
there is none. What was missed, or lost in a broken connection, is gone, as at an exchange.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from pipeline.simulator.client import Client
from pipeline.simulator.dialect import Dialect
from pipeline.simulator.playing import Playhead

log = logging.getLogger("simulator")

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
END_OF_RECORDING = "end of recording"

_TICKS_PER_TURN_MAX = 64  # then pings, subscriptions and signals have their turn


class Exchange:
    """Plays TICK rows to every client of the aiohttp application ``app``."""

    def __init__(
        self,
        ticks: NDArray[np.void],
        dialect: Dialect,
        *,
        speed: float | None,
        wait_for: int = 1,
    ) -> None:
        """Play at ``speed`` times real time, None as fast as it is taken, once ``wait_for``
        clients have subscribed."""
        assert len(ticks), "a recording has at least one tick"
        self.app = web.Application()
        self.app.router.add_get(dialect.path, self._serve)
        self.path = dialect.path
        self.frames_sent = 0
        self._dialect = dialect
        self._playhead = Playhead(ticks, speed)
        self._wait_for = wait_for
        self._clients: set[Client] = set()
        self._enough = asyncio.Event()  # clients that listen to start with
        self._somebody = asyncio.Event()  # listens now

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
        listeners = [client for client in self._clients if client.listens]
        reached = [await self._send(client, start, stop) for client in listeners]
        playhead.position = stop if playhead.paced else max(reached, default=start)
        await asyncio.sleep(0)

    async def _send(self, client: Client, start: int, stop: int) -> int:
        """Send ``client`` its frames and return the first position that it was not sent."""
        client.position = start
        for frame, position in self._dialect.frames(client.modes, start, stop):
            try:
                await client.send(frame)
            except ConnectionError:
                self._forget(client)
                break
            client.position = position
            self.frames_sent += 1
        if client.listens:
            client.position = stop
        return client.position

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

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        refusal = self._dialect.refusal(request.headers, request.query)
        if refusal is not None:
            log.warning("login refused: %s", refusal.why)
            return web.json_response(refusal.body, status=refusal.status)
        client = Client(self._dialect.heartbeat, self._count_listeners)
        self._clients.add(client)
        try:
            return await client.converse(request, self._answer)
        finally:
            self._forget(client)

    async def _answer(self, client: Client, text: str) -> None:
        before = len(client.modes)
        position = max(client.position, self._playhead.position)
        texts, frames = self._dialect.answer(text, client.modes, position)
        for answer in texts:
            await client.say(answer)
        for frame in frames:
            await client.send(frame)
        if len(client.modes) != before:
            log.info("a client listens to %d instrument(s)", len(client.modes))
            await client.settle()
            self._count_listeners()
        if self._playhead.ended:
            client.end(CLOSE_NORMAL, END_OF_RECORDING)

    def _forget(self, client: Client) -> None:
        client.modes.clear()
        self._clients.discard(client)
        self._count_listeners()

    def _count_listeners(self) -> None:
        count = sum(client.listens for client in self._clients)
        if count >= self._wait_for:
            self._enough.set()
        if count:
            self._somebody.set()
        else:
            self._somebody.clear()
