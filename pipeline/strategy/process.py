"""The strategy process: ticks in, signals out. It sends no orders and cannot stop an exit."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic_ns

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.gaps import gap_of
from pipeline.channels.strategy_line import StrategyLine
from pipeline.records import Gap, GapReason, ProcessState, Stage
from pipeline.runtime import boundary, duty_cycle
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.latency import Stages
from pipeline.runtime.rehearsing import Rehearsing
from pipeline.runtime.stopping import stop_on_signals
from pipeline.settings import Settings
from pipeline.strategy.loading import load_strategy
from pipeline.strategy.rehearsal import Rehearsal
from pipeline.strategy.session import StrategySession, nothing_overwritten

log = logging.getLogger("strategy")


def run(settings: Settings, spin_bare: bool = False) -> ExitCode:
    """Run the strategy until the ring ends or a signal asks to stop."""
    session = StrategySession(
        load_strategy(settings.strategy), settings.instruments, settings.strategy.failures_max
    )
    with (
        stop_on_signals(boundary.supervisor_pid()) as stop,
        StrategyLine(settings, spin_bare) as line,
    ):
        shell = _Shell(session, line, settings.strategy.batch_max)
        idle = shell.idle
        if spin_bare and not session.takes_batches:
            idle = Rehearsing(idle, Rehearsal(settings)).idle
        duty_cycle.run(
            shell.work,
            idle=idle,
            stop=stop,
            beat=shell.beat,
            ended=lambda: line.ticks.ended or session.failed is not None,
        )
        if session.failed is not None:
            raise session.failed
    return ExitCode.OK


def _nothing() -> None:
    """Be the idle of a shell whose read waits."""


class _Shell:
    """Carries ticks to the session and signals to the queue."""

    def __init__(self, session: StrategySession, line: StrategyLine, batch_max: int) -> None:
        self._session = session
        self._line = line
        self._batch_max = batch_max
        self._stages = Stages(Stage.FEED_TO_STRATEGY)
        self._answered = self._stages[Stage.FEED_TO_STRATEGY]
        self._read: Callable[[int], NDArray[np.void]] = line.read  # which waits by itself
        self.idle = _nothing
        self._release = nothing_overwritten
        self._on_ticks = session.on_ticks if line.depths is None else self._with_depth
        if session.takes_batches:
            self._read, self._release = line.ticks.view, self._end_view
            self.idle = line.idle
        self._gaps: deque[np.void] = deque()  # whose next tick was not read yet
        self._ticks = self._signals = self._last_seq = 0
        self._lost_told = self._lost_logged = self._failures_logged = 0

    def work(self) -> int:
        line = self._line
        ticks = self._read(self._batch_max)
        # Positions behind the ticks: in lockstep those of the tick before are there by then.
        if (positions := line.positions.latest()) is not None:
            self._session.on_positions(positions)
        if line.ticks.lost != self._lost_told:
            self._tell(Gap(GapReason.LAPPED, line.ticks.lost - self._lost_told))
        if not len(ticks):
            if (gap := line.follow()) is not None:
                self._tell(gap)
                self._gaps.extend(line.gaps.take())
            return 0
        received_ns = ticks["ts_recv_ns"].copy()  # rows in the ring are anybody's after release
        signals = self._signals_of(ticks)
        now_ns = monotonic_ns()
        if len(signals):
            signals["ts_signal_ns"] = now_ns
            line.signals.put(signals)
            self._signals += len(signals)
        line.commit()
        self._answered.add(now_ns - received_ns)
        self._ticks += len(ticks)
        self._last_seq = line.ticks.cursor
        return 0 if self._session.failed else len(ticks)

    def _signals_of(self, ticks: NDArray[np.void]) -> NDArray[np.void]:
        if self._line.gaps.ready:
            self._gaps.extend(self._line.gaps.take())
        if self._gaps:
            return self._signals_around_gaps(ticks)
        return self._on_ticks(ticks, self._release)

    def _signals_around_gaps(self, ticks: NDArray[np.void]) -> NDArray[np.void]:
        """Tell of each gap right before the tick that ended it; before the batch where the
        strategy takes batches."""
        first_seq, start, signals = int(ticks["seq"][0]), 0, []
        while self._gaps and (place := int(self._gaps[0]["next_seq"]) - first_seq) < len(ticks):
            if place > start and not self._session.takes_batches:
                signals.append(self._on_ticks(ticks[start:place]))
                start = place
            self._session.on_gap(gap_of(self._gaps.popleft()))
        signals.append(self._on_ticks(ticks[start:], self._release))
        return np.concatenate(signals)

    def _with_depth(
        self, ticks: NDArray[np.void], release: Callable[[], int] = nothing_overwritten
    ) -> NDArray[np.void]:
        """Tell of the depth right before the tick that it came with."""
        depths, session = self._line.depths, self._session
        assert depths is not None, "else the session is called"
        signals = []
        for place, seq in enumerate(ticks["seq"].tolist()):
            if (depth := depths.of(seq)) is not None:
                session.on_depth(depth)
            if not session.takes_batches:
                signals.append(session.on_ticks(ticks[place : place + 1]))
        if session.takes_batches:
            return session.on_ticks(ticks, release)
        return np.concatenate(signals)

    def _tell(self, gap: Gap) -> None:
        """Tell the strategy of what it lost, before it gets the tick behind that."""
        self._lost_told = self._line.ticks.lost
        self._session.on_gap(gap)

    def _end_view(self) -> int:
        overwritten = self._line.ticks.release()
        self._lost_told = self._line.ticks.lost  # the session tells of these
        return overwritten

    def beat(self, cycles: int) -> None:
        self._line.ticks.check_whole()
        self._line.follow_positions()
        self._log_failures()
        self._log_losses()
        self._line.beat(
            ProcessState.RUNNING,
            cycles=cycles,
            ticks=self._ticks,
            last_seq=self._last_seq,
            lapped=self._line.ticks.lapped,
            lost=self._line.ticks.lost,
            depths_lost=0 if self._line.depths is None else self._line.depths.lost,
            refused=self._session.failures,
            signals=self._signals,
            latency=self._stages.row(),
        )

    def _log_failures(self) -> None:
        new = self._session.failures - self._failures_logged
        if new:
            self._failures_logged = self._session.failures
            log.error(
                "the strategy failed %d times; last: %s",
                new,
                self._session.last_failure,
                exc_info=self._session.last_error,
            )

    def _log_losses(self) -> None:
        new = self._line.ticks.lost - self._lost_logged
        if new:
            self._lost_logged += new
            log.warning("the strategy was too late for %d ticks, or a feed died with them", new)
