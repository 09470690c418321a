"""What an order costs risk, with the ledger in a file and in memory.

    python -m tests.perf.ledger [FOLDER]

Each order is decided, written, sent to the paper gateway, filled and booked: two commits. The
difference between the two ledgers is the disk of FOLDER (the system's temporary folder), and says
nothing about another disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.brokers.paper.orders import PaperGateway
from pipeline.records import Action
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import MEMORY, Ledger
from pipeline.risk.session import RiskSession
from tests.money import guide, signal, tick

ORDERS = 2_000
FREE = [f"risk.{name}_percent=0" for name in ("commission", "stt", "exchange_charges", "gst")]


def order_ns(path: Path | str) -> np.ndarray:
    """Return the time of each of ORDERS orders, buying and closing in turn."""
    session = RiskSession(guide(f"risk.max_positions_per_day={ORDERS}", *FREE))
    taken = np.zeros(ORDERS, np.int64)
    with Ledger.open(path) as ledger:
        desk = Desk(session, ledger, PaperGateway(0))
        desk.on_tick(tick(1, 100), 0)
        for number in range(ORDERS):
            action = Action.CLOSE if number % 2 else Action.BUY
            row = signal(number + 1, action, reason="bench")
            started = time.perf_counter_ns()
            desk.on_signal(row, 0)
            taken[number] = time.perf_counter_ns() - started
        assert len(ledger.orders()) == ORDERS
    return taken


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        for name, path in (("memory", MEMORY), ("file", Path(folder) / "ledger.sqlite")):
            us = order_ns(path) / 1_000
            p50, p99, p999 = np.percentile(us, (50, 99, 99.9))
            print(
                f"{name:8} {ORDERS} orders, us each: "
                f"p50 {p50:,.0f}  p99 {p99:,.0f}  p99.9 {p999:,.0f}  max {us.max():,.0f}"
            )


if __name__ == "__main__":
    main()
