"""The strategy's shell, with the real ends of all three processes in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.channels.feed_line import FeedLine
from pipeline.channels.gaps import GAPS, GAPS_CAPACITY
from pipeline.channels.line import READER_NAMES, TICKS
from pipeline.channels.risk_line import RiskLine
from pipeline.channels.rundir import own_run
from pipeline.channels.strategy_line import StrategyLine
from pipeline.records import GAP, TICK, TICK_WITH_DEPTH, Gap, GapReason, positions_dtype
from pipeline.settings import Settings, load_settings
from pipeline.strategy.contract import Depth, Signal, Strategy, Tick
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
    yield from opened_lines(settings)


def opened_lines(settings: Settings) -> Iterator[Lines]:
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


class Noting(Strategy):
    """Notes ticks and gaps in the order in which it is told."""

    def __init__(self) -> None:
        self.told: list[int | Gap] = []

    def on_tick(self, tick: Tick) -> Signal | None:
        self.told.append(tick.seq)
        return Signal.buy("each")

    def on_gap(self, gap: Gap) -> None:
        self.told.append(gap)


class NotingBatches(Noting):
    def on_batch(self, ticks: NDArray[np.void]) -> None:
        self.told.append(len(ticks))


def publish_gap(line: FeedLine, next_seq: int, first_instrument: int) -> None:
    row = np.zeros(1, GAP)
    row["reason"], row["next_seq"] = b"disconnected", next_seq
    row["first_instrument"], row["instrument_count"] = first_instrument, 1
    line.gaps.publish(row)


def gap(instrument: int) -> Gap:
    return Gap(GapReason.DISCONNECTED, 0, 0, 0, range(instrument, instrument + 1))


def shell_of(strategy: Strategy, settings: Settings, lines: Lines) -> _Shell:
    return _Shell(StrategySession(strategy, settings.instruments, 1), lines.strategy, 10)


def priced(count: int) -> NDArray[np.void]:
    rows = np.zeros(count, TICK)
    rows["price_e4"] = 1_000_000
    return rows


def test_a_gap_is_told_between_the_ticks_around_it(settings: Settings, lines: Lines) -> None:
    strategy = Noting()
    shell = shell_of(strategy, settings, lines)
    publish_gap(lines.feed, 3, 0)
    publish_gap(lines.feed, 3, 1)
    publish_gap(lines.feed, 6, 2)
    lines.feed.ticks.publish(priced(4))
    assert shell.work() == 4
    assert strategy.told == [1, 2, gap(0), gap(1), 3, 4]
    lines.feed.ticks.publish(priced(2))
    shell.work()
    assert strategy.told[6:] == [5, gap(2), 6]
    assert lines.risk.signals.take()["tick_seq"].tolist() == [1, 2, 3, 4, 5, 6]


def test_a_batch_is_told_of_its_gaps_before_it(settings: Settings, lines: Lines) -> None:
    strategy = NotingBatches()
    shell = shell_of(strategy, settings, lines)
    publish_gap(lines.feed, 2, 0)
    lines.feed.ticks.publish(priced(3))
    assert shell.work() == 3
    assert strategy.told == [gap(0), 3]


def test_a_gap_whose_tick_was_overtaken_is_told_before_the_next(
    settings: Settings, lines: Lines
) -> None:
    strategy = Noting()
    shell = shell_of(strategy, settings, lines)
    publish_gap(lines.feed, 2, 0)
    capacity = settings.channels.ring_capacity
    lines.feed.ticks.publish(priced(capacity + 10))
    assert shell.work() == 1
    assert strategy.told == [Gap(GapReason.LAPPED, capacity + 9), gap(0), capacity + 10]


# Depth ----------------------------------------------------------------------------------------


class NotingDepth(Noting):
    def on_depth(self, depth: Depth) -> None:
        self.told.append((depth.tick_seq, [level.price for level in depth.bids]))


class NotingDepthBatches(NotingBatches, NotingDepth):
    pass


@pytest.fixture
def settings_of_depth(tmp_path: Path, configs: Path) -> Settings:
    directory = f"channels.directory='{tmp_path / 'tickpipe-tests' / 'one'}'"
    changes = [directory, "strategy.depth=true", "feed.mode='full'", "channels.ring_capacity=64"]
    return load_settings(configs / "guide.toml", changes)


@pytest.fixture
def lines_of_depth(settings_of_depth: Settings) -> Iterator[Lines]:
    yield from opened_lines(settings_of_depth)


def with_depth(*bids: int | None) -> NDArray[np.void]:
    """Return rows with a best bid of so many ₹; None is a row without depth."""
    rows = np.zeros(len(bids), TICK_WITH_DEPTH)
    rows["price_e4"] = 1_000_000
    for row, bid in zip(rows, bids, strict=True):
        if bid is not None:
            row["depth"]["ts_recv_ns"] = 1
            row["depth"]["bid_e4"][0] = bid * 10_000
    return rows


def test_a_depth_is_told_right_before_its_tick(
    settings_of_depth: Settings, lines_of_depth: Lines
) -> None:
    strategy = NotingDepth()
    shell = shell_of(strategy, settings_of_depth, lines_of_depth)
    lines_of_depth.feed.publish(with_depth(99, None, 98))
    publish_gap(lines_of_depth.feed, next_seq=5, first_instrument=0)
    lines_of_depth.feed.publish(with_depth(None, 97))
    while shell.work():
        pass
    assert strategy.told == [(1, [99.0]), 1, 2, (3, [98.0]), 3, 4, gap(0), (5, [97.0]), 5]


def test_every_depth_of_a_batch_is_told_before_the_batch(
    settings_of_depth: Settings, lines_of_depth: Lines
) -> None:
    strategy = NotingDepthBatches()
    shell = shell_of(strategy, settings_of_depth, lines_of_depth)
    lines_of_depth.feed.publish(with_depth(99, None, 98))
    shell.work()
    assert strategy.told == [(1, [99.0]), (3, [98.0]), 3]


def test_signals_go_on_with_depth(settings_of_depth: Settings, lines_of_depth: Lines) -> None:
    shell = shell_of(NotingDepth(), settings_of_depth, lines_of_depth)
    lines_of_depth.feed.publish(with_depth(99, None))
    shell.work()
    assert lines_of_depth.risk.signals.take()["tick_seq"].tolist() == [1, 2]


def test_depth_that_came_too_late_is_counted(
    settings_of_depth: Settings, lines_of_depth: Lines
) -> None:
    strategy = NotingDepth()
    shell = shell_of(strategy, settings_of_depth, lines_of_depth)
    for bid in range(1, 101):
        lines_of_depth.feed.publish(with_depth(bid))
    while shell.work():
        pass
    told = [each for each in strategy.told if isinstance(each, tuple) and not isinstance(each, Gap)]
    assert lines_of_depth.strategy.depths is not None
    assert lines_of_depth.strategy.depths.lost == 100 - len(told) > 0


def test_a_depth_is_of_the_instrument_of_its_tick(
    settings_of_depth: Settings, lines_of_depth: Lines
) -> None:
    rows = with_depth(99)
    rows["instrument"] = 0
    rows["depth"]["instrument"] = 7  # as the connection that carries a later share counts
    strategy = NotingDepth()
    shell = shell_of(strategy, settings_of_depth, lines_of_depth)
    lines_of_depth.feed.publish(rows)
    assert shell.work() == 1
    assert strategy.told == [(1, [99.0]), 1]


def test_without_asking_there_is_no_ring_of_depth(settings: Settings, lines: Lines) -> None:
    assert lines.strategy.depths is None
    assert not (settings.run_directory / "depth.ring").exists()


def test_a_gap_of_the_next_feed_is_told_before_its_tick(settings: Settings, lines: Lines) -> None:
    strategy = Noting()
    shell = shell_of(strategy, settings, lines)
    directory, kind = lines.feed.directory, type(lines.feed.ticks)
    gaps = kind(directory / GAPS, GAP, GAPS_CAPACITY)
    ticks = kind(directory / TICKS, TICK, settings.channels.ring_capacity)
    row = np.zeros(1, GAP)
    row["reason"], row["next_seq"], row["instrument_count"] = b"disconnected", 1, 1
    gaps.publish(row)
    ticks.publish(priced(1))
    while 1 not in strategy.told:
        shell.work()
    assert strategy.told == [Gap(GapReason.RESTART, 0), gap(0), 1]
    ticks.close()
    gaps.close()
