"""The risk process: the only one that sends orders (I3), and the one that closes positions (I5).

It reads the same ticks as the strategy and needs nothing from it to protect what is open. What
it cannot explain ends it: it closes the position, exports the results and goes.
"""

from __future__ import annotations

import logging
from datetime import datetime
from time import monotonic_ns

from pipeline.brokers.paper.orders import PaperGateway
from pipeline.channels.line import STRATEGY, RiskLine, Watch
from pipeline.records import IST, ProcessState
from pipeline.results.files import write_results
from pipeline.results.parameters import bare_url, settings_rows
from pipeline.results.statistics import summarise
from pipeline.risk.desk import Desk
from pipeline.risk.exits import SESSION_END
from pipeline.risk.files import rulebook_for
from pipeline.risk.ledger import Ledger
from pipeline.risk.session import RiskSession
from pipeline.runtime import boundary, duty_cycle
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.latency import LatencyWindow
from pipeline.runtime.stopping import Stop, stop_on_signals
from pipeline.settings import Settings, e4

log = logging.getLogger("risk")

READ_MAX = 1_024
STALE_FEED = "stale_feed"
ERROR = "Error Occurred"


def run(settings: Settings, spin_bare: bool = False) -> ExitCode:
    """Run risk until nothing more can come or a signal asks to stop; then flatten and export."""
    started = datetime.now(IST)
    results = settings.run.results_dir
    results.mkdir(parents=True, exist_ok=True)
    with (
        stop_on_signals(boundary.supervisor_pid()) as stop,
        Ledger.open(results / f"ledger_{started:%Y%m%d_%H%M%S_%f}.sqlite") as ledger,
        RiskLine(settings) as line,
    ):
        ledger.settings_used(settings_rows(settings))
        shell = _Shell(settings, ledger, line)
        reason = ERROR
        try:
            duty_cycle.run(
                shell.work,
                idle=line.waiting(settings, spin_bare).idle,
                stop=stop,
                beat=shell.beat,
                ended=lambda: line.ended or shell.feed_died,
            )
            reason = shell.reason_to_leave(stop)
        finally:
            shell.leave(reason, started)
    return ExitCode.OK


class _Shell:
    """Carries ticks and signals to the desk, and what follows to the cells and the results."""

    def __init__(self, settings: Settings, ledger: Ledger, line: RiskLine) -> None:
        self._settings = settings
        self._ledger = ledger
        self._line = line
        self._session = RiskSession(settings, rulebook_for(settings))
        self._desk = Desk(self._session, ledger, PaperGateway(e4(settings.risk.slippage_points)))
        self._latency = LatencyWindow()
        self._watch = Watch(settings.run_directory)
        self._ticks = 0
        self._shown_version = -1
        self._last_tick_ns = 0
        self._silence_ns_max = int(settings.risk.silent_feed_seconds_max * 1e9)
        self.feed_died = False
        self._show_positions()

    def work(self) -> int:
        line = self._line
        ticks = line.read(READ_MAX)
        signals = line.signals.take()
        if not len(ticks) and not len(signals):
            return 0
        now_ns = monotonic_ns()
        if len(ticks):
            self._last_tick_ns = int(ticks["ts_recv_ns"][-1])
        # In lockstep the tick is the clock: a slow machine must not let a signal expire.
        self._desk.on_ticks(ticks, signals, self._last_tick_ns if line.lockstep else now_ns)
        if self._session.version != self._shown_version:
            self._show_positions()
        line.commit()
        self._latency.add(now_ns - ticks["ts_recv_ns"])
        self._ticks += len(ticks)
        return len(ticks) + len(signals)

    def _show_positions(self) -> None:
        self._shown_version = self._session.version
        self._line.positions.publish(self._session.positions_row())

    def beat(self, cycles: int) -> None:
        self._close_when_the_feed_is_silent()
        statistics = self._session.statistics()
        p50_ns, p99_ns, max_ns = self._latency.percentiles()
        self._line.beat(
            ProcessState.RUNNING,
            cycles=cycles,
            ticks=self._ticks,
            last_seq=self._line.ticks.cursor,
            lapped=self._line.ticks.lapped,
            lost=self._line.ticks.lost,
            signals=statistics.signals,
            refused=statistics.refused,
            orders=statistics.orders,
            trades=statistics.trades,
            position=statistics.position,
            cash_e4=statistics.cash_e4,
            equity_e4=statistics.equity_e4,
            latency_p50_ns=p50_ns,
            latency_p99_ns=p99_ns,
            latency_max_ns=max_ns,
        )

    def _close_when_the_feed_is_silent(self) -> None:
        if not self._line.ticks.ready and not self._line.feed_alive:
            log.error("the feed is dead: closing every position and ending")
            self.feed_died = True
        silence_ns = monotonic_ns() - self._last_tick_ns
        silent = not self._line.lockstep and silence_ns > self._silence_ns_max
        if silent and self._last_tick_ns and not self._session.is_flat:
            log.error("no tick for %.0f s: closing every position", silence_ns / 1e9)
            self._desk.flatten(STALE_FEED)
            self._show_positions()

    def reason_to_leave(self, stop: Stop) -> str:
        """Return why what is open now is closed."""
        stop.check_parent()  # the feed may have noticed first, and closed the ring
        if stop.requested:
            self._catch_up()
            return stop.reason
        return STALE_FEED if self.feed_died or self._line.ticks.abandoned else SESSION_END

    def _catch_up(self) -> None:
        """Handle what was there already: the last price, and a CLOSE that the strategy sent
        before it stopped."""
        published = self._line.ticks.published
        while self.work() and self._line.ticks.cursor < published:
            pass

    def leave(self, reason: str, started: datetime) -> None:
        """Close what is open and export the results, once, whatever brought us here."""
        try:
            self._desk.flatten(reason)
        finally:
            trades = self._ledger.trades()
            path = write_results(
                self._settings.run.results_dir,
                trades=trades,
                figures=summarise(trades, self._settings.capital.initial_capital).figures(),
                parameters=self._facts(started, reason) + settings_rows(self._settings),
                stamp=started,
            )
            self._show_positions()
            self.beat(0)
            log.info("%d trades, results in %s", len(trades), path)

    def _facts(self, started: datetime, reason: str) -> list[tuple[str, str]]:
        feed, line, statistics = self._settings.feed, self._line, self._session.statistics()
        source = str(feed.recording) if feed.broker == "recorded" else bare_url(feed.url)
        return [
            ("Run", f"{self._settings.run.name} of {started:%Y-%m-%d %H:%M:%S} IST"),
            ("Ended By", reason),
            ("Mode", self._settings.waiting.mode + (", lockstep" if line.lockstep else "")),
            ("Data Source", source),
            ("Ticks", str(self._ticks)),
            ("Laps", f"risk {line.ticks.lapped}, strategy {line.strategy_lapped}"),
            ("Ticks Lost By Laps", f"risk {line.ticks.lost}, strategy {line.strategy_lost}"),
            ("Signals", str(statistics.signals)),
            ("Refused Signals", str(statistics.refused)),
            ("Tick To Signal", self._strategy_latency()),
            ("Tick To Risk", _latency_text(*self._latency.percentiles())),
        ]

    def _strategy_latency(self) -> str:
        beats = self._watch.latest()
        if STRATEGY not in beats:
            return "n/a (no heartbeat of the strategy)"
        beat = beats[STRATEGY]
        names = ("latency_p50_ns", "latency_p99_ns", "latency_max_ns")
        return _latency_text(*(int(beat[name][0]) for name in names))


def _latency_text(p50_ns: int, p99_ns: int, max_ns: int) -> str:
    shown = (f"{ns / 1_000:,.1f}" for ns in (p50_ns, p99_ns, max_ns))
    return "p50 {} us, p99 {} us, max {} us".format(*shown)
