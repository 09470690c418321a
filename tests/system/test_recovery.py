"""Risk that is killed: another one takes over within the run, or the next run does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import read_ticks
from pipeline.risk.checking import check_ledger
from pipeline.risk.ledger import Ledger
from pipeline.runtime.exit_codes import ExitCode
from pipeline.settings import load_settings
from pipeline.simulator.generator import generate_day
from pipeline.simulator.order_faults import random_faults
from tests.system.conftest import GUIDE, Tickpipe, finish, for_kite
from tests.system.golden import write_steady_day
from tests.system.ordering import report, trading_at
from tests.system.running import BUYS_ONCE, HOLD, STEADY_SPEED, Run
from tests.system.simulating import Simulator, Simulators

Start = Callable[..., Run]


@pytest.fixture
def start(tickpipe: Tickpipe, simulators: Simulators) -> Start:
    """Return a way to start a run at a simulator that plays a steady day of 2 minutes."""
    settings = load_settings(GUIDE)
    day = write_steady_day(tickpipe.folder / "day.csv")
    simulator: Simulator = simulators(settings.instruments)(
        read_ticks(day, settings.instruments), speed=STEADY_SPEED, keep=True
    )

    def run(*options: object) -> Run:
        where = ("--set", f'feed.url="{simulator.url}"', "--set", 'feed.credentials="simulator"')
        return Run(tickpipe, tickpipe.trade("run", *where, *options))

    return run


def ledger_of(tickpipe: Tickpipe) -> Path:
    (path,) = tickpipe.results.glob("ledger_*.sqlite")
    return path


@pytest.mark.parametrize("mode", ["poll", "callback"])
def test_another_risk_takes_over_what_is_open(tickpipe: Tickpipe, start: Start, mode: str) -> None:
    run = start("--mode", mode, "--set", BUYS_ONCE, *HOLD)
    run.wait_for("risk", "position", 1)
    held = run.beat("risk", "position")
    run.kill_and_wait_for_another("risk")
    run.wait_for("risk", "position", held)
    handled = run.beat("risk", "last_seq")
    run.wait_for("risk", "last_seq", handled + 100)
    run.kill_and_wait_for_another("risk")
    code, output = run.stop()
    assert code == ExitCode.OK, output
    assert output.count("risk died: killed by SIGKILL. Starting another one") == 2
    trades = tickpipe.trades()
    assert [int(float(trade["quantity"])) for trade in trades] == [held]
    assert trades[0]["exit_reason"] == "Stop Requested"


def test_another_risk_takes_over_behind_another_feed(tickpipe: Tickpipe, start: Start) -> None:
    """What the ledger last noted of the position was on the ring of the feed that was killed."""
    run = start("--set", BUYS_ONCE, *HOLD)
    run.wait_for("risk", "position", 1)
    held = run.beat("risk", "position")
    run.kill_and_wait_for_another("feed")
    run.kill_and_wait_for_another("risk")
    run.wait_for("risk", "position", held)
    code, output = run.stop()
    assert code == ExitCode.OK, output
    assert [int(float(trade["quantity"])) for trade in tickpipe.trades()] == [held]


def test_the_strategy_sees_the_positions_of_the_risk_that_took_over(
    tickpipe: Tickpipe, start: Start
) -> None:
    run = start()  # momentum: it enters again only when it sees that it is flat
    run.wait_for("risk", "trades", 1)
    run.kill_and_wait_for_another("risk")
    run.wait_for("risk", "trades", 1)
    run.wait_for("risk", "orders", run.beat("risk", "orders") + 4)
    code, output = run.stop()
    assert code == ExitCode.OK, output
    with Ledger.read(ledger_of(tickpipe)) as ledger:
        history, trades = ledger.history(), ledger.trades()
    assert check_ledger(load_settings(GUIDE), history, trades) == []
    assert len(tickpipe.trades()) == len(trades)


def test_a_risk_that_dies_too_often_ends_the_run_and_the_next_run_takes_over(
    tickpipe: Tickpipe, start: Start
) -> None:
    run = start("--set", BUYS_ONCE, *HOLD, "--set", "recovery.restarts_max=0")
    run.wait_for("risk", "position", 1)
    held = run.beat("risk", "position")
    run.kill("risk")
    code, output = run.finish()
    assert code == ExitCode.CHILD_DIED, output
    assert "UNGUARDED" in output
    assert list(tickpipe.results.glob("forward_test_results_*.csv")) == []
    second = start("--set", BUYS_ONCE, *HOLD)
    second.wait_for("risk", "position", held)
    code, output = second.stop()
    assert code == ExitCode.OK, output
    trades = tickpipe.trades()
    assert [(trade["position_id"], int(float(trade["quantity"]))) for trade in trades] == [
        ("1", held)
    ]


def test_a_second_run_on_one_day_goes_on_and_its_results_have_the_whole_day(
    tickpipe: Tickpipe, start: Start
) -> None:
    first = start("--set", BUYS_ONCE, *HOLD)
    first.wait_for("risk", "position", 1)
    assert first.stop()[0] == ExitCode.OK
    assert len(tickpipe.trades()) == 1
    tickpipe.clear_results()
    second = start("--set", BUYS_ONCE, *HOLD)
    second.wait_for("risk", "position", 1)
    code, output = second.stop()
    assert code == ExitCode.OK, output
    assert [trade["position_id"] for trade in tickpipe.trades()] == ["1", "2"]
    assert len(list(tickpipe.results.glob("ledger_*.sqlite"))) == 1


def test_a_halt_by_a_person_outlasts_its_day_until_somebody_resumes(
    tickpipe: Tickpipe, start: Start
) -> None:
    def ask(verb: str, *arguments: str) -> str:
        directory = f'channels.directory="{tickpipe.run_directory}"'
        where = ("--config", GUIDE, "--set", directory)
        code, output = finish(tickpipe.start(verb, *arguments, *where))
        assert code == 0, output
        return output

    first = start("--set", BUYS_ONCE, *HOLD)
    first.wait_for("risk", "position", 1)
    ask("flatten", "--reason", "news")
    assert first.stop()[0] == ExitCode.OK
    ledger_of(tickpipe).rename(tickpipe.results / "ledger_default_20260102.sqlite")
    second = start("--set", BUYS_ONCE, *HOLD)
    second.wait_for("risk", "refused", 1)
    assert ": news, since 2026-01-02" in ask("status")
    ask("resume", "--unlock", "default")
    assert "ACTIVE" in ask("status")
    assert second.beat("risk", "orders") == 0
    code, output = second.stop()
    assert code == ExitCode.OK, output
    assert "news, since 2026-01-02: nobody has resumed since; `tickpipe resume`" in output


def test_with_the_strategy_dead_for_long_risk_closes_the_position(
    tickpipe: Tickpipe, start: Start
) -> None:
    run = start("--set", BUYS_ONCE, *HOLD, "--set", "recovery.orphan_seconds_max=0.2")
    run.wait_for("risk", "position", 1)
    run.kill("strategy")
    run.wait_for("risk", "trades", 1)
    code, output = run.stop()
    assert code == ExitCode.CHILD_DIED, output
    assert [trade["exit_reason"] for trade in tickpipe.trades()] == ["Risk Management"]


def test_risk_that_dies_after_the_strategy_is_started_again_all_the_same(
    tickpipe: Tickpipe, start: Start
) -> None:
    run = start("--set", BUYS_ONCE, *HOLD)
    run.wait_for("risk", "position", 1)
    run.kill("strategy")
    run.kill_and_wait_for_another("risk")
    run.wait_for("risk", "position", 1)
    code, output = run.stop()
    assert code == ExitCode.CHILD_DIED, output
    assert len(tickpipe.trades()) == 1


# At a broker -----------------------------------------------------------------------------------


@pytest.mark.parametrize("broker", ["kite", "smartapi"])
def test_kills_of_risk_at_a_broker_that_misbehaves_leave_its_book_equal_to_the_ledger(
    tickpipe: Tickpipe, simulators: Simulators, broker: str, tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(for_kite(GUIDE.read_text()) if broker == "kite" else GUIDE.read_text())
    ticks = generate_day(
        seed=3, date=date(2026, 1, 5), ticks_per_instrument=3_000, end="09:30", lot_size=75
    )
    simulator = simulators(load_settings(config).instruments)(
        ticks, broker=broker, speed=40.0, keep=True, order_faults=random_faults(11, 200, share=0.3)
    )
    quick = {
        "recovery.ask_seconds": 0.1,
        "recovery.lost_seconds_min": 2,
    }
    chosen = trading_at(simulator, broker, **quick)
    run = Run(tickpipe, tickpipe.trade("run", "--config", config, *chosen))
    for orders in (1, 3, 5):
        run.wait_for("risk", "orders", orders)
        run.kill_and_wait_for_another("risk")
    run.wait_for("risk", "orders", 7)
    code, output = run.stop()
    assert code == ExitCode.OK, output
    assert output.count("risk died: killed by SIGKILL. Starting another one") == 3
    found = report(simulator.port)
    assert found["sent_twice"] == []
    assert [place["quantity"] for place in found["held"]] == [0], output
    with Ledger.read(ledger_of(tickpipe)) as ledger:
        history, orders_sent, trades = ledger.history(), ledger.orders(), ledger.trades()
    filled = {
        order.order_id: [sum(f.quantity for f in fills), sum(f.turnover_e4 for f in fills)]
        for order, fills in orders_sent
        if fills
    }
    assert filled == found["filled"]
    assert check_ledger(load_settings(config), history, trades) == []
