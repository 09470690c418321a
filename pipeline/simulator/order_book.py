"""The simulated broker's book: orders, fills at the price that is played, positions. Pure.

Its times are those of the day that is played, in ns since 1970.

A market order fills where the price is; a limit order when the price is as good as its limit, at
the price. An order in parts fills one of them at each turn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from pipeline.settings import Instrument

FIRST_NUMBER = 260_101_000_000_001


class Status(StrEnum):
    OPEN = "OPEN"
    COMPLETE = "COMPLETE"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"


class Part(NamedTuple):
    """What was filled of an order at once."""

    shares: int
    price_e4: int
    at_ns: int


@dataclass(slots=True, kw_only=True)
class Placed:
    """One order as the broker has it."""

    number: str
    tag: str
    instrument: int
    buys: bool
    quantity: int
    limit_e4: int  # 0 = at the market
    product: str  # in the broker's words
    placed_ns: int
    changed_ns: int  # when status, limit or what is filled did
    status: Status = Status.OPEN
    message: str = ""
    parts: int = 1  # it fills in so many, one at a turn
    fills: list[Part] = field(default_factory=list)

    @property
    def filled(self) -> int:
        return sum(part.shares for part in self.fills)

    @property
    def turnover_e4(self) -> int:
        return sum(part.shares * part.price_e4 for part in self.fills)

    @property
    def mean(self) -> float:
        """₹ a share; 0 while nothing is filled."""
        return self.turnover_e4 / self.filled / 10_000 if self.filled else 0.0


class OrderBook:
    """The orders of a day."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        price_e4: Callable[[int], int],
        now_ns: Callable[[], int],
    ) -> None:
        """``price_e4`` tells what an instrument costs now, ``now_ns`` when now is."""
        self.instruments = instruments
        self.orders: dict[str, Placed] = {}
        self.tags: Counter[str] = Counter()
        self._price_e4 = price_e4
        self._now_ns = now_ns

    def place(
        self,
        *,
        tag: str,
        instrument: int,
        buys: bool,
        quantity: int,
        limit_e4: int,
        product: str,
        parts: int = 1,
        refusal: str = "",
    ) -> Placed:
        """Take an order, or reject it with the words ``refusal`` once it is in the book."""
        now_ns = self._now_ns()
        order = Placed(
            number=str(FIRST_NUMBER + len(self.orders)),
            tag=tag,
            instrument=instrument,
            buys=buys,
            quantity=quantity,
            limit_e4=limit_e4,
            product=product,
            placed_ns=now_ns,
            changed_ns=now_ns,
            parts=parts,
        )
        self.orders[order.number] = order
        self.tags[tag] += 1
        if refusal:
            order.status, order.message = Status.REJECTED, refusal
        return order

    def cancel(self, number: str) -> bool:
        """Cancel what is not filled; False where nothing is left to cancel."""
        if number not in self.orders or self.orders[number].status is not Status.OPEN:
            return False
        order = self.orders[number]
        order.status, order.changed_ns = Status.CANCELLED, self._now_ns()
        return True

    def modify(self, number: str, *, quantity: int, limit_e4: int) -> bool:
        if number not in self.orders or self.orders[number].status is not Status.OPEN:
            return False
        order = self.orders[number]
        order.quantity, order.limit_e4 = max(quantity, order.filled + 1), limit_e4
        order.changed_ns = self._now_ns()
        return True

    def turn(self) -> list[Placed]:
        """Fill what can be filled at the prices of now; return what changed."""
        return [order for order in self.orders.values() if self._fill(order)]

    def _fill(self, order: Placed) -> bool:
        price_e4 = self._price_e4(order.instrument)
        if order.status is not Status.OPEN or price_e4 <= 0:
            return False
        worse_e4 = price_e4 - order.limit_e4 if order.buys else order.limit_e4 - price_e4
        if order.limit_e4 and worse_e4 > 0:
            return False
        left, parts_left = order.quantity - order.filled, order.parts - len(order.fills)
        shares = left if parts_left <= 1 else max(1, left // parts_left)
        order.changed_ns = self._now_ns()
        order.fills.append(Part(shares, price_e4, order.changed_ns))
        if order.filled == order.quantity:
            order.status = Status.COMPLETE
        return True

    @property
    def held(self) -> dict[tuple[int, str], int]:
        """Shares by instrument and product; long > 0."""
        held: Counter[tuple[int, str]] = Counter()
        for order in self.orders.values():
            held[order.instrument, order.product] += order.filled if order.buys else -order.filled
        return dict(held)
