"""A broker's market data WebSocket as an exchange of our own would serve it.

There is one play position. At a speed it follows the clock from the first subscription on, with
or without listeners: who comes late or comes back gets the stream from where the clock is. At
full speed it moves as the listeners take the frames, all of them every frame, and waits while
there is none. What was missed, or lost in a broken connection, is gone, as at an exchange.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from pipeline.simulator.breaking import Breaker, Door, strike
from pipeline.simulator.client import Client
from pipeline.simulator.dialect import Dialect, Modes
from pipeline.simulator.faults import AnyFault, Repeat, Reverse
from pipeline.simulator.playing import Playhead
from pipeline.simulator.report import Report, Way
from pipeline.simulator.script import Due

log = logging.getLogger("simulator")

CLOSE_NORMAL = 1000
CLOSE_GOING_AWAY = 1001
END_OF_RECORDING = "end of recording"

# Then pings, subscriptions and signals have their turn. All instruments fit into one, so that a
# broker which sends what is due together in one frame can.
_TICKS_PER_TURN_MIN = 64


class Exchange:
    """Plays TICK rows to every client of the aiohttp application ``app``."""

    def __init__(
        self,
        ticks: NDArray[np.void],
        dialect: Dialect,
        report: Report,
        *,
        speed: float | None,
        wait_for: int = 1,
        faults: Sequence[Due] = (),
        heartbeat_seconds: float = 1.0,
    ) -> None:
        """Play at ``speed`` times real time, None as fast as it is taken, once ``wait_for``
        clients have subscribed. ``faults`` happen one after the other, each when its tick has come
        and so many clients listen."""
        assert len(ticks), "a recording has at least one tick"
        self.app = web.Application()
        self.app.router.add_get(dialect.path, self._serve)
        self.path = dialect.path
        self.report = report
        self.frames_sent = 0
        self._dialect = dialect
        self._instrument_at: list[int] = ticks["instrument"].tolist()
        self._ticks_per_turn_max = max(_TICKS_PER_TURN_MIN, len(report.symbols))
        self._playhead = Playhead(ticks, speed)
        self._wait_for = wait_for
        self._heartbeat_seconds = heartbeat_seconds
        self._clients: set[Client] = set()
        self._enough = asyncio.Event()  # clients listen now
        self._somebody = asyncio.Event()  # listens now
        self._breaker = Breaker(faults, report.symbols, dialect)

    # Playing ---------------------------------------------------------------------------------

    async def play(self, door: Door) -> None:
        """Play the recording to its end, then close every connection with 1000."""
        await self._enough.wait()
        clock = asyncio.get_running_loop().time
        self._playhead.start(clock())
        while not self._playhead.ended:
            await self._turn(clock(), door)
        log.info("the recording ended, %d frames sent", self.frames_sent)
        if self._breaker.left:
            log.warning("%d fault(s) did not happen", self._breaker.left)
        await self._close(CLOSE_NORMAL, END_OF_RECORDING)

    async def _turn(self, now_s: float, door: Door) -> None:
        """Send what is due, in order, however late; else wait for the next tick."""
        playhead = self._playhead
        is_due = playhead.position >= self._breaker.next_place
        if is_due and (self._enough.is_set() or not playhead.paced):
            await self._wait_for_enough()
            await self._strike(door)
            return
        if not playhead.paced:
            await self._somebody.wait()
        start = playhead.position
        stop = min(start + self._ticks_per_turn_max, self._breaker.until(start))
        stop = max(start, min(playhead.due(now_s), stop))
        if start == stop:
            await asyncio.sleep(playhead.wait_s(now_s))
            return
        listeners = [client for client in self._clients if client.listens]
        reached = [await self._send(client, start, stop) for client in listeners]
        self._go_on_at(stop if playhead.paced else max(reached, default=start))
        await asyncio.sleep(0)

    async def _wait_for_enough(self) -> None:
        """Wait until enough clients listen, none of them one that has hung up meanwhile."""
        self._count_listeners()
        while not self._enough.is_set():
            await self._enough.wait()
            self._count_listeners()

    @property
    def position(self) -> int:
        """The first tick that was not played."""
        return self._playhead.position

    def _go_on_at(self, position: int) -> None:
        self._playhead.position = self.report.played = min(position, self._playhead.count)

    async def _send(self, client: Client, start: int, stop: int, way: Way = Way.PLAYED) -> int:
        """Send ``client`` its frames and return the first position that it was not sent."""
        client.position = start
        modes = self._breaker.heard(client.modes, start)
        for frame, position in self._dialect.frames(modes, start, stop):
            places = self._places(modes, client.position, position)
            if not await self._deliver(client, frame, places, way):
                break
            client.position = position
        if client.listens:
            client.position = stop
            await self._have_it_proven(client)
        return client.position

    def _places(self, modes: Modes, start: int, stop: int) -> Sequence[int]:
        """Return the places of the ticks that a frame has, where somebody wants to know them."""
        if not self.report.every_tick:
            return ()
        return [place for place in range(start, stop) if self._instrument_at[place] in modes]

    async def _deliver(self, client: Client, frame: bytes, places: Sequence[int], way: Way) -> bool:
        """Send one frame and note it; return whether the client is still there."""
        try:
            number = await client.send(frame)
        except ConnectionError:
            self._forget(client)
            return False
        self.frames_sent += 1
        if self.report.every_tick:
            self.report.delivered(places, client.report.number, number, way)
        return True

    async def _have_it_proven(self, client: Client) -> None:
        if self.report.every_tick:
            with suppress(ConnectionError):
                await client.ask_what_was_read()

    async def tell(self, text: str) -> None:
        """Send a text frame, an order postback say, to every client."""
        for client in list(self._clients):
            with suppress(ConnectionError):
                await client.say(text)

    # Breaking --------------------------------------------------------------------------------

    async def _strike(self, door: Door) -> None:
        """Let the next fault happen to the clients that it is for."""
        fault, position = self._breaker.take(), self._playhead.position
        hit = [client for client in self._clients if self._concerns(fault, client)]
        self.report.struck(fault.kind, position, [client.report.number for client in hit])
        log.info("fault %s before tick %d", fault.kind, position + 1)
        await self._breaker.prepare(fault, position, door)
        for client in hit:
            if isinstance(fault, Repeat):
                await self._send(client, max(0, position - fault.ticks), position, Way.REPEATED)
            elif isinstance(fault, Reverse):
                await self._send_reversed(client, position, position + fault.ticks)
            else:
                await strike(fault, client)
        position += fault.ticks if isinstance(fault, Reverse) else 0
        self._go_on_at(position + fault.missed)
        self._count_listeners()

    def _concerns(self, fault: AnyFault, client: Client) -> bool:
        return client.listens and (
            fault.symbol is None or self.report.symbols.index(fault.symbol) in client.modes
        )

    async def _send_reversed(self, client: Client, start: int, stop: int) -> None:
        sent: set[int] = set()
        for place in reversed(range(start, min(stop, self._playhead.count))):
            instrument = self._instrument_at[place]
            way = Way.LATE if instrument in sent else Way.PLAYED
            await self._send(client, place, place + 1, way)
            sent.add(instrument)
        client.position = stop

    # Ending ----------------------------------------------------------------------------------

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
        status = self._breaker.refusal()
        if status is not None:
            self.report.refused(status)
            return web.json_response({"message": "refused by the fault script"}, status=status)
        refusal = self._dialect.refusal(request.headers, request.query)
        if refusal is not None:
            log.warning("login refused: %s", refusal.why)
            self.report.refused(refusal.status)
            return web.json_response(refusal.body, status=refusal.status)
        client = Client(
            self.report.opened(),
            self._dialect.heartbeat,
            self._heartbeat_seconds,
            self._count_listeners,
        )
        self._clients.add(client)
        try:
            return await client.converse(request, self._answer)
        finally:
            self.report.closed(client.report)
            self._forget(client)

    async def _answer(self, client: Client, text: str) -> None:
        before = len(client.modes)
        position = max(client.position, self._playhead.position)
        texts, snapshots = self._dialect.answer(text, client.modes, position)
        client.report.modes = {self.report.symbols[i]: mode for i, mode in client.modes.items()}
        for answer in texts:
            await client.say(answer)
        for frame, places in snapshots if client.takes_ticks else ():
            await self._deliver(client, frame, places, Way.SNAPSHOT)
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
        for event, reached in ((self._enough, count >= self._wait_for), (self._somebody, count)):
            if reached:
                event.set()
            else:
                event.clear()
