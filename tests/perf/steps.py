"""The time of single steps that docs/decisions/0004 and 0006 compare.

    python -m tests.perf.steps

Best of seven rounds, one process, ns a call with the call itself: what a step costs when nothing
disturbs it, which is not what it costs in a run.
"""

from __future__ import annotations

import tempfile
import timeit
from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path

import numpy as np

from pipeline.brokers.contract import Order
from pipeline.channels.cell import CellWriter
from pipeline.channels.readers import Readers
from pipeline.records import positions_dtype
from pipeline.risk.session import RiskSession
from tests.money import guide, order

CALLS = 50_000
ORDER = np.dtype(
    [
        ("order_id", "S20"),
        ("instrument", "<u2"),
        ("side", "<u2"),
        ("quantity", "<i8"),
        ("price_e4", "<i8"),
        ("position_id", "<u8"),
        ("reason", "S96"),
        ("tick_seq", "<u8"),
        ("ts_event_ns", "<i8"),
    ]
)


def show(what: str, call: Callable[[], object]) -> None:
    best = min(timeit.repeat(call, number=CALLS, repeat=7)) / CALLS * 1e9
    print(f"{what:46} {best:>8,.0f} ns")


def order_as_value_or_row() -> None:
    value = order(order_id="251001N0001E0", reason="3 green ticks")
    values, fields = value._asdict(), tuple(value)
    frozen = make_dataclass("Frozen", value._fields, frozen=True, slots=True)
    columns = (b"251001N0001E0", 0, 1, 75, 1_000_000, 1, b"3 green ticks", 1, 0)
    row = np.array([columns], ORDER)[0]
    show("order: make a row", lambda: np.array([columns], ORDER))
    show("order: make a frozen dataclass, by name", lambda: frozen(**values))
    show("order: make a named tuple, by name", lambda: Order(**values))
    show("order: make a named tuple, in order", lambda: Order(*fields))
    show("order: read four fields of a row", lambda: read_row(row))
    show(
        "order: read four fields of a named tuple",
        lambda: (value.order_id, value.quantity, value.price_e4, value.reason),
    )


def read_row(row: np.void) -> tuple[str, int, int, str]:
    return (
        row["order_id"].decode(),
        int(row["quantity"]),
        int(row["price_e4"]),
        row["reason"].decode(),
    )


def done_by_cell_or_cursor(directory: Path) -> None:
    slot = Readers.create(directory, ["risk"]).slot("risk")
    session = RiskSession(guide())
    cell = CellWriter(directory / "positions.cell", positions_dtype(1))

    def move_cursor() -> None:
        slot.cursor = 5

    show("done: publish the positions cell", lambda: cell.publish(session.positions_row()))
    show("done: store the cursor", move_cursor)


def main() -> None:
    order_as_value_or_row()
    with tempfile.TemporaryDirectory() as folder:
        done_by_cell_or_cursor(Path(folder))


if __name__ == "__main__":
    main()
