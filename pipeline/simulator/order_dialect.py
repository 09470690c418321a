"""What the simulated broker needs to know of a broker's order API; a file of this folder each."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple, Protocol

from pipeline.simulator.order_book import Placed


class Wanted(Enum):
    """What a request is for."""

    PLACE = auto()
    MODIFY = auto()
    CANCEL = auto()
    ORDERS = auto()
    ORDER = auto()
    ORDER_TRADES = auto()
    TRADES = auto()
    POSITIONS = auto()


class Replied(NamedTuple):
    status: int  # of HTTP
    body: Mapping[str, object]


class Asked(NamedTuple):
    """An order as a request asks for it."""

    tag: str
    instrument: int
    buys: bool
    quantity: int
    limit_e4: int
    product: str


class Refused(Exception):
    """A request that is answered with ``reply`` and changes nothing."""

    def __init__(self, reply: Replied) -> None:
        super().__init__(str(reply.body))
        self.reply = reply


class OrderDialect(Protocol):
    """The server's half of a broker's order API. Pure."""

    own_updates_path: str  # of the updates' WebSocket; "" = they come over that of the ticks
    error: Replied  # trouble behind the API
    too_many: Replied

    def routes(self) -> list[tuple[str, str, Wanted]]:
        """Return method, path and purpose of every request."""

    def may_enter(self, headers: Mapping[str, str]) -> bool: ...

    def not_entered(self) -> Replied: ...

    def read_order(self, fields: Mapping[str, str]) -> Asked:
        """Raises Refused."""

    def read_change(self, fields: Mapping[str, str], order: Placed) -> tuple[int, int]:
        """Return quantity and limit of the order as it is to be. Raises Refused."""

    def number(self, fields: Mapping[str, str], match: Mapping[str, str]) -> str:
        """Return which order a request is about, from its fields or its path."""

    def done(self, order: Placed) -> Replied: ...

    def refuse(self) -> Replied:
        """Return a refusal that proves that the order was not taken."""

    def nothing_to_change(self) -> Replied: ...

    def orders(self, orders: list[Placed]) -> Replied: ...

    def trades(self, orders: list[Placed]) -> Replied: ...

    def positions(self) -> Replied: ...

    def update(self, order: Placed) -> str: ...
