"""The guide's API on real processes: its three phases, its ends, and a program that misbehaves."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.backtest import backtest
from pipeline.brokers.recorded.files import read_ticks
from pipeline.channels.locks import lock_pid
from pipeline.channels.rundir import RUN_LOCK
from pipeline.channels.watch import Watch
from pipeline.errors import AlreadyRunning, FeedLost, TickFileError, TickpipeError, UsageError
from pipeline.runtime.exit_codes import ExitCode
from pipeline.strategy.contract import Tick
from pipeline.trader import BrokerAdapter, LiveTrader
from pipeline.trader import live as live_module
from pipeline.trader import screen as screen_module
from pipeline.trader.config import settings_of
from tests.system.conftest import GUIDE, ROOT, WAIT_SECONDS_MAX
from tests.system.golden import TICKS, golden_trades, row_of, write_day
from tests.system.running import HERE

Config = dict[str, Any]
NOBODY: Config = {  # an address at which nobody listens
    "broker": "smartapi",
    "credentials": "simulator",
    "url": "ws://127.0.0.1:9/nobody",
    "connect_attempts_max": 1,
}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    """Return the guide's configuration with a generated day, in a run directory of its own."""
    config: Config = tomllib.loads(GUIDE.read_text(encoding="utf-8"))
    day = write_day(tmp_path / "day.csv")
    config["feed"] = {"broker": "recorded", "recording": str(day)}
    config["channels"] = {"lockstep": True, "directory": str(tmp_path / "shared")}
    config["run"] = {"results_dir": str(tmp_path / "results")}
    yield config
    until(lambda: not (tmp_path / "shared").exists(), "the run directory to be cleared")


@pytest.fixture
def slow(config: Config) -> Config:
    """Return a configuration that buys on the first tick and holds for 12 seconds or more."""
    config["strategy"]["use"] = f"{HERE / 'strategies.py'}:BuysOnceSlowly"
    config["risk"] |= {"tp_points": [], "tp_percents": [], "use_trail_stop": False}
    config["risk"]["base_sl_points"] = 200.0
    return config


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS_MAX} s for {what}"
        time.sleep(0.01)


def trades_of(trader: LiveTrader) -> list[tuple[str, ...]]:
    return [row_of(trade) for trade in trader.results()[1]]


def reasons_of(trader: LiveTrader) -> list[str]:
    return [trade["exit_reason"] for trade in trader.results()[1]]


class Background:
    """A trader that runs on a thread, as in a program with a GUI."""

    def __init__(self, trader: LiveTrader, **options: Any) -> None:
        self.codes: list[ExitCode] = []
        self._thread = threading.Thread(
            target=lambda: self.codes.append(trader.start(**options)), daemon=True
        )
        self._thread.start()

    def wait_for_end(self) -> None:
        self._thread.join(WAIT_SECONDS_MAX)
        assert not self._thread.is_alive(), "start() has not returned"


# The guide's three phases --------------------------------------------------------------------


def test_phase_1_polling_trades_as_before(config: Config) -> None:
    trader = LiveTrader(frozen_config=config)
    trader.use_direct_callbacks = False
    assert trader.start() is ExitCode.OK
    assert trader.results()[0]["Mode"] == "poll, lockstep"
    assert trades_of(trader) == golden_trades()


def test_phase_2_callbacks_trade_the_same(config: Config) -> None:
    trader = LiveTrader(frozen_config=config)
    trader.use_direct_callbacks = True
    assert trader.start() is ExitCode.OK
    assert trader.results()[0]["Mode"] == "callback, lockstep"
    assert trades_of(trader) == golden_trades()


def test_phase_3_a_thousand_ticks_in_each_mode_and_in_a_backtest(config: Config) -> None:
    config["feed"]["ticks_max"] = 1_000
    of_mode = {}
    for use_direct_callbacks in (False, True):
        trader = LiveTrader(frozen_config=config)
        trader.use_direct_callbacks = use_direct_callbacks
        trader.start()
        figures, _ = trader.results()
        assert figures["Ticks"] == "1000"
        assert figures["Latency Feed To Risk"].startswith("p50 ")
        of_mode[use_direct_callbacks] = trades_of(trader)
    settings = settings_of(config, "config")
    day = read_ticks(Path(config["feed"]["recording"]), settings.instruments)[:1_000]
    path = backtest(settings, day).write(settings, source="the same ticks")
    trader.results_path = path
    assert trades_of(trader) == of_mode[False] == of_mode[True] != []


def test_the_recorded_day_gives_the_guides_own_trades(
    config: Config, golden_day: Path, golden_rows: list[tuple[str, ...]]
) -> None:
    config["feed"]["recording"] = str(golden_day)
    for use_direct_callbacks in (False, True):
        trader = LiveTrader(frozen_config=config)
        trader.use_direct_callbacks = use_direct_callbacks
        trader.start()
        assert trades_of(trader) == golden_rows


@pytest.mark.parametrize("use_direct_callbacks", [False, True])
def test_run_once_ends_after_the_first_tick(config: Config, use_direct_callbacks: bool) -> None:
    trader = LiveTrader(frozen_config=config)
    trader.use_direct_callbacks = use_direct_callbacks
    assert trader.start(run_once=True) is ExitCode.OK
    assert trader.results()[0]["Ticks"] == "1"
    assert not trader.is_running


def test_after_run_once_the_next_run_is_whole(config: Config) -> None:
    trader = LiveTrader(frozen_config=config)
    trader.start(run_once=True)
    trader.start()
    assert trades_of(trader) == golden_trades()


def test_ticks_max_is_exact_where_ticks_come_many_at_once(config: Config) -> None:
    config["channels"]["lockstep"] = False
    config["feed"]["ticks_max"] = 1_000
    trader = LiveTrader(frozen_config=config)
    trader.start()
    assert trader.results()[0]["Ticks"] == "1000"


# How a run ends ------------------------------------------------------------------------------


def test_stop_from_another_thread_closes_the_position(slow: Config) -> None:
    trader = LiveTrader(frozen_config=slow)
    run = Background(trader)
    until(lambda: trader.active_position_id is not None, "an open position")
    assert trader.is_running
    trader.stop()
    run.wait_for_end()
    assert run.codes == [ExitCode.OK]
    assert reasons_of(trader) == ["Stop Requested"]
    assert (trader.is_running, trader.active_position_id) == (False, None)


def test_stop_before_the_first_tick_ends_too(slow: Config) -> None:
    trader = LiveTrader(frozen_config=slow)
    run = Background(trader)
    until(lambda: trader.is_running, "the run to begin")
    trader.stop()
    run.wait_for_end()
    assert run.codes == [ExitCode.OK]


def test_close_position_closes_and_the_run_goes_on(slow: Config) -> None:
    trader = LiveTrader(frozen_config=slow)
    run = Background(trader)
    until(lambda: trader.active_position_id is not None, "an open position")
    trader.close_position("Manual, says the trader")
    until(lambda: trader.active_position_id is None, "risk to close it")
    before = trader.statistics()["ticks"]
    until(lambda: trader.statistics()["ticks"] > before, "the run to go on")
    trader.stop()
    run.wait_for_end()
    assert reasons_of(trader) == ["Manual, says the trader"]


PROGRAM = """
import sys, tomllib
from pathlib import Path
from pipeline.trader import LiveTrader

trader = LiveTrader(config_dict=tomllib.loads(Path("config.toml").read_text()))
trader.use_direct_callbacks = True
code = trader.start()
print("start() returned", int(code), trader.results()[1][-1]["exit_reason"])
"""


@pytest.fixture
def program(slow: Config, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a program of the user's that holds a position, in a process group of its own."""
    text = GUIDE.read_text(encoding="utf-8").partition("[feed]")
    sections = [
        f"[{name}]\n" + "\n".join(f"{key} = {toml(value)}" for key, value in slow[name].items())
        for name in ("feed", "channels", "run", "risk", "strategy")
    ]
    rest = text[2].partition("[[instruments]]")[2].partition("[risk]")[0]
    waiting = '[waiting]\nmode = "poll"\n'
    config = "\n\n".join([*sections, "[[instruments]]" + rest, waiting])
    (tmp_path / "config.toml").write_text(config, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    watch = Watch(tmp_path / "shared")
    until(lambda: position(watch) > 0, "an open position")
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()
    watch.close()


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def position(watch: Watch) -> int:
    beats = watch.latest()
    return int(beats["risk"]["position"][0]) if "risk" in beats else 0


@pytest.mark.parametrize("whole_group", [False, True], ids=["the program", "as a terminal does"])
def test_ctrl_c_closes_the_position_and_start_returns(
    program: subprocess.Popen[str], whole_group: bool
) -> None:
    (os.killpg if whole_group else os.kill)(program.pid, signal.SIGINT)
    output, _ = program.communicate(timeout=WAIT_SECONDS_MAX)
    assert "start() returned 130 Keyboard Interrupt" in output
    assert "Traceback" not in output
    assert program.returncode == 0


def test_a_program_that_is_terminated_closes_the_position_too(
    program: subprocess.Popen[str],
) -> None:
    program.terminate()
    output, _ = program.communicate(timeout=WAIT_SECONDS_MAX)
    assert "start() returned 0 Stop Requested" in output


def test_a_program_that_is_killed_leaves_no_position_and_no_process(
    program: subprocess.Popen[str], tmp_path: Path
) -> None:
    program.kill()
    program.wait()
    until(lambda: not (tmp_path / "shared").exists(), "the last process to clear up")
    (results,) = (tmp_path / "results").glob("*.csv")
    assert ",Stop Requested," in results.read_text(encoding="utf-8")


def test_a_second_start_is_refused_while_the_first_runs(slow: Config) -> None:
    trader, other = (LiveTrader(frozen_config=slow) for _ in range(2))
    run = Background(trader)
    until(lambda: trader.active_position_id is not None, "an open position")
    with pytest.raises(UsageError, match="a trader has one run at a time"):
        trader.start()
    with pytest.raises(AlreadyRunning, match="exit code 7 ALREADY_RUNNING"):
        other.start()
    assert trader.is_running
    trader.stop()
    run.wait_for_end()
    assert reasons_of(trader) == ["Stop Requested"]


def test_a_supervisor_that_is_killed_is_told_when_the_results_are_written(slow: Config) -> None:
    ended: list[str] = []

    def trade() -> None:
        with pytest.raises(TickpipeError, match="killed by SIGKILL"):
            trader.start()
        ended.extend(reasons_of(trader))

    trader = LiveTrader(frozen_config=slow)
    thread = threading.Thread(target=trade, daemon=True)
    thread.start()
    until(lambda: trader.active_position_id is not None, "an open position")
    os.kill(lock_pid(Path(slow["channels"]["directory"]) / RUN_LOCK), signal.SIGKILL)
    thread.join(WAIT_SECONDS_MAX)
    assert ended == ["Stop Requested"]


def test_a_broker_that_was_connected_by_hand_is_told(config: Config) -> None:
    trader = LiveTrader(frozen_config=config)
    trader.broker.connect()
    with pytest.raises(UsageError, match=r"start\(\) connects it"):
        trader.start()
    trader.broker.disconnect()
    assert trader.start() is ExitCode.OK


def test_what_ends_a_run_is_raised_when_its_results_are_written(config: Config) -> None:
    config["feed"] = NOBODY
    trader = LiveTrader(frozen_config=config)
    with pytest.raises(FeedLost, match="exit code 9 FEED_LOST"):
        trader.start()
    assert trader.results()[0]["Ended By"] == "stale_feed"
    assert not trader.is_running


def test_a_recording_that_is_wrong_is_told_before_anything_starts(
    config: Config, tmp_path: Path
) -> None:
    day = tmp_path / "wrong.csv"
    day.write_text("timestamp,price,volume\n2026-01-05T09:15:00+05:30,0,1\n")
    config["feed"]["recording"] = str(day)
    with pytest.raises(TickFileError, match="price '0' is not above 0"):
        LiveTrader(frozen_config=config).start()
    with pytest.raises(TickFileError, match="price '0' is not above 0"):
        BrokerAdapter(config).connect()


# result_box and performance_callback ---------------------------------------------------------


def test_the_box_hears_of_the_trades_and_of_the_end(slow: Config) -> None:
    slow["feed"]["ticks_max"] = 500
    box: queue.Queue[str] = queue.Queue()
    trader = LiveTrader(frozen_config=slow)
    trader.start(result_box=box)
    lines = [box.get_nowait() for _ in range(box.qsize())]
    assert lines[0].startswith("BOUGHT ")
    assert lines[1] == "CLOSED NIFTY-OPTION: Session End (position 1)"
    assert lines[2].startswith("ENDED: 1 trades, net ₹")
    assert lines[2].endswith(str(trader.results_path))


def test_the_callback_sees_the_run_at_its_heartbeats_and_at_the_end(
    slow: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "PERFORMANCE_BEATS", 2)
    slow["feed"]["ticks_max"] = 500
    seen: list[tuple[bool, int | None]] = []

    def note(trader: LiveTrader) -> None:
        seen.append((trader.is_running, trader.active_position_id))

    LiveTrader(frozen_config=slow).start(performance_callback=note)
    assert (True, 1) in seen[:-1]
    assert seen[-1] == (True, None)


def test_the_heartbeat_says_how_the_run_is_doing(
    slow: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(live_module, "LOG_BEATS", 3)
    slow["feed"]["ticks_max"] = 500
    with caplog.at_level(logging.INFO, "trader"):
        LiveTrader(frozen_config=slow).start()
    said = [r.getMessage() for r in caplog.records if r.getMessage().startswith("heartbeat 3: ")]
    assert len(said) == 1
    assert "<LiveTrader running ticks=" in said[0]


def raises(*_: object) -> None:
    raise RuntimeError("made up for a test")


@pytest.mark.parametrize("harm", ["raises", "blocks"])
def test_neither_touches_trading_and_each_is_told_once(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    monkeypatch.setattr(live_module, "PERFORMANCE_BEATS", 1)
    monkeypatch.setattr(screen_module, "PATIENCE_SECONDS", 0.05)
    released = threading.Event()
    call = raises if harm == "raises" else lambda *_: released.wait()
    trader = LiveTrader(frozen_config=config)
    with caplog.at_level(logging.ERROR, "trader"):
        trader.start(result_box=Box(call), performance_callback=call)
        released.set()
    assert trades_of(trader) == golden_trades()
    told = [record.getMessage().partition(" ")[0] for record in caplog.records]
    names = {"result_box", "performance_callback"}
    assert len(told) == len(set(told)), "each once"
    assert set(told) == names if harm == "raises" else set(told) <= names and told


class Box:
    def __init__(self, append: Callable[[str], object]) -> None:
        self.append = append


# The trader's broker -------------------------------------------------------------------------


def test_a_callback_set_before_start_gets_every_tick(config: Config) -> None:
    got: list[tuple[int, float, str]] = []
    trader = LiveTrader(frozen_config=config)
    trader.broker.on_tick_callback = lambda tick, symbol: got.append((tick.seq, tick.price, symbol))
    trader.start()
    assert got == expected(config)
    assert trader.broker.lost == 0
    assert trader.broker.last_price == got[-1][1]
    assert trades_of(trader) == golden_trades()


def test_a_callback_slower_than_the_run_gets_the_rest_at_its_end(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config["feed"]["ticks_max"] = 500
    ended = threading.Event()
    wait_for_it = BrokerAdapter._hand_on_the_rest
    got: list[int] = []

    def say_that_it_has_ended(broker: BrokerAdapter, seconds: float) -> None:
        ended.set()
        wait_for_it(broker, WAIT_SECONDS_MAX)

    def begin_when_the_run_has_ended(tick: Tick, symbol: str) -> None:
        ended.wait(WAIT_SECONDS_MAX)
        got.append(tick.seq)

    monkeypatch.setattr(BrokerAdapter, "_hand_on_the_rest", say_that_it_has_ended)

    trader = LiveTrader(frozen_config=config)
    trader.broker.on_tick_callback = begin_when_the_run_has_ended
    trader.start()
    assert got == list(range(1, 501))
    assert trader.broker.lost == 0


def test_a_callback_set_while_the_run_goes_on_gets_ticks(slow: Config) -> None:
    got: queue.Queue[Tick] = queue.Queue()
    trader = LiveTrader(frozen_config=slow)
    run = Background(trader)
    until(lambda: trader.active_position_id is not None, "an open position")
    trader.broker.on_tick_callback = lambda tick, symbol: got.put(tick)
    first = got.get(timeout=WAIT_SECONDS_MAX)
    assert first.seq == 1, "nobody has read the ring before"
    assert trader.broker.last_price > 0
    with pytest.raises(UsageError, match=r"call trader\.stop\(\)"):
        trader.broker.disconnect()
    trader.stop()
    run.wait_for_end()


@pytest.mark.parametrize("harm", ["raises", "blocks"])
def test_a_callback_that_misbehaves_does_not_touch_trading(
    config: Config, caplog: pytest.LogCaptureFixture, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "GOODBYE_SECONDS", 0.2)
    released = threading.Event()
    taken: list[int] = []

    def block(tick: Tick, symbol: str) -> None:
        taken.append(tick.seq)
        released.wait()

    trader = LiveTrader(frozen_config=config)
    trader.broker.on_tick_callback = raises if harm == "raises" else block
    with caplog.at_level(logging.ERROR, "trader"):
        trader.start()
    released.set()
    assert trades_of(trader) == golden_trades()
    told = [record.getMessage() for record in caplog.records]
    if harm == "raises":
        assert told == ["on_tick_callback raised (told once)"]
    else:
        assert taken == [1][: len(taken)]
        assert trader.broker.lost == TICKS - len(taken), "what it did not take is counted"


# A broker alone ------------------------------------------------------------------------------


def expected(config: Config) -> list[tuple[int, float, str]]:
    day = read_ticks(Path(config["feed"]["recording"]), settings_of(config, "config").instruments)
    prices = (day["price_e4"] / 10_000).tolist()
    return [(seq, price, "NIFTY-OPTION") for seq, price in enumerate(prices, start=1)]


def polled(broker: BrokerAdapter, count: int = 1 << 60) -> list[tuple[int, float, str]]:
    """Return the next ``count`` ticks, or all until the recording ended."""
    got: list[tuple[int, float, str]] = []
    while len(got) < count and not broker.ended:
        if (tick := broker.get_next_tick()) is not None:
            got.append((tick.seq, tick.price, tick.symbol))
    return got


def test_a_broker_alone_is_polled_tick_by_tick(config: Config) -> None:
    config["channels"]["lockstep"] = False  # alone, a recording waits for its reader all the same
    config["channels"]["ring_capacity"] = 64
    broker = BrokerAdapter(config)
    broker.connect()
    assert polled(broker) == expected(config)
    assert broker.get_next_tick() is None
    assert (broker.lost, broker.last_price) == (0, expected(config)[-1][1])
    broker.disconnect()
    broker.disconnect()


@pytest.mark.parametrize("when", ["before connect", "after connect"])
def test_a_callback_gets_every_tick_whenever_it_is_set(config: Config, when: str) -> None:
    got: list[tuple[int, float, str]] = []

    def note(tick: Any, symbol: str) -> None:  # as the guide wrote it, for dictionaries
        got.append((tick.seq, tick["price"], symbol))
        assert "timestamp" in tick
        assert tick.get("ltp") == tick.price

    broker = BrokerAdapter(config)
    if when == "before connect":
        broker.on_tick_callback = note
    broker.connect()
    broker.on_tick_callback = note
    until(lambda: broker.ended, "the recording to end")
    broker.disconnect()
    assert got == expected(config)


def test_polling_and_callback_may_take_turns(config: Config) -> None:
    got: list[tuple[int, float, str]] = []
    broker = BrokerAdapter(config)
    broker.connect()
    first = polled(broker, 1_000)
    broker.on_tick_callback = lambda tick, symbol: got.append((tick.seq, tick.price, symbol))
    until(lambda: len(got) > 100, "ticks for the callback")
    broker.on_tick_callback = None
    last = polled(broker)
    broker.disconnect()
    assert first + got + last == expected(config)


def test_a_callback_may_disconnect(config: Config) -> None:
    got: list[int] = []

    def take_ten(tick: Tick, symbol: str) -> None:
        got.append(tick.seq)
        if len(got) == 10:
            broker.disconnect()

    broker = BrokerAdapter(config)
    broker.on_tick_callback = take_ten
    broker.connect()
    until(lambda: broker.ended, "the callback to disconnect")
    assert got == list(range(1, 11))


def test_a_callback_that_blocks_does_not_keep_a_broker_from_disconnecting(config: Config) -> None:
    released, got = threading.Event(), queue.Queue[int]()

    def block_on_the_first(tick: Tick, symbol: str) -> None:
        got.put(tick.seq)
        released.wait()

    broker = BrokerAdapter(config)
    broker.on_tick_callback = block_on_the_first
    broker.connect()
    assert got.get(timeout=WAIT_SECONDS_MAX) == 1
    broker.disconnect()
    broker.on_tick_callback = None
    broker.connect()
    released.set()  # the thread of the connection before sees that it is over
    assert polled(broker, 5) == expected(config)[:5]
    broker.disconnect()
    assert got.empty()


def test_a_broker_can_be_connected_again(config: Config) -> None:
    broker = BrokerAdapter(config)
    for _ in range(2):
        broker.connect()
        with pytest.raises(UsageError, match=r"call disconnect\(\) first"):
            broker.connect()
        assert polled(broker, 5) == expected(config)[:5]
        broker.disconnect()
        assert broker.ended


def test_a_feed_that_never_connects_is_told_to_who_polls(config: Config) -> None:
    config["feed"] = NOBODY
    broker = BrokerAdapter(config)
    broker.connect()
    with pytest.raises(FeedLost, match="exit code 9 FEED_LOST"):
        until(lambda: broker.get_next_tick() is not None, "an error")
    broker.disconnect()


def test_a_program_that_never_disconnects_leaves_nothing(config: Config, tmp_path: Path) -> None:
    program = (
        "import json, sys\n"
        "from pipeline.trader import BrokerAdapter\n"
        "broker = BrokerAdapter(json.loads(sys.argv[1]))\n"
        "broker.on_tick_callback = lambda tick, symbol: None\n"
        "broker.connect()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(config)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=WAIT_SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0  # and `config` waits for the run directory to go


# The guide's own words -----------------------------------------------------------------------


def test_the_snippets_of_the_guide_run_as_they_are_written(
    shared_data: Path, config: Config
) -> None:
    guide = shared_data.parent / "guide" / "direct-callback-guide.md"
    blocks = [part.partition("```")[0] for part in guide.read_text().split("```python\n")[1:]]
    uses = [block for block in blocks if "LiveTrader(frozen_config=config)" in block]
    assert len(uses) == 3
    assert len(blocks) == 4, "the other one is the body of LiveTrader"
    for block in uses:
        names: dict[str, Any] = {"LiveTrader": LiveTrader, "config": config}
        exec(compile(block, str(guide), "exec"), names)
        for trader in [value for value in names.values() if isinstance(value, LiveTrader)]:
            if trader.results_path is None:  # phase 3 makes them and leaves running to the reader
                trader.start()
            assert trades_of(trader) == golden_trades()
