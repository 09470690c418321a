"""What every broker's order API has in common: what is asked for, and what an answer proves. Pure.

A request to place or cancel is made once. What its answer proves decides what follows:

    success                     ACCEPTED: the broker has it, no more than that
    a refusal that is proven    REJECTED, with the broker's words
    anything else               UNKNOWN: the broker is asked, and nothing is sent again (I9)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from pipeline.brokers.contract import BrokerPosition, Order, OrderState, OrderUpdate, Side
from pipeline.brokers.notices import CHARACTERS_MAX, masked
from pipeline.records import PRICE_SCALE
from pipeline.settings import Instrument, e4

# Ids as pipeline/risk/numbering.py makes them; another tag is not ours.
_OURS = re.compile(r"[0-9]{6}N[0-9]{4,}[EX][0-9]+")
TAG_MAX = 20


class Unreadable(Exception):
    """An answer that is not what the broker documents."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``form`` is sent urlencoded, ``json`` as JSON."""

    method: str
    path: str
    form: Mapping[str, str] | None = None
    json: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back."""

    status: int  # of HTTP
    body: bytes

    def read(self) -> dict[str, Any]:
        """Return the JSON object. Raises Unreadable."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Unreadable(f"HTTP {self.status}: {self.body[:CHARACTERS_MAX]!r}")
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply says, in our words."""

    body: Mapping[str, Any]
    succeeded: bool
    proves_refusal: bool
    text: str  # the broker's words where it did not succeed

    @property
    def data(self) -> Any:
        """Return what was asked for. Raises Unreadable."""
        if not self.succeeded:
            raise Unreadable(self.text)
        return field_of(self.body, "data")


ReadAnswer = Callable[[Reply], Answer]  # raises Unreadable


class OrderForms(Protocol):
    """One broker's order API, without the sockets. Pure."""

    name: str
    secrets: tuple[str, ...]  # to mask
    updates_url: str  # may contain secrets: never log it
    updates_headers: tuple[str, ...]  # "Name: value" lines with secrets: never log them

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers of every request. They contain secrets: never log them."""

    def place(self, order: Order) -> Request: ...

    def cancel(self, broker_id: str) -> Request: ...

    def orders(self) -> Request: ...

    def positions(self) -> Request: ...

    def placed(self, order_id: str, reply: Reply) -> OrderUpdate:
        """Return what the answer to ``place`` proves."""

    def cancel_refused(self, reply: Reply) -> str:
        """Return why a cancel was refused, or may have been; "" = it was taken."""

    def read_orders(self, reply: Reply) -> list[OrderUpdate]:
        """Return every order of the day. Raises Unreadable."""

    def read_positions(self, reply: Reply) -> list[BrokerPosition]:
        """Return what is held. Raises Unreadable."""

    def read_update(self, text: str) -> OrderUpdate | None:
        """Return what a text frame of the updates says of an order; None = it is not of one."""


def is_ours(tag: object) -> bool:
    return isinstance(tag, str) and len(tag) <= TAG_MAX and _OURS.fullmatch(tag) is not None


@dataclass(frozen=True, slots=True)
class Places:
    """Which of settings.instruments a broker's exchange and token, or symbol, is."""

    instruments: Sequence[Instrument]
    _by_token: dict[tuple[str, str], int] = field(init=False)
    _by_symbol: dict[tuple[str, str], int] = field(init=False)

    def __post_init__(self) -> None:
        rows = list(enumerate(self.instruments))
        tokens = {(row.exchange, row.token): at for at, row in rows}
        symbols = {(row.exchange, row.symbol): at for at, row in rows}
        object.__setattr__(self, "_by_token", tokens)
        object.__setattr__(self, "_by_symbol", symbols)

    def find(self, exchange: object, token: object, symbol: object) -> int | None:
        by_token, by_symbol = (str(exchange), str(token)), (str(exchange), str(symbol))
        if by_token in self._by_token:
            return self._by_token[by_token]
        return self._by_symbol[by_symbol] if by_symbol in self._by_symbol else None

    def symbol(self, at: int | None, symbol: object) -> str:
        return str(symbol) if at is None else self.instruments[at].symbol


def update_of(
    *,
    state: OrderState,
    tag: object,
    broker_id: object,
    instrument: int | None,
    filled: object,
    average: object,
    text: str,
    ts_event_ns: int,
) -> OrderUpdate:
    """Return the update that a broker's row of an order makes. Raises Unreadable.

    The broker says the mean price, which it may have rounded; the turnover is as exact as that.
    """
    shares = whole(filled)
    # pipeline/risk/order_states.py goes by the totals; a word alone fills nothing.
    if shares and state is OrderState.ACCEPTED:
        state = OrderState.PARTIALLY_FILLED
    return OrderUpdate(
        order_id=str(tag) if is_ours(tag) else "",
        state=state,
        broker_id=str(broker_id),
        instrument=instrument,
        filled=shares,
        turnover_e4=int((number(average) * shares * PRICE_SCALE).to_integral_value()),
        text=text[:CHARACTERS_MAX],
        ts_event_ns=ts_event_ns,
    )


def number(value: object) -> Decimal:
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise Unreadable(f"{value!r} is not a number")
    return found


def whole(value: object) -> int:
    return int(number(value))


def rows_of(value: object) -> list[dict[str, Any]]:
    """Return ``value`` as a list of objects; nothing at all is an empty one."""
    rows = [] if value is None else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unreadable("a list of objects was expected")
    return rows


def field_of(row: Mapping[str, Any], name: str) -> Any:
    if name not in row:
        raise Unreadable(f"{name} is missing")
    return row[name]


def first_of(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the text of the first of ``names`` that has one; empty where none has."""
    return next((str(row[name]) for name in names if row.get(name)), "")


def limit_text(order: Order, instrument: Instrument) -> str:
    """Return the limit in ₹, rounded to the tick so that it is no worse than it was."""
    tick_e4 = e4(instrument.tick_size)
    steps, rest = divmod(order.limit_e4, tick_e4)
    if rest and order.side is Side.SELL:
        steps += 1
    limit = Decimal(max(1, steps) * tick_e4) / PRICE_SCALE
    return format(limit.normalize(), "f")


def refused(order_id: str, text: str, secrets: Sequence[str]) -> OrderUpdate:
    return _told(order_id, OrderState.REJECTED, text, secrets)


def unknown(order_id: str, text: str, secrets: Sequence[str]) -> OrderUpdate:
    return _told(order_id, OrderState.UNKNOWN, text, secrets)


def proven_by(
    reply: Reply, read: ReadAnswer, order_id: str, id_name: str, secrets: Sequence[str]
) -> OrderUpdate:
    """Return what the reply to a request to place proves; ``id_name`` is the broker's order id."""
    try:
        answer = read(reply)
        if answer.succeeded:
            broker_id = str(field_of(answer.data, id_name))
            return OrderUpdate(order_id=order_id, state=OrderState.ACCEPTED, broker_id=broker_id)
    except (Unreadable, TypeError) as error:
        return unknown(order_id, f"unreadable answer: {error}", secrets)
    told = refused if answer.proves_refusal else unknown
    return told(order_id, answer.text, secrets)


def why_not_cancelled(reply: Reply, read: ReadAnswer, secrets: Sequence[str]) -> str:
    """Return why a cancel was refused, or may have been; "" = it was taken."""
    try:
        answer = read(reply)
    except Unreadable as error:
        return masked(str(error), secrets)
    return "" if answer.succeeded else masked(answer.text, secrets)


def _told(order_id: str, state: OrderState, text: str, secrets: Sequence[str]) -> OrderUpdate:
    shown = masked(text, secrets)[:CHARACTERS_MAX]
    return OrderUpdate(order_id=order_id, state=state, text=shown)
