"""People halt, flatten and resume a run of real processes, and read its ledger while it runs."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from pipeline.runtime.exit_codes import ExitCode
from tests.system.conftest import GUIDE, Tickpipe
from tests.system.golden import write_steady_day
from tests.system.running import BUYS_ONCE, HOLD, STEADY, Run

NAME = "controlled"


class Controlled(Run):
    """A run that people speak to."""

    def wait_until_flat(self) -> None:
        self.tickpipe.wait_for(
            lambda: self.beat("risk", "position") == 0, "everything to be closed"
        )

    def ask(self, verb: str, *arguments: object) -> tuple[int, str]:
        directory = f'channels.directory="{self.tickpipe.run_directory}"'
        name = f'run.name="{NAME}"'
        return self.tickpipe.tell(
            verb, *arguments, "--config", GUIDE, "--set", directory, "--set", name
        )


@pytest.fixture
def run(tickpipe: Tickpipe) -> Controlled:
    """Return a run that holds a position."""
    day = write_steady_day(tickpipe.folder / "day.csv")
    name = ("--set", f'run.name="{NAME}"')
    trading = tickpipe.trade("replay", day, *STEADY, *name, "--set", BUYS_ONCE, *HOLD)
    controlled = Controlled(tickpipe, trading)
    controlled.wait_until_open()
    return controlled


def test_to_flatten_closes_everything_and_halts(run: Controlled, tickpipe: Tickpipe) -> None:
    code, output = run.ask("flatten", "--reason", "news")
    assert code == 0, output
    assert "closing everything; held: +" in output
    run.wait_until_flat()
    _, status = run.ask("status")
    assert "HALTED flatten by" in status
    assert "open positions: none" in status
    code, output = run.stop()
    assert code == 0, output
    assert [trade["exit_reason"] for trade in tickpipe.trades()] == ["kill_switch"]


def test_a_halt_is_lifted_by_typing_the_name_of_the_run_only(run: Controlled) -> None:
    assert run.ask("halt")[0] == 0
    code, output = run.ask("resume", "--unlock", "something")
    assert code == ExitCode.CONTROL_REFUSED
    assert f"type {NAME}" in output
    assert "HALTED" in run.ask("status")[1]
    code, output = run.ask("resume", "--unlock", NAME)
    assert code == 0, output
    assert "ACTIVE" in run.ask("status")[1]
    assert run.beat("risk", "position") > 0  # neither touched what is held
    run.stop()


def test_the_status_tells_of_a_strategy_that_died(run: Controlled, tickpipe: Tickpipe) -> None:
    assert "nobody asks for entries" not in run.ask("status")[1]
    run.kill("strategy")
    tickpipe.wait_for(
        lambda: "nobody asks for entries" in run.ask("status")[1], "status to tell of it"
    )
    assert run.stop()[0] == ExitCode.CHILD_DIED


def test_a_hung_strategy_keeps_nobody_from_flattening(run: Controlled) -> None:
    strategy = run.beat("strategy", "pid")
    os.kill(strategy, signal.SIGSTOP)
    try:
        assert run.ask("flatten")[0] == 0
        run.wait_until_flat()
    finally:
        os.kill(strategy, signal.SIGCONT)
    run.stop()


def test_the_ledger_is_read_while_the_run_goes_on(run: Controlled, tickpipe: Tickpipe) -> None:
    (path,) = tickpipe.results.glob("ledger_*.sqlite")
    code, output = run.ask("orders", "--file", path)
    assert code == 0, output
    assert "FILLED" in output
    code, output = run.ask("positions", "--file", path)
    assert code == 0, output
    assert "+" in output
    code, output = run.ask("ledger", "check", "--file", path)
    assert code == 0, output
    assert "agree" in output
    assert run.ask("trades", "--file", path)[1].startswith("trades: none")
    run.stop()
    code, output = run.ask("trades", "--file", path)
    assert "Stop Requested" in output


def test_a_ledger_that_does_not_agree_is_said(run: Controlled, tickpipe: Tickpipe) -> None:
    run.stop()
    (path,) = tickpipe.results.glob("ledger_*.sqlite")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE fills SET quantity = quantity + 1")
    code, output = run.ask("ledger", "check", "--file", path)
    assert code == ExitCode.FAILED
    assert "wrong: order" in output


@pytest.mark.parametrize("verb", ["halt", "flatten", "status"])
def test_without_a_run_the_message_says_whom_nobody_answered(
    tickpipe: Tickpipe, verb: str, tmp_path: Path
) -> None:
    directory = f'channels.directory="{tmp_path / "nowhere"}"'
    code, output = tickpipe.tell(verb, "--config", GUIDE, "--set", directory)
    assert code == ExitCode.CONTROL_REFUSED
    assert "rule: a running risk process listens there" in output
