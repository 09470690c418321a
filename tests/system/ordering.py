"""An order gateway at the simulator, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from pipeline.brokers.contract import BrokerBook, Order, OrderState, OrderUpdate, Side
from pipeline.brokers.kite.order_forms import KiteOrderForms
from pipeline.brokers.orders import BrokerGateway
from pipeline.brokers.smartapi.order_forms import SmartApiOrderForms
from pipeline.settings import SIMULATOR_SECRETS, Instrument, OrdersSettings, Secrets
from pipeline.simulator.broker import REPORT_PATH
from tests.system.simulating import SECONDS_MAX, Simulator

FORMS: dict[str, type[KiteOrderForms | SmartApiOrderForms]] = {
    "kite": KiteOrderForms,
    "smartapi": SmartApiOrderForms,
}
UPDATES = {"kite": "/", "smartapi": "/smart-order-update"}


def broker_settings(broker: str, port: int, **changes: Any) -> OrdersSettings:
    fields = {
        "gateway": broker,
        "url": f"http://127.0.0.1:{port}",
        "updates_url": f"ws://127.0.0.1:{port}{UPDATES[broker]}",
        "credentials": "simulator",
        "answer_timeout_seconds": 1.0,
        "poll_seconds": 0.1,
    }
    return OrdersSettings.model_validate(fields | changes)


def trading_at(simulator: Simulator, broker: str, **more: object) -> list[str]:
    """Return the options of a run whose ticks and orders are those of ``simulator``."""
    changes = {
        "feed.broker": broker,
        "feed.url": simulator.url,
        "feed.credentials": "simulator",
        "feed.mode": "full",
        "risk.signal_ttl_ms": 5_000,
        "orders.gateway": broker,
        "orders.url": f"http://127.0.0.1:{simulator.port}",
        "orders.updates_url": f"ws://127.0.0.1:{simulator.port}{UPDATES[broker]}",
        "orders.credentials": "simulator",
        "orders.answer_timeout_seconds": 0.5,
        "orders.poll_seconds": 0.2,
        **more,
    }
    return [part for name, value in changes.items() for part in ("--set", f"{name}={value}")]


def make_order(number: int = 1, **changes: Any) -> Order:
    fields: dict[str, Any] = {
        "order_id": f"260105N{number:04}E0",
        "instrument": 0,
        "symbol": "A",
        "side": Side.BUY,
        "quantity": 75,
        "price_e4": 1_000_000,
        "position_id": number,
        "reason": "test",
        "tick_seq": 1,
        "ts_event_ns": 1,
    }
    return Order(**(fields | changes))


class Desk:
    """What risk does with a gateway: it sends, and keeps what it heard."""

    def __init__(
        self,
        broker: str,
        instruments: Sequence[Instrument],
        port: int,
        secrets: Secrets = SIMULATOR_SECRETS,
        **changes: Any,
    ) -> None:
        self.port = port
        self.settings = broker_settings(broker, port, **changes)
        forms = FORMS[broker](self.settings, instruments, secrets)
        self.wakes = 0
        self.gateway = BrokerGateway(self.settings, forms, self._wake, lambda tag: "X" in tag)
        self.updates: list[OrderUpdate] = []
        self.books: list[BrokerBook] = []

    def _wake(self) -> None:
        self.wakes += 1

    def hear(self) -> None:
        for each in self.gateway.take():
            if isinstance(each, BrokerBook):
                self.books.append(each)
                self.updates += each.orders
            else:
                self.updates.append(each)

    def until(self, true: Callable[[], bool], what: str = "") -> None:
        """Hear until it is true."""
        deadline = time.monotonic() + SECONDS_MAX
        while not true():
            assert time.monotonic() < deadline, f"waited in vain: {what} {self.updates}"
            time.sleep(0.005)
            self.hear()

    def of(self, order: Order) -> list[OrderUpdate]:
        return [update for update in self.updates if update.order_id == order.order_id]

    def states(self, order: Order) -> set[OrderState]:
        return {update.state for update in self.of(order)}

    def until_state(self, order: Order, state: OrderState) -> OrderUpdate:
        self.until(lambda: state in self.states(order), f"{order.order_id} {state}")
        return next(update for update in self.of(order) if update.state is state)

    def ask(self) -> BrokerBook:
        """Ask for a book and wait for one that was asked for after now."""
        asked_ns = time.monotonic_ns()
        self.gateway.ask()
        self.until(lambda: any(book.asked_ns >= asked_ns for book in self.books), "a book")
        return next(book for book in self.books if book.asked_ns >= asked_ns)


def report(port: int) -> dict[str, Any]:
    """Return what the simulated broker tells besides: tags, and what is held."""
    found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{port}{REPORT_PATH}").json()
    return found
