"""Kite's order API: the requests, and what the answers mean. Pure.

Some facts:
- A MARKET order without market_protection is refused since 2026; −1 lets the broker choose.
- Placed is not accepted: the margin check comes after the answer, and shows in the order's status.
- A refusal by an exception's name proves that the order was not taken where the broker looked at
  the request and said no. NetworkException, DataException and GeneralException tell of trouble
  behind the API; an OrderException may tell that the order management did not answer in time, and
  then asks to look into the order book.
- Updates are text frames of the ticker's WebSocket, also of a connection without subscriptions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote_plus, urlencode

from pipeline.brokers.contract import BrokerPosition, Order, OrderState, OrderUpdate
from pipeline.brokers.forms import (
    Answer,
    Places,
    Reply,
    Request,
    Unreadable,
    field_of,
    first_of,
    limit_text,
    proven_by,
    rows_of,
    update_of,
    whole,
    why_not_cancelled,
)
from pipeline.brokers.kite.session import login_query
from pipeline.brokers.notices import masked
from pipeline.records import IST
from pipeline.settings import Instrument, OrdersSettings, Secrets

VARIETY = "regular"
PRODUCTS = {"INTRADAY": "MIS", "DELIVERY": "CNC", "CARRYFORWARD": "NRML"}
_PRODUCT_OF = {theirs: ours for ours, theirs in PRODUCTS.items()}

STATES = {
    "COMPLETE": OrderState.FILLED,
    "CANCELLED": OrderState.CANCELLED,
    "CANCELLED AMO": OrderState.CANCELLED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
}  # with any other status the broker has it and it may be filled

_PROVEN = {
    "InputException": 400,
    "TokenException": 403,
    "PermissionException": 403,
    "UserException": 403,
    "MarginException": 0,  # with any HTTP status
    "HoldingException": 0,
    "OrderException": 0,
}
# When an order changed at the exchange, or came there, or came to the broker: the first it has.
_TIMES = ("exchange_update_timestamp", "exchange_timestamp", "order_timestamp")
_IN_DOUBT = ("timed out", "timeout", "order book", "orderbook", "try again", "try after")


class KiteOrderForms:
    """The ``OrderForms`` of Kite."""

    name = "Kite"

    def __init__(
        self, broker: OrdersSettings, instruments: Sequence[Instrument], secrets: Secrets
    ) -> None:
        login = login_query(secrets)
        self._broker = broker
        self._places = Places(instruments)
        self._token = f"token {login['api_key']}:{login['access_token']}"
        self.updates_headers: tuple[str, ...] = ("X-Kite-Version: 3",)
        joint = "&" if "?" in broker.updates_url else "?"
        self.updates_url = f"{broker.updates_url}{joint}{urlencode(login)}"
        self.secrets: tuple[str, ...] = (*login.values(), *map(quote_plus, login.values()))

    def __repr__(self) -> str:
        return f"KiteOrderForms({self._broker.url})"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"X-Kite-Version": "3", "Authorization": self._token}

    # Requests ---------------------------------------------------------------------------------

    def place(self, order: Order) -> Request:
        instrument = self._places.instruments[order.instrument]
        form = {
            "exchange": instrument.exchange,
            "tradingsymbol": instrument.symbol,
            "transaction_type": order.side.value,
            "quantity": str(order.quantity),
            "product": PRODUCTS[instrument.product_type],
            "order_type": "LIMIT" if order.limit_e4 else "MARKET",
            "validity": "DAY",
            "tag": order.order_id,
        }
        if order.limit_e4:
            form["price"] = limit_text(order, instrument)
        else:
            form["market_protection"] = str(self._broker.market_protection)
        if self._broker.algo_id:
            form["algo_id"] = self._broker.algo_id
        return Request("POST", f"/orders/{VARIETY}", form=form)

    def cancel(self, broker_id: str) -> Request:
        return Request("DELETE", f"/orders/{VARIETY}/{broker_id}")

    def orders(self) -> Request:
        return Request("GET", "/orders")

    def positions(self) -> Request:
        return Request("GET", "/portfolio/positions")

    # Answers ----------------------------------------------------------------------------------

    def placed(self, order_id: str, reply: Reply) -> OrderUpdate:
        return proven_by(reply, _answer, order_id, "order_id", self.secrets)

    def cancel_refused(self, reply: Reply) -> str:
        return why_not_cancelled(reply, _answer, self.secrets)

    def read_orders(self, reply: Reply) -> list[OrderUpdate]:
        return [self._order(row) for row in rows_of(_answer(reply).data)]

    def read_positions(self, reply: Reply) -> list[BrokerPosition]:
        return [self._position(row) for row in rows_of(field_of(_answer(reply).data, "net"))]

    def read_update(self, text: str) -> OrderUpdate | None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(message, dict) or message.get("type") != "order":
            return None
        data = message.get("data")
        try:
            return self._order(data) if isinstance(data, dict) else None
        except Unreadable:
            return None  # the poll tells what it was

    def _order(self, row: Mapping[str, Any]) -> OrderUpdate:
        status = str(field_of(row, "status"))
        said = [str(row[name]) for name in ("status_message",) if row.get(name)]
        return update_of(
            state=STATES[status] if status in STATES else OrderState.ACCEPTED,
            tag=row.get("tag"),
            broker_id=field_of(row, "order_id"),
            instrument=self._find(row),
            filled=field_of(row, "filled_quantity"),
            average=field_of(row, "average_price"),
            text=masked(": ".join([status, *said]), self.secrets),
            ts_event_ns=_time_ns(first_of(row, _TIMES)),
        )

    def _position(self, row: Mapping[str, Any]) -> BrokerPosition:
        product, at = str(field_of(row, "product")), self._find(row)
        return BrokerPosition(
            symbol=self._places.symbol(at, field_of(row, "tradingsymbol")),
            instrument=at,
            product=_PRODUCT_OF[product] if product in _PRODUCT_OF else product,
            quantity=whole(field_of(row, "quantity")),
        )

    def _find(self, row: Mapping[str, Any]) -> int | None:
        return self._places.find(
            row.get("exchange"), row.get("instrument_token"), row.get("tradingsymbol")
        )


def _proves_refusal(status: int, answer: Mapping[str, Any]) -> bool:
    name, words = str(answer.get("error_type")), str(answer.get("message")).lower()
    if name not in _PROVEN or status == 429:
        return False
    if any(doubt in words for doubt in _IN_DOUBT):
        return False
    return _PROVEN[name] in (0, status)


def _answer(reply: Reply) -> Answer:
    body = reply.read()
    return Answer(
        body,
        succeeded=reply.status == 200 and body.get("status") == "success",
        proves_refusal=_proves_refusal(reply.status, body),
        text=f"{body.get('error_type')} (HTTP {reply.status}): {body.get('message')}",
    )


def _time_ns(text: str) -> int:
    try:
        moment = datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return 0
    return int(moment.replace(tzinfo=IST).timestamp()) * 1_000_000_000
