"""The simulated broker: the order API of a dialect on the exchange's port, over one order book.

It keeps its state while it lives: what restarts is what is in front of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic

import numpy as np
from aiohttp import web
from numpy.typing import NDArray

from pipeline.settings import Instrument
from pipeline.simulator.exchange import Exchange
from pipeline.simulator.kite_orders import KiteOrders
from pipeline.simulator.order_book import OrderBook, Placed, Status
from pipeline.simulator.order_dialect import OrderDialect, Refused, Replied, Wanted
from pipeline.simulator.order_faults import Kind, OrderFaults
from pipeline.simulator.smartapi_orders import SmartApiOrders

log = logging.getLogger("simulator")

REPORT_PATH = "/simulator/orders"
ORDER_DIALECTS: dict[str, type[KiteOrders | SmartApiOrders]] = {
    "kite": KiteOrders,
    "smartapi": SmartApiOrders,
}

_TURN_SECONDS = 0.01
_SLOW_SECONDS = 0.5
_AWAY_SECONDS = 1.0
_NEVER_SECONDS = 3_600.0
_QUIET_SECONDS = 3.0  # a run that ends sends its last orders meanwhile
_NUL_SECONDS = 10.0


class Broker:
    """Takes orders on ``exchange.app`` and fills them at the price that ``exchange`` plays."""

    def __init__(
        self,
        exchange: Exchange,
        ticks: NDArray[np.void],
        instruments: Sequence[Instrument],
        broker: str,
        faults: OrderFaults,
    ) -> None:
        self._exchange = exchange
        self._prices, self._times = ticks["price_e4"], ticks["ts_event_ns"]
        self._places = [np.flatnonzero(ticks["instrument"] == at) for at in range(len(instruments))]
        self.book = OrderBook(instruments, self._price_e4, self._now_ns)
        self._dialect: OrderDialect = ORDER_DIALECTS[broker](self.book)
        self._faults = faults
        self._asked = 0  # requests to place an order
        self._fault_of: dict[str, Kind] = {}  # by the order's number
        self._held_back: dict[str, list[str]] = {}  # updates that come later, by the order's number
        self._listeners: set[web.WebSocketResponse] = set()
        self._heard_s: float | None = None  # when the last request came
        self._away_until_s = 0.0
        self._mount(exchange.app)

    def _mount(self, app: web.Application) -> None:
        for method, path, wanted in self._dialect.routes():
            app.router.add_route(method, path, partial(self._serve, wanted))
        app.router.add_get(REPORT_PATH, self._report)
        if self._dialect.own_updates_path:
            app.router.add_get(self._dialect.own_updates_path, self._updates)
        app.cleanup_ctx.append(self._run)

    @property
    def is_quiet(self) -> bool:
        """True when nobody asks for anything, or nobody ever did."""
        return self._heard_s is None or monotonic() - self._heard_s > _QUIET_SECONDS

    def _price_e4(self, instrument: int) -> int:
        """Return the last price played; before the first one, the first."""
        places = self._places[instrument]
        if not len(places):
            return 0
        at = int(np.searchsorted(places, self._exchange.position)) - 1
        return int(self._prices[places[max(0, at)]])

    def _now_ns(self) -> int:
        """Return the time of the last tick played; before the first one, of the first."""
        return int(self._times[max(0, self._exchange.position - 1)])

    # Serving ----------------------------------------------------------------------------------

    async def _serve(self, wanted: Wanted, request: web.Request) -> web.StreamResponse:
        self._heard_s = monotonic()
        if self._heard_s < self._away_until_s:
            return _broken(request)
        if not self._dialect.may_enter(request.headers):
            return _sent(self._dialect.not_entered())
        fields = await _fields(request)
        try:
            if wanted is Wanted.PLACE:
                return await self._place(request, fields)
            return _sent(await self._answer(wanted, fields, request.match_info))
        except Refused as refused:
            return _sent(refused.reply)

    async def _place(self, request: web.Request, fields: Mapping[str, str]) -> web.StreamResponse:
        asked = self._dialect.read_order(fields)
        self._asked += 1
        fault = self._faults[self._asked] if self._asked in self._faults else None
        if fault == "refuse":
            return _sent(self._dialect.refuse())
        if fault == "lost":
            return _broken(request)
        if fault == "error_lost":
            return _sent(self._dialect.error)
        if fault == "too_many":
            return _sent(self._dialect.too_many)
        order = self.book.place(
            **asked._asdict(),
            parts=3 if fault == "parts" else 1,
            refusal="RMS: margin exceeds" if fault == "reject" else "",
        )
        if fault is not None:
            self._fault_of[order.number] = fault
        await self._tell(order)
        if fault == "timeout":
            await asyncio.sleep(_NEVER_SECONDS)
        if fault == "error":
            return _sent(self._dialect.error)
        if fault == "slow":
            await asyncio.sleep(_SLOW_SECONDS)
        if fault == "restart":
            await self._go_away()
            return _broken(request)
        return _sent(self._dialect.done(order))

    async def _answer(
        self, wanted: Wanted, fields: Mapping[str, str], match: Mapping[str, str]
    ) -> Replied:
        dialect, every = self._dialect, list(self.book.orders.values())
        if wanted is Wanted.ORDERS:
            return dialect.orders(every)
        if wanted is Wanted.TRADES:
            return dialect.trades(every)
        if wanted is Wanted.POSITIONS:
            return dialect.positions()
        number = dialect.number(fields, match)
        if number not in self.book.orders:
            return dialect.nothing_to_change()
        order = self.book.orders[number]
        if wanted is Wanted.ORDER:
            return dialect.orders([order])
        if wanted is Wanted.ORDER_TRADES:
            return dialect.trades([order])
        if wanted is Wanted.CANCEL:
            changed = self.book.cancel(number)
        else:
            quantity, limit_e4 = dialect.read_change(fields, order)
            changed = self.book.modify(number, quantity=quantity, limit_e4=limit_e4)
        if not changed:
            return dialect.nothing_to_change()
        await self._tell(order)
        return dialect.done(order)

    async def _report(self, request: web.Request) -> web.StreamResponse:
        """Answer what no broker tells: how often each tag was sent, what of it was filled
        (shares, and Σ price × shares in 1/10 000 ₹), and what is held."""
        held = [
            {"symbol": self.book.instruments[at].symbol, "product": product, "quantity": shares}
            for (at, product), shares in self.book.held.items()
        ]
        tags = self.book.tags
        twice = sorted(tag for tag, times in tags.items() if times > 1)
        filled = {
            order.tag: [order.filled, order.turnover_e4] for order in self.book.orders.values()
        }
        return web.json_response(
            {"tags": dict(tags), "sent_twice": twice, "filled": filled, "held": held}
        )

    async def _go_away(self) -> None:
        self._away_until_s = monotonic() + _AWAY_SECONDS
        for listener in list(self._listeners):
            await listener.close()

    # Updates ----------------------------------------------------------------------------------

    async def _run(self, app: web.Application) -> AsyncIterator[None]:
        filling = asyncio.create_task(self._fill())
        yield
        filling.cancel()
        with suppress(asyncio.CancelledError):
            await filling
        for listener in list(self._listeners):
            await listener.close()

    async def _fill(self) -> None:
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            for order in self.book.turn():
                await self._tell(order)

    async def _tell(self, order: Placed) -> None:
        """Send an update of ``order`` as its fault has it."""
        text = self._dialect.update(order)
        fault = self._fault_of[order.number] if order.number in self._fault_of else None
        if fault == "silent":
            return
        if fault != "reorder":
            await self._send([text] * (3 if fault == "repeat" else 1))
            return
        texts = self._held_back.setdefault(order.number, [])
        texts.append(text)
        if order.status is not Status.OPEN:
            await self._send([*reversed(texts), texts[0]])

    async def _send(self, texts: Sequence[str]) -> None:
        for text in texts:
            if not self._dialect.own_updates_path:
                await self._exchange.tell(text)
                continue
            for listener in list(self._listeners):
                with suppress(ConnectionError):
                    await listener.send_str(text)

    async def _updates(self, request: web.Request) -> web.StreamResponse:
        if monotonic() < self._away_until_s:
            return _broken(request)
        if not self._dialect.may_enter(request.headers):
            return web.Response(status=401)
        listener = web.WebSocketResponse(heartbeat=None)
        await listener.prepare(request)
        self._listeners.add(listener)
        beating = asyncio.create_task(_beat(listener))
        try:
            async for _ in listener:
                pass
        finally:
            beating.cancel()
            self._listeners.discard(listener)
        return listener


async def _beat(listener: web.WebSocketResponse) -> None:
    with suppress(ConnectionError):
        while True:
            await listener.send_bytes(b"\0")
            await asyncio.sleep(_NUL_SECONDS)


async def _fields(request: web.Request) -> dict[str, str]:
    if request.content_type == "application/json":
        return dict(await request.json())
    return {name: str(value) for name, value in (await request.post()).items()}


def _sent(reply: Replied) -> web.Response:
    return web.json_response(reply.body, status=reply.status)


def _broken(request: web.Request) -> web.Response:
    """Break the connection instead of answering."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
