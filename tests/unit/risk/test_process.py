"""Risk's shell, with the real ends of all three processes in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic_ns

import numpy as np
import pytest

from pipeline.channels.feed_line import FeedLine
from pipeline.channels.line import READER_NAMES
from pipeline.channels.risk_line import RiskLine
from pipeline.channels.rundir import own_run
from pipeline.channels.strategy_line import StrategyLine
from pipeline.records import GAP, ProcessState
from pipeline.risk.ledger import Ledger
from pipeline.risk.process import _Shell
from pipeline.settings import Settings, load_settings

S = 1_000_000_000


@pytest.fixture
def settings(tmp_path: Path, configs: Path) -> Settings:
    directory = f"channels.directory='{tmp_path / 'tickpipe-tests' / 'one'}'"
    return load_settings(configs / "guide.toml", [directory])


@pytest.fixture
def lines(settings: Settings) -> Iterator[tuple[FeedLine, RiskLine]]:
    """Open the ends; each waits for what the others create, so at the same time."""
    with (
        own_run(settings.run_directory, READER_NAMES, print),
        ThreadPoolExecutor(3) as threads,
    ):
        kinds: list[Callable[[Settings], object]] = [FeedLine, StrategyLine, RiskLine]
        feed, strategy, risk = threads.map(lambda kind: kind(settings), kinds)
        assert isinstance(feed, FeedLine)
        assert isinstance(strategy, StrategyLine)
        assert isinstance(risk, RiskLine)
        yield feed, risk
        for line in (feed, strategy, risk):
            line.close()


def test_gaps_are_events_of_the_ledger_and_counted_in_the_results(
    settings: Settings, lines: tuple[FeedLine, RiskLine]
) -> None:
    feed, risk = lines
    with Ledger.open(":memory:") as ledger:
        shell = _Shell(settings, ledger, risk)
        row = np.zeros(1, GAP)
        row["reason"], row["instrument_count"] = b"disconnected", 3
        row["began_ns"], row["ended_ns"] = 10 * S, 12 * S
        row["began_epoch_ns"], row["ended_epoch_ns"] = 100 * S, 102 * S
        feed.gaps.publish(row)
        shell.beat(1)
        shell.beat(2)
        events = [(e.kind, e.text, e.ts_ns) for e in ledger.events() if e.kind == "gap"]
        assert events == [("gap", "disconnected for 2.0 s: 3 instrument(s) from 0", 102 * S)]
        assert shell._gaps_text() == "1, together 2.0 s"
        feed.beat(ProcessState.RUNNING, missing_since_ns=monotonic_ns() - 1_000 * S)
        assert shell._gaps_text().startswith("2, together 100")
        feed.beat(ProcessState.STOPPED, missing_since_ns=10 * S)  # the one that it wrote
        assert shell._gaps_text() == "1, together 2.0 s"
