"""A day under rules that the guide does not have: long and short, the same however it is played."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.system.conftest import Tickpipe
from tests.system.golden import write_day

BOTH_WAYS = '''
from pipeline import Signal, Strategy, Tick


class BothWays(Strategy):
    """Buy after falling ticks, sell after rising ones."""

    last_e4 = run = 0

    def on_tick(self, tick: Tick) -> Signal | None:
        rose = (tick.price_e4 > self.last_e4) - (tick.price_e4 < self.last_e4)
        self.run = self.run + rose if self.run * rose > 0 else rose
        self.last_e4 = tick.price_e4
        if abs(self.run) < 3 or not self.position.is_flat:
            return None
        return Signal.sell("rose") if self.run > 0 else Signal.buy("fell")
'''
RULES = (
    *("risk.allow_short=true", "risk.breakeven_gain_points=3.0", "risk.breakeven_stop_points=0.5"),
    *("risk.time_limit_minutes=5", "risk.position_value_max=60000.0", 'risk.order_type="limit"'),
    *("risk.collar_points=2.0", "risk.orders_per_minute_max=6", "risk.orders_reserved_for_exits=2"),
    *("risk.cool_down_stops=2", "risk.cool_down_minutes=3"),
)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    strategy = tmp_path / "both_ways.py"
    strategy.write_text(BOTH_WAYS)
    sets = (f"strategy.use={strategy}:BothWays", *RULES)
    return [str(write_day(tmp_path / "day.csv")), *(a for each in sets for a in ("--set", each))]


def test_long_and_short_trades_are_the_same_in_a_replay_and_in_a_backtest(
    tickpipe: Tickpipe, arguments: list[str]
) -> None:
    played = []
    for verb in ("backtest", "replay"):
        code, output = tickpipe.run(verb, *arguments)
        assert code == 0, output
        figures, trades = tickpipe.results_file()
        tickpipe.clear_results()
        nets = sum(Decimal(trade["net_pnl"]) for trade in trades)
        assert abs(Decimal(figures["Final Cash"]) - 100_000 - nets) < Decimal("0.01") * len(trades)
        same = [name for name in trades[0] if not name.endswith("_us")]
        played.append([tuple(trade[name] for name in same) for trade in trades])
        assert {trade["side"] for trade in trades} == {"BUY", "SELL"}
        reasons = {trade["exit_reason"] for trade in trades}
        assert {"Breakeven Stop", "Time Limit", "Stop Loss", "Take Profit 1"} <= reasons
        assert int(figures["Refused Signals"]) > 0
        for trade in trades:
            moved = Decimal(trade["exit_price"]) - Decimal(trade["entry_price"])
            gross = moved * int(trade["quantity"]) * (1 if trade["side"] == "BUY" else -1)
            assert Decimal(trade["gross_pnl"]) == gross
    assert played[0] == played[1]
