"""Order ids and counts. All of it follows from the orders, so a restart finds the same numbers.

    251001N0007E0    entry of position 7, decided on 2025-10-01 (IST)
    251001N0007E1    its second slice, where one order would be too large
    251001N0007X2    its second exit

At most 20 letters and digits, because the id is also the broker's tag. Counts of orders are by the
exchange's time of the tick on which each was decided: the broker counts by that clock too.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.brokers.contract import Order
from pipeline.risk.hours import day_of, day_text

ORDER_ID_MAX = 20
_ENTRY = re.compile(r"[0-9]{6}N([0-9]{4,})E[0-9]+")

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS


class Sent(NamedTuple):
    """Orders up to now: in the last second and minute, their first moment included, and today."""

    second: int
    minute: int
    day: int


class Numbering:
    """The numbers used so far in a run."""

    def __init__(self, instrument_count: int) -> None:
        self.orders = 0
        self._positions = 0
        self._exits = [0] * instrument_count  # exit orders of the newest position
        self._entry_day = self._entries = 0
        self._order_day = self._orders_today = 0
        self._taken: set[str] = set()  # ids that the broker knows and the ledger does not
        self._times: list[int] = []  # of the orders of the last minute, rising

    def next_position(self) -> int:
        return self._positions + 1

    def entry_id(self, position_id: int, ts_event_ns: int, piece: int = 0) -> str:
        return _order_id(ts_event_ns, position_id, f"E{piece}")

    def exit_id(self, position_id: int, instrument: int, ts_event_ns: int) -> str:
        number = self._exits[instrument] + 1
        while (order_id := _order_id(ts_event_ns, position_id, f"X{number}")) in self._taken:
            number += 1
        return order_id

    def has_exits(self, instrument: int) -> bool:
        """Tell whether the newest position of ``instrument`` had an exit order."""
        return self._exits[instrument] > 0

    def avoid(self, order_ids: Iterable[str]) -> None:
        """Never give these ids, nor the positions that they name."""
        for order_id in order_ids:
            self._taken.add(order_id)
            if entry := _ENTRY.fullmatch(order_id):
                self._positions = max(self._positions, int(entry[1]))

    def count(self, order: Order, *, is_exit: bool) -> None:
        """Take ``order`` into account; nothing else moves the numbers."""
        self.orders += 1
        self._count_time(order.ts_event_ns)
        if is_exit:
            self._exits[order.instrument] += 1
        elif order.position_id > self._positions:  # else it is a further slice of an entry
            self._exits[order.instrument] = 0
            self._positions = order.position_id
            self._entries = self.entries_on(order.ts_event_ns) + 1
            self._entry_day = day_of(order.ts_event_ns)

    def entries_on(self, ts_event_ns: int) -> int:
        """Return the positions entered so far on the day (IST) of this exchange time."""
        return self._entries if day_of(ts_event_ns) == self._entry_day else 0

    def sent(self, now_ns: int) -> Sent:
        """Return the counts at the exchange time ``now_ns``."""
        times = self._times
        today = self._orders_today if day_of(now_ns) == self._order_day else 0
        return Sent(
            len(times) - bisect_left(times, now_ns - SECOND_NS),
            len(times) - bisect_left(times, now_ns - MINUTE_NS),
            today,
        )

    def _count_time(self, ts_event_ns: int) -> None:
        times = self._times
        # Instruments have clocks of their own; the count goes by the newest.
        newest_ns = max(ts_event_ns, times[-1]) if times else ts_event_ns
        times.append(newest_ns)
        if times[0] < newest_ns - MINUTE_NS:
            del times[: bisect_left(times, newest_ns - MINUTE_NS)]
        day = day_of(newest_ns)
        self._orders_today = self._orders_today + 1 if day == self._order_day else 1
        self._order_day = day


def is_exit_id(order_id: str) -> bool:
    """Return whether the order of this id closes shares."""
    return "X" in order_id


def _order_id(ts_event_ns: int, position_id: int, suffix: str) -> str:
    order_id = f"{day_text(day_of(ts_event_ns))}N{position_id:04}{suffix}"
    assert len(order_id) <= ORDER_ID_MAX
    return order_id
