"""What waits to leave for the broker: cancels first, then exits, then entries. Pure.

The first leaves when ``Pacing`` lets it go. An order counts as unanswered from here on until the
broker's reply to it is there: a book that was asked for before that may lack it.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from pipeline.brokers.contract import Order
from pipeline.brokers.pacing import Pacing

WAITING_MAX = 256  # orders and cancels

_CANCEL, _EXIT, _ENTRY = range(3)


class Errand(NamedTuple):
    """An order or a cancel; the least leaves first."""

    rank: int
    number: int
    waits_since_ns: int
    order_id: str
    broker_id: str = ""
    order: Order | None = None  # None = cancel


class Outbox:
    """The errands that wait, and the orders without an answer."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._waiting: list[Errand] = []  # a heap
        self._numbers = count()
        self._unanswered: dict[str, int] = {}  # order id -> number of its errand
        self._then_cancelled: dict[str, int] = {}  # order id -> since when its cancel waits
        self.sent = 0
        self.waited_ns_max = 0  # the longest that the pacing kept one

    def put(self, order: Order, *, is_exit: bool, now_ns: int) -> bool:
        """Have ``order`` wait; False where too many others do."""
        if len(self._waiting) >= WAITING_MAX:
            return False
        number = next(self._numbers)
        rank = _EXIT if is_exit else _ENTRY
        heappush(self._waiting, Errand(rank, number, now_ns, order.order_id, order=order))
        self._unanswered[order.order_id] = number
        return True

    def put_cancel(self, order_id: str, broker_id: str, now_ns: int) -> None:
        """Have a cancel wait; without ``broker_id`` also for the answer that brings it."""
        if not broker_id and order_id in self._unanswered:
            self._then_cancelled.setdefault(order_id, now_ns)
            return
        number = next(self._numbers)
        heappush(self._waiting, Errand(_CANCEL, number, now_ns, order_id, broker_id))

    def withdraw(self, order_id: str) -> bool:
        """Take the order out of what waits; False if it left already."""
        for at, errand in enumerate(self._waiting):
            if errand.order_id == order_id and errand.order is not None:
                del self._waiting[at]
                self._waiting.sort()  # a sorted list is a heap
                self.answered(order_id)
                return True
        return False

    def wait_ns(self, now_ns: int) -> int | None:
        """Return how long the first has to wait, 0 = it may leave; None where nothing waits."""
        if not self._waiting:
            return None
        return self._pacing.wait_ns(now_ns, is_entry=self._waiting[0].rank == _ENTRY)

    def take(self, now_ns: int) -> Errand:
        """Return the first, and count it as left."""
        errand = heappop(self._waiting)
        self._pacing.count(now_ns)
        self.sent += 1
        self.waited_ns_max = max(self.waited_ns_max, now_ns - errand.waits_since_ns)
        return errand

    def answered(self, order_id: str) -> None:
        del self._unanswered[order_id]
        if order_id in self._then_cancelled:
            self.put_cancel(order_id, "", self._then_cancelled.pop(order_id))

    def mark(self) -> int:
        """Return a number that is above those of all that was put until now."""
        return next(self._numbers)

    def answered_before(self, mark: int) -> bool:
        """Tell whether every order that was put before ``mark`` has its answer."""
        return all(number > mark for number in self._unanswered.values())

    def drop(self) -> int:
        """Forget what waits; return how many it were."""
        dropped, self._waiting = self._waiting, []
        return len(dropped)
