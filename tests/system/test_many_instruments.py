"""Several instruments on one ring: positions at once, one cash, the same trades every way."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import write_ticks
from pipeline.simulator.generator import generate_day
from tests.system.conftest import GUIDE, Tickpipe, for_kite
from tests.system.golden import row_of
from tests.system.test_stopping import Run

SYMBOLS = ("NIFTY-OPTION", "BANKNIFTY-OPTION", "FINNIFTY-OPTION")
MORE = """
[[instruments]]
symbol = "{symbol}"
exchange = "NFO"
token = "{token}"
product_type = "INTRADAY"
lot_size = {lot_size}
tick_size = 0.05
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write the guide's configuration with three instruments, rich enough to hold all three."""
    path = tmp_path / "three.toml"
    more = [
        MORE.format(symbol=symbol, token=token, lot_size=lot_size)
        for symbol, token, lot_size in zip(SYMBOLS[1:], (58_964, 58_965), (30, 60), strict=True)
    ]
    path.write_text(GUIDE.read_text() + "".join(more))
    return path


@pytest.fixture
def day(tmp_path: Path) -> Path:
    path = tmp_path / "day.csv.gz"
    ticks = generate_day(seed=11, date=date(2026, 1, 5), instruments=3, ticks_per_instrument=2_000)
    write_ticks(path, ticks, SYMBOLS)
    return path


def test_a_run_is_recorded_whole_though_its_recorder_was_killed_and_plays_to_the_same_trades(
    tickpipe: Tickpipe, config: Path, day: Path, tmp_path: Path
) -> None:
    pytest.importorskip("pyarrow", reason="needs `pip install tickpipe[record]`")
    rec, where = tmp_path / "rec", ("--config", config)
    often = ("--set", f'recorder.directory="{rec}"', "--set", "recorder.flush_seconds_max=0.1")
    run = Run(tickpipe, tickpipe.trade("replay", day, "--through-simulator", *where, *often))
    tickpipe.wait_for(lambda: any(rec.glob("recording-*.json")), "something recorded")
    run.kill("recorder")
    code, output = run.finish()
    assert code == 0, output
    assert "recorder died: killed by SIGKILL. Starting another one" in output
    (path,) = rec.glob("recording-*.json")
    counted = json.loads(path.read_text())["counted"]["ticks"]
    assert counted == {"published": 6_000, "recorded": 6_000, "lost": 0}
    traded = [(trade["symbol"], *row_of(trade)) for trade in tickpipe.trades()]
    assert len({row[0] for row in traded}) > 1
    for verb, *options in (["backtest"], ["replay"], ["replay", "--through-simulator"]):
        tickpipe.clear_results()
        code, output = tickpipe.run(verb, rec / "2026-01-05", *where, *options)
        assert code == 0, output
        assert [(trade["symbol"], *row_of(trade)) for trade in tickpipe.trades()] == traded


def test_every_way_of_playing_gives_the_same_trades(
    tickpipe: Tickpipe, config: Path, day: Path
) -> None:
    ways = {
        "backtest": ("backtest",),
        "poll": ("replay", "--mode", "poll"),
        "callback": ("replay", "--mode", "callback"),
        "websocket": ("replay", "--through-simulator"),
        "kite": ("replay", "--through-simulator", "--set", "feed.mode=full"),
    }
    kite_config = config.with_name("kite.toml")
    kite_config.write_text(for_kite(config.read_text()))
    trades = {}
    for name, (verb, *options) in ways.items():
        chosen = kite_config if name == "kite" else config
        code, output = tickpipe.run(verb, day, "--config", chosen, *options)
        assert code == 0, output
        trades[name] = [(trade["symbol"], *row_of(trade)) for trade in tickpipe.trades()]
        tickpipe.clear_results()
    assert len(trades["backtest"]) > 10
    assert len({row[0] for row in trades["backtest"]}) > 1
    assert all(rows == trades["backtest"] for rows in trades.values())
