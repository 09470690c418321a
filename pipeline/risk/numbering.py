"""Order ids and counts. All of it follows from the orders, so a restart finds the same numbers.

    251001N0007E0    entry of position 7, decided on 2025-10-01 (IST)
    251001N0007X2    its second exit

At most 20 letters and digits, because the id is also the broker's tag.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pipeline.brokers.contract import Order
from pipeline.risk.hours import day_of, day_text

ORDER_ID_MAX = 20
_ENTRY = re.compile(r"[0-9]{6}N([0-9]{4,})E[0-9]+")


class Numbering:
    """The numbers used so far in a run."""

    def __init__(self, instrument_count: int) -> None:
        self.orders = 0
        self._positions = 0
        self._exits = [0] * instrument_count  # exit orders of the newest position
        self._entry_day = self._entries = 0
        self._taken: set[str] = set()  # ids that another ledger used

    def next_position(self) -> int:
        return self._positions + 1

    def entry_id(self, position_id: int, ts_event_ns: int) -> str:
        return _order_id(ts_event_ns, position_id, "E0")

    def exit_id(self, position_id: int, instrument: int, ts_event_ns: int) -> str:
        number = self._exits[instrument] + 1
        while (order_id := _order_id(ts_event_ns, position_id, f"X{number}")) in self._taken:
            number += 1
        return order_id

    def avoid(self, order_ids: Iterable[str]) -> None:
        """Never give these ids, nor the positions that they name: the broker knows them."""
        for order_id in order_ids:
            self._taken.add(order_id)
            if entry := _ENTRY.fullmatch(order_id):
                self._positions = max(self._positions, int(entry[1]))

    def count(self, order: Order, *, is_exit: bool) -> None:
        """Take ``order`` into account; nothing else moves the numbers."""
        self.orders += 1
        if is_exit:
            self._exits[order.instrument] += 1
            return
        self._exits[order.instrument] = 0
        self._positions = max(self._positions, order.position_id)
        self._entries = self.entries_on(order.ts_event_ns) + 1
        self._entry_day = day_of(order.ts_event_ns)

    def entries_on(self, ts_event_ns: int) -> int:
        """Return the entries ordered so far on the day (IST) of this exchange time."""
        return self._entries if day_of(ts_event_ns) == self._entry_day else 0


def _order_id(ts_event_ns: int, position_id: int, suffix: str) -> str:
    order_id = f"{day_text(day_of(ts_event_ns))}N{position_id:04}{suffix}"
    assert len(order_id) <= ORDER_ID_MAX
    return order_id
