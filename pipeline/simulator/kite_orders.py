"""Kite's side of its order API. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline.brokers.kite.order_forms import PRODUCTS
from pipeline.brokers.kite.session import login_query
from pipeline.records import IST, PRICE_SCALE
from pipeline.settings import SIMULATOR_SECRETS
from pipeline.simulator.order_book import OrderBook, Placed
from pipeline.simulator.order_dialect import Asked, Refused, Replied, Wanted

_HTTP = {
    "InputException": 400,
    "TokenException": 403,
    "NetworkException": 503,
    "OrderException": 500,
    "GeneralException": 500,
    "MarginException": 400,
}


class KiteOrders:
    """The ``OrderDialect`` of Kite."""

    own_updates_path = ""  # they are text frames of the ticker
    error = Replied(
        503,
        {
            "status": "error",
            "error_type": "NetworkException",
            "message": "Gateway timed out, please try again",
        },
    )
    too_many = Replied(
        429, {"status": "error", "error_type": "NetworkException", "message": "Too many requests"}
    )

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._at = {(row.exchange, row.symbol): at for at, row in enumerate(book.instruments)}
        login = login_query(SIMULATOR_SECRETS)
        self._login = f"token {login['api_key']}:{login['access_token']}"

    def routes(self) -> list[tuple[str, str, Wanted]]:
        return [
            ("POST", "/orders/{variety}", Wanted.PLACE),
            ("PUT", "/orders/{variety}/{number}", Wanted.MODIFY),
            ("DELETE", "/orders/{variety}/{number}", Wanted.CANCEL),
            ("GET", "/orders", Wanted.ORDERS),
            ("GET", "/orders/{number}", Wanted.ORDER),
            ("GET", "/orders/{number}/trades", Wanted.ORDER_TRADES),
            ("GET", "/trades", Wanted.TRADES),
            ("GET", "/portfolio/positions", Wanted.POSITIONS),
        ]

    def may_enter(self, headers: Mapping[str, str]) -> bool:
        return "Authorization" in headers and headers["Authorization"] == self._login

    def not_entered(self) -> Replied:
        return _error("TokenException", "Incorrect `api_key` or `access_token`.")

    def read_order(self, fields: Mapping[str, str]) -> Asked:
        missing = [name for name in _NEEDED if name not in fields]
        if missing:
            raise Refused(_error("InputException", f"Missing or empty field `{missing[0]}`"))
        place = fields["exchange"], fields["tradingsymbol"]
        if place not in self._at:
            raise Refused(_error("InputException", "The instrument you are placing is unknown"))
        if fields["order_type"] == "MARKET" and float(fields.get("market_protection", 0)) == 0:
            raise Refused(
                _error("InputException", "Market orders without market protection are not allowed")
            )
        if fields["product"] not in PRODUCTS.values():
            raise Refused(_error("InputException", "Invalid `product`."))
        tag = fields.get("tag", "")
        if len(tag) > 20 or (tag and not tag.isalnum()):
            raise Refused(_error("InputException", "Invalid `tag`."))
        return Asked(
            tag=tag,
            instrument=self._at[place],
            buys=fields["transaction_type"] == "BUY",
            quantity=_quantity(fields["quantity"]),
            limit_e4=_limit_e4(fields),
            product=fields["product"],
        )

    def read_change(self, fields: Mapping[str, str], order: Placed) -> tuple[int, int]:
        quantity = _quantity(fields["quantity"]) if "quantity" in fields else order.quantity
        return quantity, (_limit_e4(fields) if "price" in fields else order.limit_e4)

    def number(self, fields: Mapping[str, str], match: Mapping[str, str]) -> str:
        return match["number"]

    # Answers ----------------------------------------------------------------------------------

    def done(self, order: Placed) -> Replied:
        return _success({"order_id": order.number})

    def refuse(self) -> Replied:
        return _error("MarginException", "Insufficient funds. Required margin is 1.00.")

    def nothing_to_change(self) -> Replied:
        return _error("OrderException", "Order cannot be cancelled as it is being processed.")

    def orders(self, orders: list[Placed]) -> Replied:
        return _success([self.row(order) for order in orders])

    def trades(self, orders: list[Placed]) -> Replied:
        return _success([row for order in orders for row in self._trades(order)])

    def positions(self) -> Replied:
        rows = [
            {
                **self._place(at),
                "product": product,
                "quantity": shares,
                "overnight_quantity": 0,
                "multiplier": 1,
            }
            for (at, product), shares in self._book.held.items()
        ]
        return _success({"net": rows, "day": rows})

    def update(self, order: Placed) -> str:
        return json.dumps({"type": "order", "data": self.row(order)})

    def row(self, order: Placed) -> dict[str, Any]:
        left = order.quantity - order.filled
        return {
            "placed_by": "SIM0001",
            "order_id": order.number,
            "exchange_order_id": f"1{order.number}",
            "parent_order_id": None,
            "status": order.status.value,
            "status_message": order.message or None,
            "order_timestamp": _time(order.placed_ns),
            "exchange_timestamp": _time(order.placed_ns),
            "exchange_update_timestamp": _time(order.changed_ns),
            "variety": "regular",
            "modified": False,
            **self._place(order.instrument),
            "order_type": "LIMIT" if order.limit_e4 else "MARKET",
            "transaction_type": "BUY" if order.buys else "SELL",
            "validity": "DAY",
            "product": order.product,
            "quantity": order.quantity,
            "disclosed_quantity": 0,
            "price": order.limit_e4 / PRICE_SCALE,
            "trigger_price": 0,
            "average_price": order.mean,
            "filled_quantity": order.filled,
            "pending_quantity": left if order.status.value == "OPEN" else 0,
            "cancelled_quantity": left if order.status.value == "CANCELLED" else 0,
            "market_protection": 0,
            "meta": {},
            "tag": order.tag or None,
            "guid": None,
        }

    def _trades(self, order: Placed) -> list[dict[str, Any]]:
        return [
            {
                "trade_id": f"{order.number}{n}",
                "order_id": order.number,
                **self._place(order.instrument),
                "product": order.product,
                "average_price": part.price_e4 / PRICE_SCALE,
                "quantity": part.shares,
                "exchange_order_id": f"1{order.number}",
                "transaction_type": "BUY" if order.buys else "SELL",
                "fill_timestamp": _time(part.at_ns),
                "order_timestamp": _time(order.placed_ns)[-8:],
                "exchange_timestamp": _time(part.at_ns),
            }
            for n, part in enumerate(order.fills)
        ]

    def _place(self, at: int) -> dict[str, Any]:
        row = self._book.instruments[at]
        return {
            "exchange": row.exchange,
            "tradingsymbol": row.symbol,
            "instrument_token": int(row.token),
        }


_NEEDED = ("exchange", "tradingsymbol", "transaction_type", "quantity", "product", "order_type")


def _quantity(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise Refused(_error("InputException", "Invalid `quantity`."))
    return int(text)


def _limit_e4(fields: Mapping[str, str]) -> int:
    if "price" not in fields or not fields["price"]:
        return 0
    try:
        return int(Decimal(fields["price"]) * PRICE_SCALE)
    except InvalidOperation:
        raise Refused(_error("InputException", "Invalid `price`.")) from None


def _time(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 10**9, IST):%Y-%m-%d %H:%M:%S}"


def _success(data: object) -> Replied:
    return Replied(200, {"status": "success", "data": data})


def _error(kind: str, message: str) -> Replied:
    body = {"status": "error", "message": message, "data": None, "error_type": kind}
    return Replied(_HTTP[kind], body)
