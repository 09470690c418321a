"""The strategy process: ticks in, signals out. It sends no orders and cannot stop an exit."""

from __future__ import annotations

import logging
from time import monotonic_ns

from pipeline.channels.line import StrategyLine
from pipeline.records import ProcessState, Stage
from pipeline.runtime import boundary, duty_cycle
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.latency import Stages
from pipeline.runtime.stopping import stop_on_signals
from pipeline.settings import Settings
from pipeline.strategy.loading import load_strategy
from pipeline.strategy.session import StrategySession

log = logging.getLogger("strategy")


def run(settings: Settings, spin_bare: bool = False) -> ExitCode:
    """Run the strategy until the ring ends or a signal asks to stop."""
    session = StrategySession(
        load_strategy(settings.strategy), settings.instruments, settings.strategy.failures_max
    )
    with stop_on_signals(boundary.supervisor_pid()) as stop, StrategyLine(settings) as line:
        shell = _Shell(session, line, settings.strategy.batch_max)

        duty_cycle.run(
            shell.work,
            idle=line.waiting(settings, spin_bare).idle,
            stop=stop,
            beat=shell.beat,
            ended=lambda: line.ticks.ended or session.failed is not None,
        )
        if session.failed is not None:
            raise session.failed
    return ExitCode.OK


class _Shell:
    """Carries ticks to the session and signals to the queue."""

    def __init__(self, session: StrategySession, line: StrategyLine, batch_max: int) -> None:
        self._session = session
        self._line = line
        self._batch_max = batch_max
        self._stages = Stages(Stage.FEED_TO_STRATEGY)
        self._answered = self._stages[Stage.FEED_TO_STRATEGY]
        self._ticks = self._signals = self._last_seq = 0
        self._failures_logged = 0

    def work(self) -> int:
        line = self._line
        if (positions := line.positions.latest()) is not None:
            self._session.on_positions(positions)
        ticks = line.ticks.read(self._batch_max)
        if not len(ticks):
            return 0
        signals = self._session.on_ticks(ticks)
        now_ns = monotonic_ns()
        if len(signals):
            signals["ts_signal_ns"] = now_ns
            line.signals.put(signals)
            self._signals += len(signals)
        line.commit()
        self._answered.add(now_ns - ticks["ts_recv_ns"])
        self._ticks += len(ticks)
        self._last_seq = line.ticks.cursor
        return 0 if self._session.failed else len(ticks)

    def beat(self, cycles: int) -> None:
        self._log_failures()
        self._line.beat(
            ProcessState.RUNNING,
            cycles=cycles,
            ticks=self._ticks,
            last_seq=self._last_seq,
            lapped=self._line.ticks.lapped,
            lost=self._line.ticks.lost,
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
