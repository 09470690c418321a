"""How a run ends: on request, by a strategy that fails, by kill -9 of anything."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from pipeline.runtime.exit_codes import ExitCode
from tests.system.conftest import Tickpipe
from tests.system.golden import write_day, write_steady_day
from tests.system.running import HERE, HOLD, STEADY, Run

StartDay = Callable[..., Run]


@pytest.fixture
def start_day(tickpipe: Tickpipe) -> StartDay:
    """Return a way to replay a steady day, free-running, with one of strategies.py."""

    def start(strategy: str, *options: object) -> Run:
        day = write_steady_day(tickpipe.folder / "day.csv")
        use = f'strategy.use="{HERE / "strategies.py"}:{strategy}"'
        return Run(tickpipe, tickpipe.trade("replay", day, *STEADY, "--set", use, *options))

    return start


@pytest.mark.parametrize(
    ("number", "reason", "expected"),
    [
        (signal.SIGINT, "Keyboard Interrupt", ExitCode.INTERRUPTED),
        (signal.SIGTERM, "Stop Requested", ExitCode.OK),
    ],
)
@pytest.mark.parametrize("mode", ["poll", "callback"])
def test_a_signal_closes_the_position_and_exports_once(
    tickpipe: Tickpipe,
    start_day: StartDay,
    number: signal.Signals,
    reason: str,
    expected: ExitCode,
    mode: str,
) -> None:
    run = start_day("BuysOnce", "--mode", mode, *HOLD)
    run.wait_until_open()
    os.kill(run.process.pid, number)
    code, output = run.finish()
    assert code == expected, output
    assert tickpipe.trades()[-1]["exit_reason"] == reason


def test_ctrl_c_in_the_terminal_reaches_the_children_only_through_the_supervisor(
    tickpipe: Tickpipe, start_day: StartDay
) -> None:
    run = start_day("BuysOnce", *HOLD)
    run.wait_until_open()
    os.killpg(run.process.pid, signal.SIGINT)  # what a terminal does
    code, output = run.finish()
    assert code == ExitCode.INTERRUPTED, output
    assert tickpipe.trades()[-1]["exit_reason"] == "Keyboard Interrupt"


def test_risk_closes_by_its_rules_after_the_strategy_was_killed(
    tickpipe: Tickpipe, start_day: StartDay
) -> None:
    run = start_day("BuysOnce", "--set", "risk.base_sl_points=3")
    run.wait_until_open()
    run.kill("strategy")
    tickpipe.wait_for(lambda: run.beat("risk", "trades") > 0, "an exit by the rules")
    code, output = run.stop()
    assert code == ExitCode.CHILD_DIED, output
    assert "strategy died: killed by SIGKILL" in output
    reasons = {trade["exit_reason"].rstrip(" 1234") for trade in tickpipe.trades()}
    assert reasons & {"Stop Loss", "Trailing Stop", "Take Profit"}, reasons


@pytest.mark.parametrize("mode", ["poll", "callback"])
def test_in_lockstep_too_risk_goes_on_without_a_dead_strategy(
    tickpipe: Tickpipe, mode: str
) -> None:
    day = write_day(tickpipe.folder / "day.csv")
    use = f'strategy.use="{HERE / "strategies.py"}:BuysThenDies"'
    code, output = tickpipe.run("replay", day, "--mode", mode, "--set", use)
    assert code == ExitCode.CHILD_DIED, output
    parameters, trades = tickpipe.results_file()
    assert parameters["Ticks"] == "6000"
    assert trades[-1]["exit_reason"] in ("Stop Loss", "Trailing Stop")


def test_a_dead_feed_makes_risk_close_the_position(tickpipe: Tickpipe, start_day: StartDay) -> None:
    run = start_day("BuysOnce", *HOLD, "--set", "feed.restarts_max=0")
    run.wait_until_open()
    run.kill("feed")
    code, output = run.finish()
    assert code == ExitCode.CHILD_DIED, output
    assert tickpipe.trades()[-1]["exit_reason"] == "stale_feed"


@pytest.mark.parametrize("mode", ["poll", "callback"])
def test_a_killed_feed_is_started_again_and_everybody_goes_on(
    tickpipe: Tickpipe, start_day: StartDay, mode: str
) -> None:
    run = start_day("BuysOnce", "--mode", mode, *HOLD)
    run.wait_until_open()
    first, handled = run.beat("feed", "pid"), run.beat("risk", "last_seq")
    run.kill("feed")
    for role in ("strategy", "risk"):
        tickpipe.wait_for(
            lambda role=role: run.beat(role, "last_seq") > handled + 100,  # type: ignore[misc]
            f"{role} to handle ticks of another feed",
        )
    assert run.beat("feed", "pid") != first
    assert run.beat("feed", "last_seq") > handled, "seqs go on where they were"
    assert run.beat("risk", "position") > 0, "the position is kept"
    code, output = run.stop()
    assert code == ExitCode.OK, output
    assert "feed died: killed by SIGKILL. Starting another one" in output
    parameters, trades = tickpipe.results_file()
    assert trades[-1]["exit_reason"] == "Stop Requested"
    assert parameters["Feed Restarts"] == "1"


def test_a_feed_that_dies_too_often_makes_risk_close_the_position(
    tickpipe: Tickpipe, start_day: StartDay
) -> None:
    run = start_day(
        "BuysOnce", *HOLD, "--set", "feed.restarts_max=1", "--set", "risk.dead_feed_seconds_max=0.5"
    )
    run.wait_until_open()
    first = run.beat("feed", "pid")
    run.kill("feed")
    tickpipe.wait_for(lambda: run.beat("feed", "pid") != first, "another feed")
    run.kill("feed")
    code, output = run.finish()
    assert code == ExitCode.CHILD_DIED, output
    assert tickpipe.trades()[-1]["exit_reason"] == "stale_feed"


def test_a_ring_that_was_deleted_under_its_readers_makes_risk_close_the_position(
    tickpipe: Tickpipe, start_day: StartDay
) -> None:
    run = start_day("BuysOnce", *HOLD)
    run.wait_until_open()
    (tickpipe.run_directory / "ticks.ring").unlink()
    code, output = run.finish()
    assert code == ExitCode.CHANNEL_BROKEN, output
    assert "ticks.ring was deleted or replaced" in output
    assert tickpipe.trades()[-1]["exit_reason"] in ("Error Occurred", "Stop Requested")


def test_a_dead_risk_ends_the_run_and_says_what_is_unguarded(start_day: StartDay) -> None:
    run = start_day("BuysOnce", *HOLD)
    run.wait_until_open()
    run.kill("risk")
    code, output = run.finish()
    assert code == ExitCode.CHILD_DIED, output
    assert "UNGUARDED" in output


@pytest.mark.parametrize("mode", ["poll", "callback"])
def test_children_end_in_order_when_the_supervisor_is_killed(
    tickpipe: Tickpipe, start_day: StartDay, mode: str
) -> None:
    run = start_day("BuysOnce", "--mode", mode, *HOLD)
    run.wait_until_open()
    run.process.kill()
    run.finish()
    tickpipe.wait_for(lambda: not tickpipe.run_directory.exists(), "the last child to clear up")
    assert tickpipe.trades()[-1]["exit_reason"] == "Stop Requested"


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        ("BuysThenRaises", "ZeroDivisionError: made up for a test"),
        ("BuysThenNonsense", "'BUY please'"),
    ],
)
def test_seven_failures_in_a_row_close_the_position_and_stop(
    tickpipe: Tickpipe, start_day: StartDay, strategy: str, told: str
) -> None:
    code, output = start_day(strategy).finish()
    assert code == ExitCode.STRATEGY_FAILED, output
    assert "failed 7 times in a row" in output
    assert told in output
    assert "Traceback" in output, "its author must find the line"
    assert tickpipe.trades()[-1]["exit_reason"] == "NaN Threshold Exceeded"


def test_a_strategy_that_never_returns_is_killed_and_risk_guards_the_position(
    tickpipe: Tickpipe, start_day: StartDay
) -> None:
    run = start_day("BuysThenNeverReturns", *HOLD, "--set", "run.hang_seconds_max=2")
    run.wait_until_open()
    tickpipe.wait_for(lambda: not alive(run.beat("strategy", "pid")), "the hung one to be killed")
    code, output = run.stop()
    assert code == ExitCode.STRATEGY_FAILED, output
    assert "strategy has not finished a turn" in output
    assert tickpipe.trades()[-1]["exit_reason"] == "Stop Requested"


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
