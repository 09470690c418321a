"""Depth from the simulator's packets to on_depth, through the real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.exit_codes import ExitCode
from tests.system.conftest import GUIDE, Tickpipe, for_kite
from tests.system.golden import write_day

STRATEGY = '''
from pipeline import Depth, Signal, Strategy, Tick


class Deep(Strategy):
    """Fails on the first tick that did not come right behind its own depth."""

    depth = None

    def on_depth(self, depth: Depth) -> None:
        self.depth = depth

    def on_tick(self, tick: Tick) -> Signal | None:
        assert self.depth is not None, "no depth"
        assert self.depth.tick_seq == tick.seq
        assert self.depth.ts_event_ns == tick.ts_event_ns
        assert self.depth.instrument == tick.instrument
        return Signal.buy("deep") if tick.seq == 50 else None
'''


@pytest.fixture
def strategy(tmp_path: Path) -> str:
    (tmp_path / "deep.py").write_text(STRATEGY)
    return f'strategy.use="{tmp_path / "deep.py"}:Deep"'


@pytest.mark.parametrize("broker", ["kite", "smartapi"])
def test_every_tick_comes_right_behind_its_depth(
    tickpipe: Tickpipe, strategy: str, broker: str
) -> None:
    config = tickpipe.folder / "config.toml"
    config.write_text(for_kite(GUIDE.read_text()) if broker == "kite" else GUIDE.read_text())
    day = write_day(tickpipe.folder / "day.csv", ticks=1_500)
    changes = [strategy, "strategy.depth=true", 'feed.mode="full"', "strategy.failures_max=1"]
    chosen = [part for change in changes for part in ("--set", change)]
    options = ("--through-simulator", "--config", config, *chosen)
    code, output = tickpipe.run("replay", day, *options)
    assert code == ExitCode.OK, output
    assert len(tickpipe.trades()) > 0


def test_a_tick_file_has_no_depth_and_says_so(tickpipe: Tickpipe, strategy: str) -> None:
    day = write_day(tickpipe.folder / "day.csv", ticks=100)
    chosen = ("--set", strategy, "--set", "strategy.depth=true", "--set", 'feed.mode="full"')
    for verb in ("backtest", "replay"):
        code, output = tickpipe.run(verb, day, *chosen)
        assert code == ExitCode.BAD_SETTINGS, output
        assert "the recording has no depth" in output
