"""The strategy's shell, with the real ends of all three processes in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels.line import READER_NAMES, FeedLine, RiskLine, StrategyLine
from pipeline.channels.rundir import own_run
from pipeline.records import TICK, positions_dtype
from pipeline.settings import Settings, load_settings
from pipeline.strategy.contract import Signal, Strategy, Tick
from pipeline.strategy.process import _Shell
from pipeline.strategy.session import StrategySession


class Lines(NamedTuple):
    feed: FeedLine
    strategy: StrategyLine
    risk: RiskLine


@pytest.fixture
def settings(tmp_path: Path, configs: Path) -> Settings:
    directory = f"channels.directory='{tmp_path / 'tickpipe-tests' / 'one'}'"
    return load_settings(configs / "guide.toml", [directory])


@pytest.fixture
def lines(settings: Settings) -> Iterator[Lines]:
    """Open the three ends; each waits for what the others create, so at the same time."""
    with (
        own_run(settings.run_directory, READER_NAMES, print),
        ThreadPoolExecutor(3) as threads,
    ):
        kinds: list[Callable[[Settings], object]] = [FeedLine, StrategyLine, RiskLine]
        feed, strategy, risk = threads.map(lambda kind: kind(settings), kinds)
        assert isinstance(feed, FeedLine)
        assert isinstance(strategy, StrategyLine)
        assert isinstance(risk, RiskLine)
        opened = Lines(feed, strategy, risk)
        yield opened
        for line in opened:
            line.close()


class Watching(Strategy):
    """Notes the entry price of its position at every tick."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_tick(self, tick: Tick) -> Signal | None:
        self.seen.append(self.position.entry_price)
        return None


def publish_position(settings: Settings, line: RiskLine, entry_price: int) -> None:
    row = np.zeros(1, positions_dtype(len(settings.instruments)))
    row["positions"]["position_id"] = row["positions"]["quantity"] = 1
    row["positions"]["entry_price_e4"] = entry_price * 10_000
    line.positions.publish(row)


def test_a_tick_is_seen_with_the_positions_that_were_there_before_it_was_published(
    settings: Settings, lines: Lines
) -> None:
    strategy = Watching()
    shell = _Shell(StrategySession(strategy, settings.instruments, 1), lines.strategy, 10)

    def read_after_risk_and_the_feed(limit: int) -> NDArray[np.void]:
        """In lockstep both may act between the start of a turn and its read."""
        publish_position(settings, lines.risk, entry_price=100)
        lines.feed.ticks.publish(np.zeros(1, TICK))
        return lines.strategy.read(limit)

    shell._read = read_after_risk_and_the_feed
    assert shell.work() == 1
    assert strategy.seen == [100]
