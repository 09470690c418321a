"""A broker for orders that misbehaves, in the process of the test: it outlives the risk it kills.

It accepts, fills in parts, refuses, answers nothing although it accepted, loses orders and
answers, and repeats and reorders what it tells. Some exits with a limit rest until they are
cancelled; a cancel is lost, comes late, or after a fill. ``Client`` is the gateway that risk holds.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.connection import Connection
from random import Random

from pipeline.brokers.contract import (
    BrokerBook,
    BrokerPosition,
    Order,
    OrderState,
    OrderUpdate,
    Side,
)
from pipeline.risk.numbering import is_exit_id
from pipeline.settings import Instrument

TURN_SECONDS = 0.0005


class Exchange:
    """The broker's side. Thread-safe; one thread serves each client."""

    def __init__(self, instruments: Sequence[Instrument], seed: int) -> None:
        self.tags: Counter[str] = Counter()
        self.book: dict[str, OrderUpdate] = {}
        self.told = Counter[str]()
        self._instruments = instruments
        self._luck = Random(seed)
        self._orders: dict[str, Order] = {}
        self._resting: set[str] = set()  # tags of exits whose price ran away
        self._cancels: set[str] = set()  # tags of which a cancel waits
        self._lock = threading.Lock()

    @property
    def held(self) -> list[int]:
        """Shares by instrument; long > 0."""
        held = [0] * len(self._instruments)
        for tag, update in self.book.items():
            order = self._orders[tag]
            held[order.instrument] += update.filled if order.side is Side.BUY else -update.filled
        return held

    def serve(self, client: Connection) -> threading.Thread:
        """Serve a client until it dies; what it sent before that is served."""
        thread = threading.Thread(target=self._serve, args=(client,))
        thread.start()
        return thread

    def _serve(self, client: Connection) -> None:
        outgoing: list[OrderUpdate | BrokerBook] = []
        alive = True
        while alive:
            try:
                while client.poll(TURN_SECONDS):
                    with self._lock:
                        outgoing += self._answer(client.recv())
            except (EOFError, OSError):
                alive = False
            with self._lock:
                outgoing += self._fill_something()
                self._luck.shuffle(outgoing)
            try:
                for update in outgoing:
                    client.send(update)
            except OSError:
                alive = False
            outgoing = []
        client.close()

    def _answer(self, request: tuple[str, object]) -> list[OrderUpdate | BrokerBook]:
        what, value = request
        if what == "ask":
            assert isinstance(value, int)
            return [] if self._happens(10) else [self._whole_book(value)]
        if what == "cancel":
            return self._cancel(str(value))
        assert isinstance(value, Order)
        self.tags[value.order_id] += 1
        update = OrderUpdate(
            order_id=value.order_id,
            state=OrderState.ACCEPTED,
            broker_id=f"B{len(self.tags)}",
            instrument=value.instrument,
        )
        if self._happens(5):
            self.told["lost"] += 1
            return [update._replace(state=OrderState.UNKNOWN, broker_id="")]
        self._orders[value.order_id] = value
        if self._happens(8):
            self.told["refused"] += 1
            self.book[value.order_id] = update._replace(state=OrderState.REJECTED, text="no margin")
            return self._told(self.book[value.order_id])
        self.book[value.order_id] = update
        if value.limit_e4 and is_exit_id(value.order_id) and self._happens(40):
            self.told["rests"] += 1
            self._resting.add(value.order_id)
        if self._happens(10):
            self.told["timed out"] += 1
            return [update._replace(state=OrderState.UNKNOWN, broker_id="")]
        return self._told(update)

    def _cancel(self, tag: str) -> list[OrderUpdate | BrokerBook]:
        """Cancel an order: now, later or never; of some a part is filled before."""
        if tag not in self.book or self.book[tag].state not in _OPEN or self._happens(20):
            return []
        if self._happens(40):
            self.told["cancelled late"] += 1
            self._cancels.add(tag)
            return []
        told = self._fill(tag) if self._happens(30) else []
        if self.book[tag].state in _OPEN:
            self.told["cancelled"] += 1
            self.book[tag] = self.book[tag]._replace(state=OrderState.CANCELLED)
            told += self._told(self.book[tag])
        return told

    def _fill_something(self) -> list[OrderUpdate | BrokerBook]:
        """Fill a part of every open order, or nothing of it, and do what waits of the cancels."""
        told: list[OrderUpdate | BrokerBook] = []
        for tag, update in list(self.book.items()):
            if tag in self._cancels and self._happens(20):
                self._cancels.remove(tag)
                told += self._cancel(tag)
            elif update.state in _OPEN and tag not in self._resting and not self._happens(30):
                told += self._fill(tag)
        return told

    def _fill(self, tag: str) -> list[OrderUpdate | BrokerBook]:
        """Fill all of an open order, or a part."""
        update, order = self.book[tag], self._orders[tag]
        left = order.quantity - update.filled
        shares = left if self._happens(50) else self._luck.randint(1, left)
        price_e4 = order.price_e4 + self._luck.randint(-500, 500)
        self.book[tag] = update._replace(
            state=OrderState.FILLED if shares == left else OrderState.PARTIALLY_FILLED,
            filled=update.filled + shares,
            turnover_e4=update.turnover_e4 + shares * price_e4,
        )
        self.told["more closed than held"] += self.held[order.instrument] < 0
        return self._told(self.book[tag])

    def _told(self, update: OrderUpdate) -> list[OrderUpdate | BrokerBook]:
        """Return an update as it arrives: once, twice or not at all."""
        if self._happens(15):
            self.told["not told"] += 1
            return []
        return [update, update] if self._happens(20) else [update]

    def _whole_book(self, asked_ns: int) -> BrokerBook:
        positions = [
            BrokerPosition(
                symbol=instrument.symbol,
                instrument=at,
                product=instrument.product_type,
                quantity=self.held[at],
            )
            for at, instrument in enumerate(self._instruments)
        ]
        return BrokerBook(asked_ns=asked_ns, orders=list(self.book.values()), positions=positions)

    def _happens(self, percent: int) -> bool:
        return self._luck.random() * 100 < percent


_OPEN = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)


class Client:
    """The OrderGateway of the exchange: a pipe."""

    def __init__(self, exchange: Connection) -> None:
        self._exchange = exchange

    def send(self, order: Order) -> None:
        self._exchange.send(("send", order))

    def cancel(self, order_id: str, broker_id: str) -> None:
        self._exchange.send(("cancel", order_id))

    def ask(self) -> None:
        self._exchange.send(("ask", time.monotonic_ns()))

    def take(self) -> Sequence[OrderUpdate | BrokerBook]:
        heard = []
        while self._exchange.poll():
            heard.append(self._exchange.recv())
        return heard

    def close(self) -> None:
        self._exchange.close()
