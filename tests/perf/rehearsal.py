"""What comes after a pause, and what rehearsing saves of it.

    frame → ticks      one frame of one full packet: what the feed does between receiving and
                       publishing
    tick → on_tick     until the user's code is entered
    signal → order     until the order is handed to the gateway; no ledger
    tick → exit order  of a tick that hits the stop; no ledger

Each is done once after every PAUSE_NS, in which the process spins on one CPU as a bare spinner
does: with nothing else (rested), or with the rehearsal of its process. The two take turns. What
comes during a rehearsal waits for its end, and that is counted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from statistics import median

import numpy as np

from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.paper.orders import PaperGateway
from pipeline.feed import rehearsal as feed
from pipeline.feed.frames import Frames
from pipeline.records import TICK, Action
from pipeline.risk import rehearsal as risk
from pipeline.risk.desk import Desk
from pipeline.risk.ledger import NoLedger
from pipeline.risk.rulebook import NO_RULES
from pipeline.risk.session import RiskSession
from pipeline.runtime.rehearsing import Rehearsing
from pipeline.settings import SIMULATOR_SECRETS, FeedSettings, PaperSettings, Settings
from pipeline.strategy import rehearsal as strategy
from pipeline.strategy.contract import Strategy, Tick
from pipeline.strategy.session import StrategySession
from pipeline.testing import make_instrument, make_ticks
from tests.money import guide, signal, tick
from tests.perf.orders import FREE, NotingGateway
from tests.perf.wire.frames import KITE_TOKEN

PAUSE_NS = 10_000_000
TURNS = 200

Act = Callable[[], int]  # does it once and returns what it took, ns


def measure() -> dict[str, float]:
    """Return µs, of each rested and rehearsed."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})  # as a process with a CPU of its own
    try:
        return _measure()
    finally:
        os.sched_setaffinity(0, allowed)


def _measure() -> dict[str, float]:
    settings = guide(f"risk.max_positions_per_day={4 * TURNS}", "risk.base_sl_points=0.05", *FREE)
    paper = PaperGateway(0, PaperSettings(latency_ms=0.1), clock=time.monotonic_ns)
    of_risk = risk.Rehearsal(settings, NO_RULES, NoLedger(), paper, lambda: 1_000_000)
    ways: dict[str, tuple[Act, Callable[[], object]]] = {
        "frame → ticks": (_frame(), feed.Rehearsal(_session())),
        "tick → on_tick": (_tick(settings), strategy.Rehearsal(settings)),
        "signal → order": (_signal(settings), of_risk),
        "tick → exit order": (_exit(settings), of_risk),
    }
    figures: dict[str, float] = {}
    for name, (act, rehearse) in ways.items():
        took = _in_turn(act, rehearse)
        for which, values_ns in took.items():
            for percent in (50, 90):
                figure = f"{name}, {which}, µs p{percent}"
                figures[figure] = float(np.percentile(values_ns, percent)) / 1e3
        figures[f"{name}, rested ÷ rehearsed, p50"] = median(took["rested"]) / median(
            took["rehearsed"]
        )
    return figures


def _in_turn(act: Act, rehearse: Callable[[], object]) -> dict[str, list[int]]:
    """Return ns, in turn after a pause without and with rehearsals."""
    took: dict[str, list[int]] = {"rested": [], "rehearsed": []}
    for _ in range(TURNS):
        took["rested"].append(_spin(_nothing) + act())
        took["rehearsed"].append(_spin(Rehearsing(_nothing, rehearse).idle) + act())
    return took


def _spin(idle: Callable[[], None]) -> int:
    """Return how long what came at the end had to wait for the last ``idle``, ns."""
    until_ns = time.perf_counter_ns() + PAUSE_NS
    while (now_ns := time.perf_counter_ns()) < until_ns:
        idle()
    return now_ns - until_ns


def _nothing() -> None:
    """Be the idle of who only spins."""


# What is measured ----------------------------------------------------------------------------


def _session() -> KiteSession:
    full = FeedSettings.model_validate({"broker": "kite", "mode": "full"})
    return KiteSession(full, [make_instrument(token=str(KITE_TOKEN))], SIMULATOR_SECRETS)


def _frame() -> Act:
    session, frames = _session(), Frames()
    payload = session.encoded(make_ticks([235.85]))
    received = b"\x82\x7e" + len(payload).to_bytes(2, "big") + payload

    def act() -> int:
        frames.space()[: len(received)] = received
        started_ns = time.perf_counter_ns()
        frames.received(len(received))
        frame = frames.next()
        assert frame is not None
        ticks = session.on_binary(frame.data, 1).ticks
        took_ns = time.perf_counter_ns() - started_ns
        assert len(ticks) == 1
        assert frames.next() is None
        return took_ns

    return act


class _Noting(Strategy):
    """A strategy that notes when it is entered."""

    entered_ns = 0

    def on_tick(self, tick: Tick) -> None:
        self.entered_ns = time.perf_counter_ns()


def _tick(settings: Settings) -> Act:
    noting = _Noting(settings.strategy)
    session, rows = StrategySession(noting, settings.instruments, 1), np.zeros(1, TICK)

    def act() -> int:
        started_ns = time.perf_counter_ns()
        session.on_ticks(rows)
        return noting.entered_ns - started_ns

    return act


def _signal(settings: Settings) -> Act:
    gateway = NotingGateway(0)
    desk = Desk(RiskSession(settings), NoLedger(), gateway)
    desk.on_tick(tick(1, 100), 0)
    number = 0

    def act() -> int:
        nonlocal number
        number += 1
        started_ns = time.perf_counter_ns()
        desk.on_signal(signal(2 * number - 1, Action.BUY, reason="bench"), 0)
        took_ns = gateway.sent_ns - started_ns
        desk.on_signal(signal(2 * number, Action.CLOSE, reason="bench"), 0)
        assert desk.session.is_flat
        return took_ns

    return act


def _exit(settings: Settings) -> Act:
    gateway = NotingGateway(0)
    desk = Desk(RiskSession(settings), NoLedger(), gateway)
    number = 0

    def enter() -> None:
        nonlocal number
        number += 1
        desk.on_tick(tick(2 * number - 1, 100), 0)
        desk.on_signal(signal(number, Action.BUY, tick_seq=2 * number - 1), 0)
        assert not desk.session.is_flat

    def act() -> int:
        row = tick(2 * number, 99.95)
        started_ns = time.perf_counter_ns()
        desk.on_tick(row, 0)
        took_ns = gateway.sent_ns - started_ns
        assert desk.session.is_flat
        enter()
        return took_ns

    enter()
    return act
