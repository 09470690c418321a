"""SmartAPI's side of its order API. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from pipeline.brokers.smartapi.order_forms import ROOT
from pipeline.brokers.smartapi.session import auth_headers
from pipeline.records import IST, PRICE_SCALE
from pipeline.settings import SIMULATOR_SECRETS
from pipeline.simulator.order_book import OrderBook, Placed, Status
from pipeline.simulator.order_dialect import Asked, Refused, Replied, Wanted

_CODES = {
    Status.OPEN: "AB01",
    Status.CANCELLED: "AB02",
    Status.REJECTED: "AB03",
    Status.COMPLETE: "AB05",
}
_NEEDED = ("symboltoken", "exchange", "transactiontype", "quantity", "producttype", "ordertype")


class SmartApiOrders:
    """The ``OrderDialect`` of SmartAPI."""

    own_updates_path = "/smart-order-update"
    error = Replied(
        502, {"status": False, "message": "Bad Gateway", "errorcode": "AB2001", "data": None}
    )
    too_many = Replied(
        429,
        {
            "status": False,
            "message": "Access denied because of exceeding access rate",
            "errorcode": "AB1021",
            "data": None,
        },
    )

    def __init__(self, book: OrderBook) -> None:
        self._book = book
        self._at = {(row.exchange, row.token): at for at, row in enumerate(book.instruments)}
        login = auth_headers(SIMULATOR_SECRETS)
        self._login = {"Authorization": login["Authorization"]}

    def routes(self) -> list[tuple[str, str, Wanted]]:
        return [
            ("POST", f"{ROOT}/placeOrder", Wanted.PLACE),
            ("POST", f"{ROOT}/modifyOrder", Wanted.MODIFY),
            ("POST", f"{ROOT}/cancelOrder", Wanted.CANCEL),
            ("GET", f"{ROOT}/getOrderBook", Wanted.ORDERS),
            ("GET", f"{ROOT}/getTradeBook", Wanted.TRADES),
            ("GET", f"{ROOT}/details/{{number}}", Wanted.ORDER),
            ("GET", f"{ROOT}/getPosition", Wanted.POSITIONS),
        ]

    def may_enter(self, headers: Mapping[str, str]) -> bool:
        return all(name in headers and headers[name] == text for name, text in self._login.items())

    def not_entered(self) -> Replied:
        return _error("AG8001", "Invalid Token")

    def read_order(self, fields: Mapping[str, str]) -> Asked:
        missing = [name for name in _NEEDED if name not in fields]
        if missing or not all(isinstance(value, str) for value in fields.values()):
            raise Refused(_error("AB1004", f"Something Went Wrong ({missing})"))
        place = fields["exchange"], fields["symboltoken"]
        if place not in self._at:
            raise Refused(_error("AB1009", "Symbol Not Found"))
        if len(fields.get("ordertag", "")) > 20:
            raise Refused(_error("AB4008", "ordertag should be less than 20 characters"))
        if not fields["quantity"].isdecimal() or not int(fields["quantity"]):
            raise Refused(_error("AB1004", "Something Went Wrong (quantity)"))
        return Asked(
            tag=fields.get("ordertag", ""),
            instrument=self._at[place],
            buys=fields["transactiontype"] == "BUY",
            quantity=int(fields["quantity"]),
            limit_e4=_limit_e4(fields),
            product=fields["producttype"],
        )

    def read_change(self, fields: Mapping[str, str], order: Placed) -> tuple[int, int]:
        quantity = int(fields["quantity"]) if "quantity" in fields else order.quantity
        return quantity, (_limit_e4(fields) if "price" in fields else order.limit_e4)

    def number(self, fields: Mapping[str, str], match: Mapping[str, str]) -> str:
        return match["number"] if "number" in match else str(fields.get("orderid"))

    # Answers ----------------------------------------------------------------------------------

    def done(self, order: Placed) -> Replied:
        return _success(
            {
                "script": self._book.instruments[order.instrument].symbol,
                "orderid": order.number,
                "uniqueorderid": f"u-{order.number}",
            }
        )

    def refuse(self) -> Replied:
        return _error("AB4036", "The order cannot be processed: cautionary listing")

    def nothing_to_change(self) -> Replied:
        return _error("AB1013", "Order not found")

    def orders(self, orders: list[Placed]) -> Replied:
        return _success([self.row(order) for order in orders] or None)

    def trades(self, orders: list[Placed]) -> Replied:
        rows = [
            {
                **self._place(order.instrument),
                "producttype": order.product,
                "transactiontype": "BUY" if order.buys else "SELL",
                "fillprice": str(part.price_e4 / PRICE_SCALE),
                "fillsize": str(part.shares),
                "orderid": order.number,
                "fillid": f"{order.number}{n}",
                "filltime": _time(part.at_ns)[-8:],
            }
            for order in orders
            for n, part in enumerate(order.fills)
        ]
        return _success(rows or None)

    def positions(self) -> Replied:
        rows = [
            {**self._place(at), "producttype": product, "netqty": str(shares)}
            for (at, product), shares in self._book.held.items()
        ]
        return _success(rows or None)

    def update(self, order: Placed) -> str:
        return json.dumps(
            {
                "user-id": "SIM0001",
                "status-code": "200",
                "order-status": _CODES[order.status],
                "error-message": "",
                "orderData": self.row(order),
            }
        )

    def row(self, order: Placed) -> dict[str, Any]:
        status = order.status.value.lower()
        left = order.quantity - order.filled
        return {
            "variety": "NORMAL",
            "ordertype": "LIMIT" if order.limit_e4 else "MARKET",
            "producttype": order.product,
            "duration": "DAY",
            "price": order.limit_e4 / PRICE_SCALE,
            "triggerprice": 0.0,
            "quantity": str(order.quantity),
            **self._place(order.instrument),
            "transactiontype": "BUY" if order.buys else "SELL",
            "ordertag": order.tag,
            "averageprice": order.mean,
            "filledshares": str(order.filled),
            "unfilledshares": str(left),
            "cancelsize": str(left if status == "cancelled" else 0),
            "orderid": order.number,
            "uniqueorderid": f"u-{order.number}",
            "text": order.message,
            "status": status,
            "orderstatus": status,
            "updatetime": _time(order.changed_ns),
            "exchtime": _time(order.placed_ns),
            "exchorderupdatetime": _time(order.changed_ns),
        }

    def _place(self, at: int) -> dict[str, Any]:
        row = self._book.instruments[at]
        return {
            "exchange": row.exchange,
            "tradingsymbol": row.symbol,
            "symboltoken": row.token,
        }


def _limit_e4(fields: Mapping[str, str]) -> int:
    if fields.get("ordertype") != "LIMIT":
        return 0
    try:
        return int(Decimal(fields["price"]) * PRICE_SCALE)
    except (InvalidOperation, KeyError):
        raise Refused(_error("AB1004", "Something Went Wrong (price)")) from None


def _time(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns // 10**9, IST):%d-%b-%Y %H:%M:%S}"


def _success(data: object) -> Replied:
    return Replied(200, {"status": True, "message": "SUCCESS", "errorcode": "", "data": data})


def _error(code: str, message: str) -> Replied:
    return Replied(200, {"status": False, "message": message, "errorcode": code, "data": None})
