"""A backtest of a recording with depth, and of one without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.backtest import backtest
from pipeline.errors import SettingsError
from pipeline.records import TICK, TICK_WITH_DEPTH
from pipeline.settings import Settings, load_settings
from pipeline.testing import make_ticks

STRATEGY = '''
from pipeline import Depth, Signal, Strategy, Tick


class Deep(Strategy):
    """Buys when the depth that came with the tick says so."""

    depth = None

    def on_depth(self, depth: Depth) -> None:
        self.depth = depth

    def on_tick(self, tick: Tick) -> Signal | None:
        depth, self.depth = self.depth, None
        if depth is None or not depth.bids:
            return None
        assert (depth.tick_seq, depth.instrument) == (tick.seq, tick.instrument)
        return Signal.buy(f"{depth.bids[0].price:.2f} x {depth.bids[0].quantity}")
'''


@pytest.fixture
def settings(tmp_path: Path, configs: Path) -> Settings:
    (tmp_path / "deep.py").write_text(STRATEGY)
    return load_settings(
        configs / "guide.toml",
        [
            f'strategy.use="{tmp_path / "deep.py"}:Deep"',
            "strategy.depth=true",
            "feed.mode='full'",
            "strategy.failures_max=1",
        ],
    )


def recording() -> NDArray[np.void]:
    ticks = make_ticks([100.0 + n for n in range(5)])
    rows = np.zeros(5, TICK_WITH_DEPTH)
    for name in TICK.names or ():
        rows[name] = ticks[name]
    rows["seq"] = 0
    rows["depth"]["ts_recv_ns"][[1, 3]] = 1
    rows["depth"]["bid_e4"][3, 0], rows["depth"]["bid_quantity"][3, 0] = 1_029_500, 75
    return rows


def test_a_recording_with_depth_gives_it_before_its_tick(settings: Settings) -> None:
    result = backtest(settings, recording())
    assert result.failed is None
    assert result.signals == 1


def test_a_strategy_that_does_not_ask_gets_the_ticks_alone(settings: Settings) -> None:
    quiet = settings.strategy.model_copy(update={"depth": False})
    result = backtest(settings.model_copy(update={"strategy": quiet}), recording())
    assert (result.ticks, result.signals) == (5, 0)


def test_a_recording_without_depth_is_refused_to_who_asks(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="the recording has no depth") as caught:
        backtest(settings, make_ticks([100.0]))
    assert "--set strategy.depth=false" in str(caught.value)
