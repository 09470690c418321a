"""SmartAPI's order API: the requests, and what the answers mean. Pure.

Some facts:
- Every value is text, in both directions. HTTP is 200 for most refusals; the errorcode tells.
- A refusal is proven by the codes below: the login, or a request that was looked at and is wrong.
  They are in the broker's published list of error codes; AB4036, which came later, is in the help
  of a vendor (stocksdeveloper.in). A code that nobody published proves nothing.
  AB1004 ("something went wrong"), AB2000 and AB2001 (internal errors), an empty body and a page
  that is not JSON (above the rate limit) prove nothing.
- Updates come over a WebSocket of their own, at least a NUL every 10 s; their fields may be stale.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

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
from pipeline.brokers.notices import masked
from pipeline.brokers.smartapi.session import auth_headers
from pipeline.records import IST
from pipeline.settings import Instrument, OrdersSettings, Secrets

ROOT = "/rest/secure/angelbroking/order/v1"
VARIETY = "NORMAL"

STATES = {
    "complete": OrderState.FILLED,
    "cancelled": OrderState.CANCELLED,
    "rejected": OrderState.REJECTED,
    "expired": OrderState.EXPIRED,
}  # with any other status the broker has it and it may be filled

PROVEN = frozenset(
    {
        "AG8001",  # invalid token
        "AG8002",  # token expired
        "AG8003",  # token missing
        "AB1006",  # client is blocked for trading
        "AB1008",  # invalid order variety
        "AB1009",  # symbol not found
        "AB1011",  # client not logged in
        "AB1012",  # invalid product type
        "AB4008",  # ordertag too long
        "AB4036",  # cautionary listing
    }
)
# When an order changed at the exchange, or came there, or changed at the broker: the first it has.
_TIMES = ("exchorderupdatetime", "exchtime", "updatetime")
_TIME_FORMS = ("%d-%b-%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S")


class SmartApiOrderForms:
    """The ``OrderForms`` of SmartAPI."""

    name = "SmartAPI"

    def __init__(
        self, broker: OrdersSettings, instruments: Sequence[Instrument], secrets: Secrets
    ) -> None:
        login = auth_headers(secrets)
        self._places = Places(instruments)
        self.updates_url = broker.updates_url
        self.updates_headers: tuple[str, ...] = tuple(
            f"{name}: {value}" for name, value in login.items()
        )
        self.secrets: tuple[str, ...] = tuple(
            value.removeprefix("Bearer ") for value in login.values()
        )
        self._address = broker.url
        self._headers = {
            "Authorization": login["Authorization"],
            "X-PrivateKey": login["x-api-key"],
            "X-UserType": "USER",
            "X-SourceID": "WEB",
            "X-ClientLocalIP": broker.local_ip,
            "X-ClientPublicIP": broker.public_ip,
            "X-MACAddress": broker.mac_address,
            "Accept": "application/json",
        }

    def __repr__(self) -> str:
        return f"SmartApiOrderForms({self._address})"

    @property
    def headers(self) -> Mapping[str, str]:
        return self._headers

    # Requests ---------------------------------------------------------------------------------

    def place(self, order: Order) -> Request:
        instrument = self._places.instruments[order.instrument]
        body = {
            "variety": VARIETY,
            "tradingsymbol": instrument.symbol,
            "symboltoken": instrument.token,
            "transactiontype": order.side.value,
            "exchange": instrument.exchange,
            "ordertype": "LIMIT" if order.limit_e4 else "MARKET",
            "producttype": instrument.product_type,
            "duration": "DAY",
            "price": limit_text(order, instrument) if order.limit_e4 else "0",
            "squareoff": "0",
            "stoploss": "0",
            "quantity": str(order.quantity),
            "ordertag": order.order_id,
        }
        return Request("POST", f"{ROOT}/placeOrder", json=body)

    def cancel(self, broker_id: str) -> Request:
        body = {"variety": VARIETY, "orderid": broker_id}
        return Request("POST", f"{ROOT}/cancelOrder", json=body)

    def orders(self) -> Request:
        return Request("GET", f"{ROOT}/getOrderBook")

    def positions(self) -> Request:
        return Request("GET", f"{ROOT}/getPosition")

    # Answers ----------------------------------------------------------------------------------

    def placed(self, order_id: str, reply: Reply) -> OrderUpdate:
        return proven_by(reply, _answer, order_id, "orderid", self.secrets)

    def cancel_refused(self, reply: Reply) -> str:
        return why_not_cancelled(reply, _answer, self.secrets)

    def read_orders(self, reply: Reply) -> list[OrderUpdate]:
        return [self._order(row) for row in rows_of(_answer(reply).data)]

    def read_positions(self, reply: Reply) -> list[BrokerPosition]:
        return [self._position(row) for row in rows_of(_answer(reply).data)]

    def read_update(self, text: str) -> OrderUpdate | None:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return None
        data = message.get("orderData") if isinstance(message, dict) else None
        try:
            return self._order(data) if isinstance(data, dict) and data.get("orderid") else None
        except Unreadable:
            return None  # the poll tells what it was

    def _order(self, row: Mapping[str, Any]) -> OrderUpdate:
        status = str(row.get("orderstatus") or field_of(row, "status")).lower()
        said = [str(row[name]) for name in ("text",) if row.get(name)]
        return update_of(
            state=STATES[status] if status in STATES else OrderState.ACCEPTED,
            tag=row.get("ordertag"),
            broker_id=field_of(row, "orderid"),
            instrument=self._find(row),
            filled=field_of(row, "filledshares") or 0,
            average=field_of(row, "averageprice") or 0,
            text=masked(": ".join([status, *said]), self.secrets),
            ts_event_ns=_time_ns(first_of(row, _TIMES)),
        )

    def _position(self, row: Mapping[str, Any]) -> BrokerPosition:
        at = self._find(row)
        return BrokerPosition(
            symbol=self._places.symbol(at, field_of(row, "tradingsymbol")),
            instrument=at,
            product=str(field_of(row, "producttype")),
            quantity=whole(field_of(row, "netqty")),
        )

    def _find(self, row: Mapping[str, Any]) -> int | None:
        return self._places.find(
            row.get("exchange"), row.get("symboltoken"), row.get("tradingsymbol")
        )


def _answer(reply: Reply) -> Answer:
    body = reply.read()
    # The two servers of the broker spell the name of the error's code differently.
    code = str(body.get("errorcode") or body.get("errorCode"))
    return Answer(
        body,
        succeeded=reply.status == 200 and body.get("status") is True,
        proves_refusal=code in PROVEN and reply.status < 429,
        text=f"{code} (HTTP {reply.status}): {body.get('message')}",
    )


def _time_ns(text: str) -> int:
    for form in _TIME_FORMS:
        try:
            moment = datetime.strptime(text, form)
        except ValueError:
            continue
        return int(moment.replace(tzinfo=IST).timestamp()) * 1_000_000_000
    return 0
