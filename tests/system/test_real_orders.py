"""`tickpipe run` with a broker's order API: the ticks and the orders of one simulated day."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

import pytest
import websocket

from pipeline.brokers.confirming import CONFIRMATION
from pipeline.channels.locks import lock_pid
from pipeline.channels.rundir import lock_path
from pipeline.risk.desk import ORDER
from pipeline.runtime.exit_codes import ExitCode
from pipeline.settings import load_settings
from pipeline.simulator.generator import generate_day
from pipeline.simulator.script import Script
from pipeline.testing import make_instrument, make_ticks
from tests.system.conftest import GUIDE, Tickpipe, finish, for_kite
from tests.system.ordering import report, trading_at
from tests.system.running import Run
from tests.system.simulating import Simulator, Simulators

pytestmark = pytest.mark.system


@pytest.fixture(params=["kite", "smartapi"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def config(broker: str, tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    guide = GUIDE.read_text()
    path.write_text(for_kite(guide) if broker == "kite" else guide)
    return path


@pytest.fixture
def arguments(broker: str, config: Path) -> Callable[..., list[str]]:
    """Return what gives the arguments of a run that trades at a simulator."""

    def of(simulator: Simulator, **more: object) -> list[str]:
        chosen = trading_at(simulator, broker, **more)
        return ["--config", str(config), "--mode", "callback", *chosen]

    return of


Start = Callable[[dict[int, str]], tuple[Simulator, list[str]]]


@pytest.fixture
def start(
    simulators: Simulators, broker: str, config: Path, arguments: Callable[..., list[str]]
) -> Start:
    """Return what starts a simulator of a day with faults by the number of the order, and gives
    the arguments of a run that trades at it."""

    def with_faults(faults: dict[int, str]) -> tuple[Simulator, list[str]]:
        ticks = generate_day(
            seed=3, date=date(2026, 1, 5), ticks_per_instrument=2_500, end="09:25", lot_size=75
        )
        simulator = simulators(load_settings(config).instruments)(
            ticks, broker=broker, speed=100.0, keep=True, order_faults=faults
        )
        return simulator, arguments(simulator)

    return with_faults


@pytest.mark.parametrize("faults", [{}, {2: "timeout", 3: "reorder", 4: "parts", 5: "silent"}])
def test_a_day_of_real_requests_leaves_the_brokers_book_equal_to_the_ledger(
    tickpipe: Tickpipe, start: Start, faults: dict[int, str]
) -> None:
    simulator, arguments = start(faults)
    code, output = tickpipe.run("run", *arguments)
    assert code == 0, output
    assert_books_agree(tickpipe, simulator)


def test_a_risk_that_is_killed_with_orders_at_the_broker_is_followed_by_one_that_knows_them(
    tickpipe: Tickpipe, start: Start
) -> None:
    simulator, arguments = start({2: "timeout"})
    run = tickpipe.trade("run", *arguments)
    tickpipe.wait_for(lambda: len(report(simulator.port)["tags"]) >= 2, "the second order")
    os.kill(lock_pid(lock_path(tickpipe.run_directory, "risk")), signal.SIGKILL)
    code, output = finish(run)
    assert code == 0, output
    assert "another risk died" in output
    assert_books_agree(tickpipe, simulator)


# 100 ₹, 84 ₹ for an instant, 70 ₹. No order can be at the exchange while the price is 84.
RUNS_AWAY = make_ticks([100.0] * 20 + [84.0] + [70.0] * 1_200)
HOLD = 21  # the day stands still before this tick
SLOW = range(41, len(RUNS_AWAY) + 1)  # these come one by one, for a minute
OTHER = {"symbol": "OTHER-OPTION", "exchange": "NFO"}
RESTING = {
    "strategy.use": f"{Path(__file__).parent / 'strategies.py'}:BuysUntilItHolds",
    "risk.order_type": "limit",
    "risk.collar_points": 1,
    "risk.limit_order_seconds_max": 30,  # as many ticks: longer than the entry, whose price stays
    "risk.silent_feed_seconds_max": 100,
    "recovery.ask_seconds": 0.2,
    "recovery.lost_seconds_min": 1,
}


class Gate:
    """A day that begins, and goes on at HOLD, when it is opened: the simulator waits for two
    clients, and the second, which listens to an instrument without ticks, is thrown out there."""

    def __init__(self, simulators: Simulators, broker: str, config: Path) -> None:
        number = 58_964
        self._token = str(number << 8 | 2) if broker == "kite" else str(number)
        instruments = load_settings(config).instruments
        other = make_instrument(**OTHER, token=self._token)
        holds = [{"kind": kind, "tick": HOLD, "symbol": other.symbol} for kind in ("reset", "text")]
        pause = {"kind": "heartbeats", "seconds": 0.05}
        faults = [*holds, *(pause | {"tick": tick} for tick in SLOW)]
        self._is_kite = broker == "kite"
        self.simulator = simulators([*instruments, other])(
            RUNS_AWAY,
            broker=broker,
            wait_for=2,
            keep=True,
            faults=Script.model_validate({"faults": faults}),
        )

    def open(self) -> None:
        """Let the day begin, or go on."""
        tokens = [{"exchangeType": 2, "tokens": [self._token]}]
        smartapi = {"action": 1, "params": {"mode": 2, "tokenList": tokens}}
        kite = {"a": "subscribe", "v": [int(self._token)]}
        client = self.simulator.client()
        client.send(json.dumps(kite if self._is_kite else smartapi))
        while client.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_PING:
            pass  # to the one with which the simulator sees that the client has settled


@pytest.mark.parametrize("killed", [False, True], ids=["alive", "killed between"])
def test_a_limit_exit_whose_price_ran_away_is_cancelled_at_the_broker_and_replaced_once(
    tickpipe: Tickpipe,
    simulators: Simulators,
    broker: str,
    config: Path,
    arguments: Callable[..., list[str]],
    killed: bool,
) -> None:
    gate = Gate(simulators, broker, config)
    simulator = gate.simulator
    run = Run(tickpipe, tickpipe.trade("run", *arguments(simulator, **RESTING)))
    directory = f"channels.directory={tickpipe.run_directory}"
    tickpipe.wait_for(
        lambda: "ACTIVE" in tickpipe.tell("status", "--set", directory)[1], "the broker's book"
    )
    gate.open()
    tickpipe.wait_for(lambda: has_rows(tickpipe.results, "fills"), "the entry")
    gate.open()
    if killed:
        tickpipe.wait_for(lambda: is_cancelling(tickpipe.results), "the cancel")
        run.kill("risk")
    tickpipe.wait_for(lambda: has_rows(tickpipe.results, "trades"), "the exit")
    code, output = run.stop()
    assert code == 0, output
    assert_books_agree(tickpipe, simulator)
    _, rested, replaced = sorted(filled_at_the_broker(simulator).items())
    assert (rested[0][-2:], rested[1]) == ("X1", 0), "it rested, and was never filled"
    assert replaced[0] > rested[0]
    trades = [(trade["exit_reason"], trade["exit_price"]) for trade in tickpipe.trades()]
    assert trades == [("Stop Loss", "70.00")]


def is_cancelling(results: Path) -> bool:
    """Tell whether the ledger says so."""
    return has_rows(results, "events", f"kind = '{ORDER}' AND text LIKE '%it is cancelled%'")


def has_rows(results: Path, table: str, condition: str = "1") -> bool:
    """Tell whether the ledger has such a row; False while there is none."""
    for path in results.glob("ledger*.sqlite"):
        with closing(sqlite3.connect(path)) as ledger, suppress(sqlite3.OperationalError):
            query = f"SELECT 1 FROM {table} WHERE {condition}"
            return ledger.execute(query).fetchone() is not None
    return False


def filled_at_the_broker(simulator: Simulator) -> dict[str, int]:
    """Return shares by order id."""
    found = report(simulator.port)["filled"]
    return {order_id: shares for order_id, (shares, _) in found.items()}


def assert_books_agree(tickpipe: Tickpipe, simulator: Simulator) -> None:
    found = report(simulator.port)
    assert found["sent_twice"] == []
    assert [place["quantity"] for place in found["held"]] == [0]
    assert len(found["tags"]) >= 2
    filled = {order_id: sums for order_id, sums in found["filled"].items() if sums[0]}
    assert filled_in_ledger(tickpipe.results) == filled
    assert tickpipe.trades()


def filled_in_ledger(results: Path) -> dict[str, list[int]]:
    """Return shares and turnover by order id."""
    (path,) = results.glob("ledger*.sqlite")
    with closing(sqlite3.connect(path)) as ledger:
        rows = ledger.execute(
            "SELECT order_id, SUM(quantity), SUM(turnover_e4) FROM fills GROUP BY order_id"
        ).fetchall()
    return {order_id: [shares, turnover_e4] for order_id, shares, turnover_e4 in rows}


LIVE = [
    part
    for change in (
        "feed.credentials=environment",
        "feed.broker=kite",
        "feed.mode=full",
        "feed.url=wss://ws.kite.trade",
        "orders.gateway=kite",
        "orders.live=true",
        "run.name=mine",
    )
    for part in ("--set", change)
]


@pytest.mark.parametrize("words", [(), ("--confirm-live", "yes")])
def test_real_orders_that_nobody_confirmed_are_refused(
    tickpipe: Tickpipe, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONFIRMATION, raising=False)
    code, output = tickpipe.run("run", *LIVE, *words)
    assert code == ExitCode.BAD_SETTINGS
    assert "real orders to kite were not confirmed" in output
    assert "mine or LIVE" in output


@pytest.mark.parametrize("words", ["mine", "LIVE"])
def test_confirmed_real_orders_need_the_brokers_login(
    tickpipe: Tickpipe, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "ACCESS_TOKEN"):
        monkeypatch.delenv(f"TICKPIPE_{name}", raising=False)
    code, output = tickpipe.run("run", *LIVE, "--confirm-live", words)
    assert code == ExitCode.BAD_SETTINGS, output
    assert "the environment lacks api_key, access_token" in output
