"""A generated day gives one and the same list of trades, whichever way it is played.

The trades that it must give are stored in data/; tests/system/golden.py wrote them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.conftest import GUIDE, Tickpipe
from tests.system.golden import first_exit_seq, golden_trades, row_of, write_day

WAYS = {
    "backtest": ("backtest",),
    "replay, poll": ("replay", "--mode", "poll"),
    "replay, callback": ("replay", "--mode", "callback"),
    "replay, adaptive": ("replay", "--mode", "adaptive"),
    "WebSocket, poll": ("replay", "--through-simulator", "--mode", "poll"),
    "WebSocket, callback": ("replay", "--through-simulator", "--mode", "callback"),
}


@pytest.fixture
def day(tmp_path: Path) -> Path:
    return write_day(tmp_path / "day.csv.gz")


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_playing_a_day_gives_the_same_trades(
    tickpipe: Tickpipe, day: Path, way: str
) -> None:
    verb, *options = WAYS[way]
    code, output = tickpipe.run(verb, day, *options)
    assert code == 0, output
    assert [row_of(trade) for trade in tickpipe.trades()] == golden_trades()


@pytest.mark.parametrize(
    ("broker", "mode"),
    [("smartapi", "full"), ("kite", "ltp"), ("kite", "quote"), ("kite", "full")],
)
def test_every_brokers_packets_in_every_mode_give_the_same_trades(
    tickpipe: Tickpipe, day: Path, kite_config: Path, broker: str, mode: str
) -> None:
    config = kite_config if broker == "kite" else GUIDE
    options = ("--config", config, "--through-simulator", "--set", f"feed.mode={mode}")
    code, output = tickpipe.run("replay", day, *options)
    assert code == 0, output
    assert [row_of(trade) for trade in tickpipe.trades()] == golden_trades()


@pytest.mark.parametrize("verb", ["replay", "backtest"])
def test_a_position_open_at_the_end_is_closed_at_the_last_tick_in_one_more_row(
    tickpipe: Tickpipe, tmp_path: Path, verb: str
) -> None:
    cut = write_day(tmp_path / "cut.csv", ticks=first_exit_seq() - 1)
    last_price = float(cut.read_text().splitlines()[-1].split(",")[1])
    code, output = tickpipe.run(verb, cut)
    assert code == 0, output
    *before, last = [row_of(trade) for trade in tickpipe.trades()]
    assert before == golden_trades()[: len(before)]
    assert last[-1] == "Session End"
    assert float(last[1]) == last_price


def test_paper_orders_that_take_time_and_may_be_refused_give_the_same_trades_too(
    tickpipe: Tickpipe, day: Path
) -> None:
    trades = []
    paper = ("latency_ms=400", "parts_max=4", "reject_percent=10", 'fill_at="touch"')
    options = [part for each in paper for part in ("--set", f"paper.{each}")]
    for way in ("backtest", "replay, callback"):
        verb, *more = WAYS[way]
        code, output = tickpipe.run(verb, day, *more, *options)
        assert code == 0, output
        trades.append([row_of(trade) for trade in tickpipe.trades()])
        tickpipe.clear_results()
    assert trades[0] == trades[1] != golden_trades()
