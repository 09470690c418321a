"""What an order costs on its way through risk, and how soon a person is obeyed in a flood.

    signal → order     a signal is in risk's hands → its order is handed to the gateway; without
                       a ledger, with one in memory, and with one in a file (the row is on the
                       disk before the order leaves)
    tick → exit order  a tick that hits the stop is in risk's hands → the exit order is handed
                       over, without a ledger
    growth             the last thousand of ORDERS orders through a ledger in a file, against the
                       second thousand
    of it              the parts of the way to an entry's order, each again and again, and the
                       calls of functions that lie on the way
    flatten in a flood from sending the request to the exit order's leaving, with FLOOD ticks a
                       second, the strategy stopped (SIGSTOP) and a position open: real processes
                       and a real socket; one figure for each run: see median and worst

The first are calls in one process: do not compare them with a latency between processes.
A file is one of the system's temporary folder, and says nothing about another disk.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal as signals
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import Order
from pipeline.brokers.paper.orders import PaperGateway
from pipeline.channels.telling import ask_risk
from pipeline.channels.watch import Watch
from pipeline.errors import ControlRefused
from pipeline.feed import process as feed
from pipeline.records import GAP, Action
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import MEMORY, Ledger, NoLedger
from pipeline.risk.session import RiskSession
from pipeline.runtime.logs import ChildLogs
from pipeline.settings import load_settings
from pipeline.supervisor.process import supervise
from pipeline.testing import make_ticks
from tests.money import GUIDE, guide, signal, tick
from tests.perf.results import Result, collected

ORDERS = 10_000
ROUNDS = 1_000
FLOOD = 1_000_000
SECONDS_MAX = 60.0
FREE = [f"risk.{name}_percent=0" for name in ("commission", "stt", "exchange_charges", "gst")]


class NotingGateway(PaperGateway):
    """Paper that notes when it was handed an order."""

    sent_ns = 0

    def send(self, order: Order) -> None:
        self.sent_ns = time.perf_counter_ns()
        super().send(order)


def measure(runs: int) -> Result:
    return Result(collected(_run() for _ in range(runs)), {"orders": ORDERS, "flood": FLOOD})


def _run() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        filed = _signal_to_order(Ledger.open(Path(folder) / "ledger.sqlite"), ORDERS)
    second, last = filed[1_000:2_000], filed[-1_000:]
    return {
        "signal → order, no ledger, µs p50": _p50(_signal_to_order(NoLedger(), ROUNDS)),
        "signal → order, ledger in memory, µs p50": _p50(
            _signal_to_order(Ledger.open(MEMORY), ROUNDS)
        ),
        "signal → order, ledger in a file, µs p50": _p50(filed),
        **_parts(),
        "tick → exit order, no ledger, µs p50": _p50(_tick_to_exit(ROUNDS)),
        f"last 1 000 of {ORDERS} orders ÷ second 1 000, p50": _p50(last) / _p50(second),
        "flatten in a flood, ms": flatten_in_a_flood(),
    }


def _p50(ns: Sequence[int]) -> float:
    return median(ns) / 1_000


def _signal_to_order(ledger: Ledger, orders: int) -> list[int]:
    session = RiskSession(guide(f"risk.max_positions_per_day={orders}", *FREE))
    taken = []
    gateway = NotingGateway(0)
    with ledger:
        desk = Desk(session, ledger, gateway)
        desk.on_tick(tick(1, 100), 0)
        for number in range(orders):
            row = signal(number + 1, Action.CLOSE if number % 2 else Action.BUY, reason="bench")
            started_ns = time.perf_counter_ns()
            desk.on_signal(row, 0)
            taken.append(gateway.sent_ns - started_ns)
    return taken


def _parts() -> dict[str, float]:
    session = RiskSession(guide(*FREE))
    desk = Desk(session, NoLedger(), NotingGateway(0))
    desk.on_tick(tick(1, 100), 0)
    limits, row = session._limits, signal(1, Action.BUY, reason="bench")
    facts = session._facts(row, 0)
    size = limits.size(row, facts)
    parts: dict[str, Callable[[], object]] = {
        "the facts": lambda: session._facts(row, 0),
        "the limits, the size and its charges": lambda: limits.judge(row, facts),
        "the order": lambda: session._enter(row, size, 0),
    }
    figures = {
        f"signal → order, of it {what}, µs": min(timeit.repeat(part, number=50, repeat=50)) / 50e-6
        for what, part in parts.items()
    }
    return {**figures, "signal → order, of it calls of functions": float(_calls_to_order())}


def _calls_to_order() -> int:
    """Return how many functions, of Python and of C, are called until an order is handed over."""
    calls = 0
    session = RiskSession(guide(*FREE))

    class Counting(PaperGateway):
        def send(self, order: Order) -> None:
            sys.setprofile(None)
            super().send(order)

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    desk = Desk(session, NoLedger(), Counting(0))
    desk.on_tick(tick(1, 100), 0)
    row = signal(1, Action.BUY, reason="bench")
    sys.setprofile(count)
    desk.on_signal(row, 0)
    return calls


def _tick_to_exit(rounds: int) -> list[int]:
    small = f"risk.max_positions_per_day={rounds}", "risk.base_sl_points=0.05"
    session = RiskSession(guide(*small, *FREE))
    taken = []
    gateway = NotingGateway(0)
    with NoLedger() as ledger:
        desk = Desk(session, ledger, gateway)
        for number in range(rounds):
            desk.on_tick(tick(2 * number + 1, 100), 0)
            desk.on_signal(signal(number + 1, Action.BUY, tick_seq=2 * number + 1), 0)
            row = tick(2 * number + 2, 99.95)
            assert not session.is_flat
            started_ns = time.perf_counter_ns()
            desk.on_tick(row, 0)
            taken.append(gateway.sent_ns - started_ns)
            assert session.is_flat
    return taken


# The flood -----------------------------------------------------------------------------------


class Flood:
    """A source of ticks at one price: a few to enter by, then FLOOD a second."""

    duplicates = refused = skipped = outages = connected = silent = missing_since_ns = 0
    ended_gaps: list[NDArray[np.void]] = []  # noqa: RUF012 - it has none
    ended = False

    def __init__(self, go: Path) -> None:
        self._go = go
        self._flooding = False
        self._rise = make_ticks([100 + number / 20 for number in range(60)])
        self._flat = make_ticks([103.0] * 1_000)
        self._due_ns = 0

    def receive(self, limit: int) -> NDArray[np.void]:
        if not self._flooding:
            return self._quietly(limit)
        rows = self._flat[: min(limit, len(self._flat))].copy()
        self._due_ns += len(rows) * 1_000_000_000 // FLOOD
        now_ns = time.monotonic_ns()
        if self._due_ns < now_ns - 1_000_000_000:
            self._due_ns = now_ns  # the machine cannot keep up: as fast as it can
        if self._due_ns > now_ns:
            time.sleep((self._due_ns - now_ns) / 1e9)
        rows["ts_recv_ns"] = time.monotonic_ns()
        return rows

    def _quietly(self, limit: int) -> NDArray[np.void]:
        rows, self._rise = self._rise[:1].copy(), self._rise[1:]
        rows["ts_recv_ns"] = time.monotonic_ns()
        time.sleep(0.002)
        if not len(rows) and self._go.exists():
            self._flooding, self._due_ns = True, time.monotonic_ns()
        return rows

    def missing(self) -> NDArray[np.void]:
        return np.zeros(0, GAP)

    def close(self) -> None: ...


def flatten_in_a_flood() -> float:
    """Return how long a flatten took from the request to the exit order's leaving, ms."""
    with tempfile.TemporaryDirectory(prefix="tickpipe-orders-", dir="/dev/shm") as name:
        folder = Path(name)
        child = multiprocessing.get_context("fork").Process(target=_trade, args=(folder,))
        child.start()
        try:
            return _flatten(folder)
        finally:
            assert child.pid is not None
            os.kill(child.pid, signals.SIGTERM)
            child.join(SECONDS_MAX)
            child.kill()


def _trade(folder: Path) -> None:
    settings = load_settings(
        GUIDE,
        [
            f'channels.directory="{folder / "run"}"',
            f'run.results_dir="{folder / "results"}"',
            "risk.base_sl_points=90",
            "risk.use_trail_stop=false",
            "risk.tp_points=[1000.0]",
            "risk.tp_percents=[1.0]",
            'risk.when_lapped="oldest"',
            "run.hang_seconds_max=60",
        ],
    )
    feed.open_source = lambda *_: Flood(folder / "go")  # forked with us
    raise SystemExit(supervise(settings, logs=ChildLogs(io.StringIO())))


def _flatten(folder: Path) -> float:
    watch = Watch(folder / "run")
    _wait_for(lambda: _beat(watch, "risk", "position") > 0)
    strategy = _beat(watch, "strategy", "pid")
    os.kill(strategy, signals.SIGSTOP)
    try:
        (folder / "go").touch()
        before = _beat(watch, "feed", "ticks")
        _wait_for(lambda: _beat(watch, "feed", "ticks") > before + FLOOD // 4)
        asked_ns = time.monotonic_ns()
        ask_risk(folder / "run", {"verb": "flatten", "by": "bench"})
        (path,) = (folder / "results").glob("ledger_*.sqlite")
        with Ledger.read(path) as ledger:
            sent = ledger.times_sent()
        return (max(sent.values()) - asked_ns) / 1e6
    finally:
        os.kill(strategy, signals.SIGCONT)
        watch.close()


def _beat(watch: Watch, role: str, name: str) -> int:
    beats = watch.latest()
    return int(beats[role][name][0]) if role in beats else 0


def _wait_for(condition: Any) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise ControlRefused("the run did not come to where it should be measured")
        time.sleep(0.01)
