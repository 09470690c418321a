"""Several instruments on one ring: positions at once, one cash, the same trades every way."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipeline.brokers.recorded.files import write_ticks
from pipeline.simulator.generator import generate_day
from tests.system.conftest import GUIDE, Tickpipe, for_kite
from tests.system.golden import row_of

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
