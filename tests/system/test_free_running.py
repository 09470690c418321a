"""Played at 300 times real time through the WebSocket, nothing is lost and nothing is reordered."""

from __future__ import annotations

import os
import signal
from datetime import date
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import read_ticks, write_ticks
from pipeline.runtime.exit_codes import ExitCode
from pipeline.settings import load_settings
from pipeline.simulator.generator import generate_day
from tests.system.conftest import GUIDE, Tickpipe
from tests.system.running import HERE, HOLD, Run


@pytest.fixture
def busy_quarter(tmp_path: Path) -> Path:
    """Write 15 minutes with 3 000 ticks: 3 seconds at 300 times real time."""
    path = tmp_path / "quarter.csv"
    ticks = generate_day(
        seed=3, date=date(2026, 1, 5), ticks_per_instrument=3_000, end="09:30", lot_size=75
    )
    write_ticks(path, ticks)
    return path


@pytest.mark.parametrize("mode", ["poll", "callback"])
def test_every_tick_arrives_once_and_in_order(
    tickpipe: Tickpipe, busy_quarter: Path, mode: str
) -> None:
    seen = tickpipe.folder / "seen.csv"
    code, output = tickpipe.run(
        "replay", busy_quarter, "--through-simulator", "--free-running", "--speed", "300",
        "--mode", mode,
        "--set", f'strategy.use="{HERE / "strategies.py"}:WritesDown"',
        "--set", f'strategy.parameters.file="{seen}"',
    )  # fmt: skip
    assert code == 0, output
    sent = read_ticks(busy_quarter, load_settings(GUIDE).instruments)
    expected = [
        f"{seq},{event_ns},{price_e4}"
        for seq, (event_ns, price_e4) in enumerate(
            zip(sent["ts_event_ns"].tolist(), sent["price_e4"].tolist(), strict=True), start=1
        )
    ]
    assert seen.read_text().splitlines() == expected
    parameters, _ = tickpipe.results_file()
    assert parameters["Ticks"] == str(len(sent))
    assert parameters["Ticks Lost"] == "risk 0, strategy 0"


@pytest.mark.parametrize("policy", ["latest", "oldest"])
def test_a_quick_recording_laps_a_slow_strategy_and_the_loss_is_exact(
    tickpipe: Tickpipe, busy_quarter: Path, policy: str
) -> None:
    """The feed never waits (I1); what the strategy lost is known to the tick (I2)."""
    seen = tickpipe.folder / "seen.csv"
    code, output = tickpipe.run(
        "replay", busy_quarter, "--free-running",
        "--set", "channels.ring_capacity=64",
        "--set", "risk.when_lapped='oldest'",
        "--set", f"strategy.when_lapped='{policy}'",
        "--set", f'strategy.use="{HERE / "strategies.py"}:WritesDownSlowly"',
        "--set", f'strategy.parameters.file="{seen}"',
    )  # fmt: skip
    assert code == 0, output
    parameters, _ = tickpipe.results_file()
    lost = int(parameters["Ticks Lost"].rpartition(" ")[2])
    received = len(seen.read_text().splitlines())
    assert lost > 0
    assert received + lost == 3_000


def test_risk_that_was_overtaken_closes_and_ends_the_run(
    tickpipe: Tickpipe, busy_quarter: Path
) -> None:
    run = tickpipe.trade(
        "replay", busy_quarter, "--through-simulator", "--free-running", "--speed", "20",
        "--set", "channels.ring_capacity=64",
        "--set", f'strategy.use="{HERE / "strategies.py"}:BuysOnce"',
        *HOLD,
    )  # fmt: skip
    watch = Run(tickpipe, run)
    watch.wait_until_open()
    pid, seen = watch.beat("risk", "pid"), watch.beat("feed", "last_seq")
    os.kill(pid, signal.SIGSTOP)
    tickpipe.wait_for(lambda: watch.beat("feed", "last_seq") > seen + 200, "a lap")
    os.kill(pid, signal.SIGCONT)
    code, output = watch.finish()
    assert code == ExitCode.CHANNEL_BROKEN, output
    assert "risk was overtaken" in output
    assert tickpipe.trades()[-1]["exit_reason"] == "Error Occurred"
