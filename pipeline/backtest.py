"""A recorded day in one process: the sessions that trade live, one tick at a time.

For tick n: the strategy sees it with the positions after tick n − 1, then risk handles the
signals of n and then n. Lockstep between processes does the same, so the trades are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.paper.orders import PaperGateway
from pipeline.brokers.recorded.session import refuse_missing_depth
from pipeline.errors import StrategyFailed
from pipeline.records import IST, TICK_WITH_DEPTH
from pipeline.results.files import write_results
from pipeline.results.parameters import settings_rows
from pipeline.results.statistics import Summary, summarise
from pipeline.results.trades import Trade
from pipeline.risk.desk import Desk
from pipeline.risk.files import rulebook_for
from pipeline.risk.hours import dates_of
from pipeline.risk.ledger import MEMORY, Ledger
from pipeline.risk.limits import Refusal
from pipeline.risk.reasons import Reason
from pipeline.risk.rows import RECEIVED
from pipeline.risk.session import RiskSession, RiskStatistics
from pipeline.risk.starting import check_start
from pipeline.settings import Settings
from pipeline.strategy.loading import load_strategy
from pipeline.strategy.session import StrategySession

_CHUNK = 4_096  # ticks turned into tuples at once


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestResult:
    """What a day came to."""

    ticks: int
    trades: list[Trade]
    refusals: list[Refusal]
    cash: Decimal  # ₹, exact
    summary: Summary
    statistics: RiskStatistics
    signals: int
    failed: StrategyFailed | None  # why the strategy stopped before the end

    def write(self, settings: Settings, source: str) -> Path:
        """Write the results file into ``settings.run.results_dir`` and return its path."""
        now = datetime.now(IST)
        run = [
            ("Run", f"backtest of {now:%Y-%m-%d %H:%M:%S} IST"),
            ("Data Source", source),
            ("Ticks", str(self.ticks)),
            ("Gaps", "0"),
            ("Laps", "0"),
            ("Signals", str(self.signals)),
            ("Refused Signals", str(len(self.refusals))),
            ("Latency", "n/a (one process, no waiting)"),
        ]
        return write_results(
            settings.run.results_dir,
            trades=self.trades,
            figures=self.summary.figures(),
            parameters=run + settings_rows(settings),
            stamp=now,
        )


def backtest(
    settings: Settings, ticks: NDArray[np.void], *, ledger_path: Path | str = MEMORY
) -> BacktestResult:
    """Run the day in ``ticks`` (TICK rows, or TICK_WITH_DEPTH, oldest first) and return what it
    came to.

    ``ticks["seq"]`` need not be set. What is open after the last tick is closed at its price.
    Raises SettingsError for a day that ``check_start`` refuses.
    """
    rulebook = rulebook_for(settings)
    check_start(settings, rulebook, dates_of(ticks["ts_event_ns"]))
    strategy = StrategySession(
        load_strategy(settings.strategy), settings.instruments, settings.strategy.failures_max
    )
    session = RiskSession(settings, rulebook, replays=True)
    gateway = PaperGateway.of(settings, session.quote, lambda: session.newest_event_ns)
    with Ledger.open(ledger_path) as ledger:
        ledger.settings_used(settings_rows(settings))
        desk = Desk(session, ledger, gateway)
        _run(*_numbered(ticks, settings), strategy, desk)
        gateway.hurry()  # after the last tick the clock stands still
        desk.hear()
        desk.flatten(Reason.SESSION_END)
        ledger.commit()
        trades = ledger.trades()
        refusals = ledger.refusals()
    return BacktestResult(
        ticks=session.as_of_seq,
        trades=trades,
        refusals=refusals,
        cash=session.book.cash,
        summary=summarise(trades, settings.capital.initial_capital),
        statistics=session.statistics(),
        signals=strategy.signals,
        failed=strategy.failed,
    )


def _numbered(
    ticks: NDArray[np.void], settings: Settings
) -> tuple[NDArray[np.void], NDArray[np.void] | None]:
    """Return a copy with the seqs that a ring would give, and the depth that came with it."""
    refuse_missing_depth(settings.strategy.depth, ticks)
    seqs = np.arange(1, len(ticks) + 1)
    has_depth = ticks.dtype == TICK_WITH_DEPTH
    bare = ticks["tick"].copy() if has_depth else ticks.copy()
    bare["seq"] = seqs
    if not settings.strategy.depth:
        return bare, None
    depths = ticks["depth"].copy()
    depths["tick_seq"] = seqs
    return bare, depths


def _run(
    ticks: NDArray[np.void],
    depths: NDArray[np.void] | None,
    strategy: StrategySession,
    desk: Desk,
) -> None:
    session = desk.session
    shown_version = session.version
    signal_count = 0
    for place, (tick, row) in enumerate(_one_by_one(ticks)):
        if depths is not None and depths[place]["ts_recv_ns"]:
            strategy.on_depth(depths[place])
        signals = strategy.on_ticks(tick)
        if len(signals):
            signals["seq"] = range(signal_count + 1, signal_count + len(signals) + 1)
            signal_count += len(signals)
            desk.on_signals(signals, row[RECEIVED])
        desk.on_tick(row, row[RECEIVED])
        if session.awaits_fills:
            desk.hear()
        if session.version != shown_version:
            shown_version = session.version
            strategy.on_positions(session.positions_row())
        if strategy.failed is not None:
            break


def _one_by_one(ticks: NDArray[np.void]) -> Iterator[tuple[NDArray[np.void], tuple[int, ...]]]:
    """Give every tick as a TICK row of shape ``(1,)`` and as a tuple."""
    for start in range(0, len(ticks), _CHUNK):
        chunk = ticks[start : start + _CHUNK]
        for at, row in enumerate(chunk.tolist()):
            yield chunk[at : at + 1], row
