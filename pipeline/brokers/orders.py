"""The order gateway of every real broker: what carries its ``OrderForms`` over HTTP.

    senders    a few threads, so that an answer that does not come holds up nothing else; what
               leaves next says ``Outbox``
    asker      one thread: the whole book when it was asked for, the orders while one is open
    updates    one thread: the WebSocket; after each connect the book is asked for

An order is sent once. A POST or DELETE is never repeated; a GET is. What is told are totals, so
what comes twice, late or by two ways does no harm.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, monotonic_ns
from typing import TypeVar

import httpx

from pipeline.brokers.confirming import order_login
from pipeline.brokers.connection import UpdatesConnection
from pipeline.brokers.contract import BrokerBook, Order, OrderState, OrderUpdate
from pipeline.brokers.forms import OrderForms, Reply, Request, Unreadable, refused, unknown
from pipeline.brokers.kite.order_forms import KiteOrderForms
from pipeline.brokers.notices import masked
from pipeline.brokers.outbox import WAITING_MAX, Errand, Outbox
from pipeline.brokers.pacing import Pacing
from pipeline.brokers.smartapi.order_forms import SmartApiOrderForms
from pipeline.brokers.told import Told
from pipeline.errors import TickpipeError
from pipeline.settings import OrdersSettings, Settings

log = logging.getLogger("risk")

SENDERS = 4
GET_ATTEMPTS = 3
CLOSE_SECONDS_MAX = 2.0

_FORMS: dict[str, type[KiteOrderForms | SmartApiOrderForms]] = {
    "kite": KiteOrderForms,
    "smartapi": SmartApiOrderForms,
}
_Rows = TypeVar("_Rows")
# Nothing of a request has left when these are raised.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def open_gateway(
    settings: Settings,
    wake: Callable[[], None],
    is_exit: Callable[[str], bool],
    environment: Mapping[str, str],
) -> BrokerGateway:
    """Return the gateway to the broker of ``settings.orders``, which is not paper.

    ``wake`` is called from other threads whenever there is something to take; ``is_exit`` tells
    an exit by its order id. Raises SettingsError where real orders were not confirmed, and
    for a login that lacks something.
    """
    broker = settings.orders
    secrets = order_login(settings, environment)
    forms = _FORMS[broker.gateway](broker, settings.instruments, secrets)
    return BrokerGateway(broker, forms, wake, is_exit)


class BrokerGateway:
    """An ``OrderGateway`` over HTTP."""

    def __init__(
        self,
        broker: OrdersSettings,
        forms: OrderForms,
        wake: Callable[[], None],
        is_exit: Callable[[str], bool],
    ) -> None:
        self._broker = broker
        self._forms = forms
        self._wake = wake
        self._is_exit = is_exit
        self._heard: deque[OrderUpdate | BrokerBook] = deque()
        self._failed: Exception | None = None
        self._stopped = threading.Event()
        self._http = _client(broker, forms)
        # Guarded by the condition.
        self._changed = threading.Condition()
        self._outbox = Outbox(
            Pacing(
                broker.orders_per_second_max,
                broker.orders_per_minute_max,
                broker.reserved_for_exits,
            )
        )
        self._told = Told()
        self._asked = False
        self._threads = self._start()

    def _start(self) -> list[threading.Thread]:
        jobs = [self._send_waiting] * SENDERS + [self._ask_when_due, self._updates().run]
        threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        return threads

    def _updates(self) -> UpdatesConnection:
        broker, forms = self._broker, self._forms
        return UpdatesConnection(
            forms.updates_url,
            forms.updates_headers,
            forms.secrets,
            timeout_s=broker.connect_timeout_seconds,
            silence_s=broker.updates_silence_seconds_max,
            stopped=self._stopped,
            on_open=self.ask,
            on_text=self._on_text,
        )

    def __repr__(self) -> str:
        return (
            f"<BrokerGateway {self._forms!r} sent={self._outbox.sent} open={self._told.open_count} "
            f"waited_ms_max={self.waited_ns_max / 1e6:.0f}>"
        )

    @property
    def waited_ns_max(self) -> int:
        """The longest that the pacing kept a request."""
        return self._outbox.waited_ns_max

    # What risk calls --------------------------------------------------------------------------

    def send(self, order: Order) -> None:
        is_exit = self._is_exit(order.order_id)
        with self._changed:
            if self._outbox.put(order, is_exit=is_exit, now_ns=monotonic_ns()):
                self._changed.notify_all()
                return
        self._hear(refused(order.order_id, f"not sent: {WAITING_MAX} others wait", ()))

    def restore(self, order: Order, state: OrderState, filled: int, turnover_e4: int) -> None:
        """Follow an order that a risk which died may have sent; it is not sent again."""
        with self._changed:
            self._told.restore(order.order_id, state)

    def cancel(self, order_id: str, broker_id: str) -> None:
        with self._changed:
            withdrawn = self._outbox.withdraw(order_id)
            if not withdrawn:
                known = broker_id or self._told.broker_id(order_id)
                self._outbox.put_cancel(order_id, known, monotonic_ns())
            self._changed.notify_all()
        if withdrawn:
            self._hear(OrderUpdate(order_id, OrderState.CANCELLED, text="it had not been sent"))

    def ask(self) -> None:
        with self._changed:
            self._asked = True
            self._changed.notify_all()

    def take(self) -> Sequence[OrderUpdate | BrokerBook]:
        if self._failed is not None:
            raise TickpipeError(f"the order gateway broke down: {self._failed!r}") from self._failed
        heard: list[OrderUpdate | BrokerBook] = []
        while self._heard:
            heard.append(self._heard.popleft())
        return heard

    def close(self) -> None:
        self._stopped.set()
        with self._changed:
            dropped = self._outbox.drop()
            self._changed.notify_all()
        if dropped:
            log.error("%d orders and cancels were not sent: closed", dropped)
        until = monotonic() + CLOSE_SECONDS_MAX
        for thread in self._threads:
            thread.join(max(0.0, until - monotonic()))
        if not any(thread.is_alive() for thread in self._threads):
            self._http.close()  # else the last thread's answer ends with the process
        log.info("closed: %r", self)

    # Threads ----------------------------------------------------------------------------------

    def _guarded(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - a thread: take() raises it
            self._failed = error
            self._wake()

    def _hear(self, *news: OrderUpdate | BrokerBook) -> None:
        self._heard.extend(news)
        if news:
            self._wake()

    # Sending ----------------------------------------------------------------------------------

    def _send_waiting(self) -> None:
        while not self._stopped.is_set():
            errand = self._next_errand()
            if errand is None:
                continue
            if errand.order is not None:
                self._place(errand.order)
            else:
                self._cancel(errand.order_id, errand.broker_id)

    def _next_errand(self) -> Errand | None:
        """Return what may leave now; None after a wait, because of which all may be different."""
        with self._changed:
            now_ns = monotonic_ns()
            wait_ns = self._outbox.wait_ns(now_ns)
            if wait_ns == 0:
                return self._outbox.take(now_ns)
            if not self._stopped.is_set():
                self._changed.wait(None if wait_ns is None else wait_ns / 1e9)
            return None

    def _place(self, order: Order) -> None:
        order_id, forms = order.order_id, self._forms
        with self._changed:
            self._told.leaves(order_id)
        try:
            update = forms.placed(order_id, self._reply(forms.place(order)))
        except _NOT_SENT as error:
            update = refused(order_id, f"not sent: {_words(error)}", forms.secrets)
        except httpx.HTTPError as error:
            update = unknown(order_id, f"no answer: {_words(error)}", forms.secrets)
        self._learn(update)
        with self._changed:
            self._outbox.answered(order_id)
            self._changed.notify_all()
        if update.state is OrderState.UNKNOWN:
            log.warning("order %s is UNKNOWN, asking the broker: %s", order_id, update.text)
            self.ask()

    def _cancel(self, order_id: str, broker_id: str) -> None:
        broker_id = broker_id or self._broker_id(order_id)
        if not broker_id:
            log.warning("order %s cannot be cancelled: the broker's id is not known", order_id)
            self.ask()
            return
        try:
            why = self._forms.cancel_refused(self._reply(self._forms.cancel(broker_id)))
        except httpx.HTTPError as error:
            why = f"no answer: {_words(error)}"
        if why:
            why = masked(why, self._forms.secrets)
            log.warning("cancel of order %s: %s", order_id, why)
        self._poll()  # the order's own state tells what came of it

    def _broker_id(self, order_id: str) -> str:
        """Return the broker's id of an order that may still be under way; "" = not found."""
        with self._changed:
            if broker_id := self._told.broker_id(order_id):
                return broker_id
        self._poll()
        with self._changed:
            return self._told.broker_id(order_id)

    def _reply(self, request: Request) -> Reply:
        """Make one request. Raises httpx.HTTPError."""
        response = self._http.request(
            request.method, request.path, data=request.form, json=request.json
        )
        return Reply(response.status_code, response.content)

    # Asking -----------------------------------------------------------------------------------

    def _ask_when_due(self) -> None:
        while not self._stopped.is_set():
            with self._changed:
                self._changed.wait_for(
                    lambda: self._asked or self._stopped.is_set(), self._broker.poll_seconds
                )
                asked, self._asked = self._asked, False
                is_open = self._told.open_count > 0
            if self._stopped.is_set():
                return
            if asked:
                self._ask_for_book()
            elif is_open:
                self._poll()

    def _ask_for_book(self) -> None:
        """Get the whole book; wait first for the orders that were handed over before.

        A book that was written before an order that is known by now would lack it.
        """
        with self._changed:
            mark, asked_ns = self._outbox.mark(), monotonic_ns()
            self._changed.wait_for(
                lambda: self._stopped.is_set() or self._outbox.answered_before(mark)
            )
        orders = self._get(self._forms.orders(), self._forms.read_orders)
        positions = self._get(self._forms.positions(), self._forms.read_positions)
        if orders is None or positions is None:
            return  # told; risk asks again while it does not know
        for update in orders:
            self._note(update)
        self._hear(BrokerBook(asked_ns=asked_ns, orders=orders, positions=positions))

    def _poll(self) -> None:
        orders = self._get(self._forms.orders(), self._forms.read_orders)
        for update in orders or ():
            self._learn(update)

    def _get(self, request: Request, read: Callable[[Reply], _Rows]) -> _Rows | None:
        """Return what a GET says, after some attempts; None = nothing that can be read."""
        why = ""
        for _ in range(GET_ATTEMPTS):
            try:
                return read(self._reply(request))
            except (httpx.HTTPError, Unreadable) as error:
                why = masked(_words(error), self._forms.secrets)
            if self._stopped.wait(0.2):
                return None
        log.warning("%s does not answer %s: %s", self._forms.name, request.path, why)
        return None

    def _on_text(self, text: str) -> None:
        update = self._forms.read_update(text)
        if update is not None:
            self._learn(update)

    # What is known ----------------------------------------------------------------------------

    def _learn(self, update: OrderUpdate) -> None:
        """Tell what is new."""
        if self._note(update):
            self._hear(update)

    def _note(self, update: OrderUpdate) -> bool:
        """Remember what ``update`` says; False if it is what was said last of that order."""
        with self._changed:
            return self._told.note(update)


def _client(broker: OrdersSettings, forms: OrderForms) -> httpx.Client:
    return httpx.Client(
        base_url=broker.url,
        headers=dict(forms.headers),
        timeout=httpx.Timeout(
            broker.answer_timeout_seconds, connect=broker.connect_timeout_seconds
        ),
        trust_env=False,
    )


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
