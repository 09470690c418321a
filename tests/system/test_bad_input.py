"""What a stranger does wrong, and what the world does: a clear message, a code, no lost trade."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli import main
from pipeline.runtime.exit_codes import ExitCode
from tests.system.conftest import GUIDE, ROOT, Tickpipe, finish
from tests.system.golden import golden_trades, row_of, write_day, write_steady_day
from tests.system.running import BUYS_ONCE, STEADY_SPEED, Run

PAPER = GUIDE.parent / "paper.toml"
GOOD_ROWS = ["timestamp,price,volume"] + [
    f"2026-01-05 09:15:{second:02d}+05:30,{250 + second}.05,75" for second in range(20)
]


def explained(output: str) -> bool:
    """Tell whether the output has an error with its rule and its cure, and no traceback."""
    parts = ("rule: ", "cure: ")
    return all(part in output for part in parts) and "Traceback" not in output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("base_sl_points", "base_sl_point"), "the nearest valid name is 'base_sl_points'"),
        (("tp_points = [5.0, 12.0, 20.0, 30.0]\n", ""), "risk.tp_points: missing"),
        (("fast_ema = 18", 'fast_ema = "soon"'), "strategy.fast_ema"),
        (("fast_ema = 18", "fast_ema = "), "valid TOML"),
    ],
)
@pytest.mark.parametrize("verb", ["check-config", "run", "show-config"])
def test_a_wrong_configuration_is_refused_before_anything_starts(
    tickpipe: Tickpipe, change: tuple[str, str], told: str, verb: str
) -> None:
    config = tickpipe.folder / "wrong.toml"
    config.write_text(GUIDE.read_text().replace(*change))
    code, output = tickpipe.tell(verb, "--config", config)
    assert code == ExitCode.BAD_SETTINGS, output
    assert told in output
    assert explained(output)


def with_row(number: int, row: str) -> Callable[[Path], object]:
    rows = GOOD_ROWS.copy()
    rows[number] = row
    return lambda path: path.write_text("\n".join(rows))


BAD_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "broken row": (with_row(7, "2026-01-05 09:15:06+05:30,255.05"), "line 8"),
    "price of 0": (with_row(7, "2026-01-05 09:15:06+05:30,0,75"), "line 8"),
    "negative price": (with_row(7, "2026-01-05 09:15:06+05:30,-1.5,75"), "line 8"),
    "NaN price": (with_row(7, "2026-01-05 09:15:06+05:30,nan,75"), "line 8"),
    "row out of order": (with_row(7, "2026-01-05 09:15:01+05:30,255.05,75"), "line 8"),
    "empty file": (lambda path: path.write_text(""), "empty"),
}


@pytest.mark.parametrize("what", BAD_FILES)
@pytest.mark.parametrize("verb", ["backtest", "replay"])
def test_a_bad_tick_file_is_refused_with_its_line(tickpipe: Tickpipe, what: str, verb: str) -> None:
    write, told = BAD_FILES[what]
    path = tickpipe.folder / "day.csv"
    write(path)
    code, output = tickpipe.tell(verb, path, "--config", GUIDE)
    assert code == ExitCode.BAD_TICK_FILE, output
    assert told in output
    assert explained(output)


@pytest.mark.parametrize("verb", ["backtest", "replay", "simulate"])
def test_a_truncated_gz_is_refused(tickpipe: Tickpipe, verb: str) -> None:
    path = write_day(tickpipe.folder / "day.csv.gz")
    path.write_bytes(path.read_bytes()[:20_000])
    code, output = finish(tickpipe.start(verb, path, "--config", GUIDE))
    assert code == ExitCode.BAD_TICK_FILE, output
    assert "truncated" in output or "ends" in output
    assert explained(output)


def test_a_port_in_use_is_told(tickpipe: Tickpipe) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        day = write_day(tickpipe.folder / "day.csv", ticks=100)
        code, output = finish(tickpipe.start("simulate", day, "--port", port, "--config", GUIDE))
    assert code == ExitCode.PORT_IN_USE, output
    assert str(port) in output
    assert explained(output)


def test_nothing_listening_is_told_with_the_command_that_helps(tickpipe: Tickpipe) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, output = tickpipe.run("run", *at(port), "--set", "feed.reconnect_delay_seconds=0.01")
    assert code == ExitCode.FEED_LOST, output
    assert "tickpipe simulate FILE" in output
    assert explained(output)


def at(port: int) -> tuple[str, str]:
    return ("--set", f'feed.url="ws://127.0.0.1:{port}/smart-stream"')


@pytest.fixture
def simulator(tickpipe: Tickpipe) -> Callable[..., int]:
    """Return a way to start a simulator; it gives the port."""

    def start(*options: object) -> int:
        day = write_steady_day(tickpipe.folder / "day.csv")
        port = () if "--port" in options else ("--port", 0)
        process = tickpipe.start("simulate", day, *port, "--config", GUIDE, *options)
        assert process.stdout is not None
        found = re.search(r"ws://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert found is not None
        return int(found[1])

    return start


def test_a_wrong_token_is_told_and_not_tried_again(
    tickpipe: Tickpipe, simulator: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "CLIENT_CODE", "JWT", "FEED_TOKEN"):
        monkeypatch.setenv(f"TICKPIPE_{name}", "yesterdays-secret")
    login = ("--set", 'feed.credentials="environment"')
    code, output = tickpipe.run("run", *at(simulator()), *login)
    assert code == ExitCode.AUTH_REFUSED, output
    assert "HTTP 401" in output
    assert output.count("HTTP 401") == 1
    assert "yesterdays-secret" not in output
    assert explained(output)


def test_a_wrong_token_of_kite_is_told_without_the_address_that_contains_it(
    tickpipe: Tickpipe, kite_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TICKPIPE_API_KEY", "yesterdays-secret")
    monkeypatch.setenv("TICKPIPE_ACCESS_TOKEN", "yesterdays-secret")
    day = write_day(tickpipe.folder / "day.csv", ticks=100)
    process = tickpipe.start("simulate", day, "--port", 0, "--config", kite_config)
    assert process.stdout is not None
    found = re.search(r"(ws://127\.0\.0\.1:\d+/)", process.stdout.readline())
    assert found is not None
    login = ("--set", 'feed.credentials="environment"', "--set", f'feed.url="{found[1]}"')
    code, output = tickpipe.run("run", "--config", kite_config, *login)
    assert code == ExitCode.AUTH_REFUSED, output
    assert "HTTP 403" in output
    assert "yesterdays-secret" not in output
    assert explained(output)


def test_missing_secrets_are_told_before_anything_starts(tickpipe: Tickpipe) -> None:
    code, output = tickpipe.run("run", "--set", 'feed.credentials="environment"')
    assert code == ExitCode.BAD_SETTINGS, output
    assert "TICKPIPE_JWT" in output
    assert explained(output)


def test_the_simulator_gone_in_mid_day_costs_no_trade_and_no_restart(
    tickpipe: Tickpipe, simulator: Callable[..., int]
) -> None:
    port = simulator("--speed", STEADY_SPEED)
    quick = ("--set", "feed.reconnect_delay_seconds=0.01", "--set", "risk.base_sl_points=200")
    silence = ("--set", "risk.silent_feed_seconds_max=1")
    trading = tickpipe.trade("run", *at(port), "--set", BUYS_ONCE, *quick, *silence)
    run = Run(tickpipe, trading)
    run.wait_until_open()
    os.kill(tickpipe.started[0].pid, signal.SIGKILL)
    tickpipe.wait_for(lambda: run.beat("risk", "trades") > 0, "the position to be closed")
    simulator(
        "--port", port, "--speed", STEADY_SPEED
    )  # from the day's start: what comes was there already
    tickpipe.wait_for(lambda: run.beat("feed", "duplicates") > 0, "ticks to come again")
    code, output = run.stop()
    assert code == ExitCode.OK, output
    assert output.count("connection lost") == 1
    parameters, trades = tickpipe.results_file()
    assert trades[0]["exit_reason"] == "stale_feed"
    assert parameters["Gaps"].startswith("1, together ")


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("no_such_module:Momentum", "no_such_module"),
        ("pipeline.strategies.momentum:Momentun", "Momentum"),
        ("pipeline.records:TICK", "TICK"),
    ],
)
def test_a_strategy_that_cannot_be_loaded_is_told(tickpipe: Tickpipe, use: str, told: str) -> None:
    day = write_day(tickpipe.folder / "day.csv", ticks=100)
    code, output = tickpipe.run("replay", day, "--set", f'strategy.use="{use}"')
    assert code == ExitCode.BAD_STRATEGY, output
    assert told in output
    assert explained(output)


@pytest.mark.parametrize("verb", ["run", "replay", "backtest", "demo"])
def test_a_place_where_no_results_can_be_written_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    (tmp_path / "file").write_text("no directory")
    day = [write_day(tmp_path / "day.csv", ticks=100)] if verb in ("replay", "backtest") else []
    directory = f'channels.directory="{tmp_path / "shm"}"'
    chosen = ("--results", tmp_path / "file" / "here", "--config", PAPER, "--set", directory)
    assert main([verb, *map(str, (*day, *chosen))]) == ExitCode.BAD_SETTINGS
    told = capsys.readouterr().err
    assert str(tmp_path / "file" / "here") in told
    assert explained(told)
    assert not (tmp_path / "shm").exists()


def test_a_backtest_shows_the_line_at_which_a_strategy_fails(tickpipe: Tickpipe) -> None:
    program = tickpipe.folder / "mine.py"
    program.write_text(
        "from pipeline import Signal, Strategy\n"
        "class Mine(Strategy):\n"
        "    def on_tick(self, tick):\n"
        "        return Signal.bye('typo')\n"
    )
    day = write_day(tickpipe.folder / "day.csv", ticks=100)
    code, output = finish(
        tickpipe.start("backtest", day, "--config", GUIDE, "--set", f"strategy.use={program}:Mine")
    )
    assert code == ExitCode.STRATEGY_FAILED, output
    assert f'{program}", line 4, in on_tick' in output


def test_a_second_run_of_the_same_name_is_refused_while_the_first_lives(
    tickpipe: Tickpipe, simulator: Callable[..., int]
) -> None:
    port = simulator("--speed", STEADY_SPEED)
    first = tickpipe.trade("run", *at(port))
    run = Run(tickpipe, first)
    tickpipe.wait_for(lambda: run.beat("risk", "ticks") > 0, "the first run to trade")
    code, output = tickpipe.run("run", *at(port))
    assert code == ExitCode.ALREADY_RUNNING, output
    assert str(first.pid) in output
    assert explained(output)
    first.terminate()
    assert finish(first)[0] == ExitCode.OK


def test_what_a_crash_left_is_cleared_and_told(
    tickpipe: Tickpipe, simulator: Callable[..., int]
) -> None:
    crashed = tickpipe.trade("run", *at(simulator("--speed", STEADY_SPEED)))
    run = Run(tickpipe, crashed)
    tickpipe.wait_for(lambda: run.beat("risk", "ticks") > 0, "the run to trade")
    crashed.send_signal(signal.SIGSTOP)  # nobody may tidy up after the children
    for role in ("strategy", "feed", "risk"):
        run.kill(role)
    crashed.kill()
    finish(crashed)
    assert tickpipe.run_directory.exists()
    day = write_day(tickpipe.folder / "day.csv")
    code, output = tickpipe.run("replay", day)
    assert code == ExitCode.OK, output
    assert "left by a run that was killed" in output
    assert [row_of(trade) for trade in tickpipe.trades()] == golden_trades()


@pytest.mark.parametrize("bytes_max", [8_192, 1 << 21], ids=["no ledger", "no ring"])
def test_a_run_without_room_ends_and_does_not_speak_of_positions_that_it_never_opened(
    tickpipe: Tickpipe, bytes_max: int
) -> None:
    day = write_day(tickpipe.folder / "day.csv", ticks=100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))  # of a file: the child's too
    try:
        run = tickpipe.trade("replay", day)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    code, output = finish(run)
    assert code != ExitCode.OK, output
    assert "risk died" in output
    assert "this run opened nothing" in output
    assert "UNGUARDED" not in output


def test_the_default_configuration_is_found_from_any_folder(tickpipe: Tickpipe) -> None:
    code, output = tickpipe.tell("check-config")
    assert code == ExitCode.OK, output
    assert str(ROOT / "configs" / "paper.toml") in output.replace("\n", "")
