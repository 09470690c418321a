"""The risk process: the only one that sends orders (I3), and the one that closes positions (I5).

It reads the same ticks as the strategy and needs nothing from it to protect what is open. What
it cannot explain ends it: it closes the position, exports the results and goes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import datetime
from time import monotonic_ns, sleep

from pipeline.brokers.contract import BrokerBook, Order, OrderGateway, OrderUpdate
from pipeline.brokers.orders import open_gateway
from pipeline.brokers.paper.orders import PaperGateway
from pipeline.channels.gaps import gap_of
from pipeline.channels.line import RISK, RiskLine, Watch
from pipeline.records import IST, ProcessState, Stage
from pipeline.results.files import write_results
from pipeline.results.parameters import bare_url, settings_rows
from pipeline.results.statistics import summarise
from pipeline.risk.desk import Desk
from pipeline.risk.files import rulebook_for
from pipeline.risk.ledger import Ledger
from pipeline.risk.numbering import is_exit_id
from pipeline.risk.reasons import Reason
from pipeline.risk.session import RiskSession
from pipeline.runtime import boundary, duty_cycle
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.latency import Stages, measured
from pipeline.runtime.stopping import Stop, stop_on_signals
from pipeline.settings import Settings, e4

log = logging.getLogger("risk")

READ_MAX = 1_024
FILLS_PART = 0.5  # of run.stop_seconds_max; the rest is for the results
FILLS_LOOK_SECONDS = 0.005


def run(settings: Settings, spin_bare: bool = False) -> ExitCode:
    """Run risk until nothing more can come or a signal asks to stop; then flatten and export."""
    started = datetime.now(IST)
    results = settings.run.results_dir
    results.mkdir(parents=True, exist_ok=True)
    with (
        stop_on_signals(boundary.supervisor_pid()) as stop,
        Ledger.open(results / f"ledger_{started:%Y%m%d_%H%M%S_%f}.sqlite") as ledger,
        RiskLine(settings, spin_bare) as line,
    ):
        ledger.settings_used(settings_rows(settings))
        shell = _Shell(settings, ledger, line)
        reason: str = Reason.ERROR
        try:
            duty_cycle.run(
                shell.work,
                idle=line.idle,
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
        self._stages = Stages(
            Stage.FEED_TO_RISK, Stage.SIGNAL_TO_RISK, Stage.SIGNAL_TO_ORDER, Stage.TICK_TO_ORDER
        )
        self._handled = self._stages[Stage.FEED_TO_RISK]
        self._arrived = self._stages[Stage.SIGNAL_TO_RISK]
        gateway = _gateway(settings, line)
        self._gateway = StampingGateway(gateway, ledger, self._stages)
        self._desk = Desk(self._session, ledger, self._gateway)
        self._watch = Watch(settings.run_directory)
        self._ticks = self._feed_restarts = self._gaps = self._gaps_ns = 0
        self._shown_version = -1
        self._last_tick_ns = 0
        self._silence_ns_max = int(settings.risk.silent_feed_seconds_max * 1e9)
        # A feed that nobody starts again is dead at the first look.
        patience_s = settings.risk.dead_feed_seconds_max if settings.feed_restarts_max else 0
        self._dead_ns_max = int(patience_s * 1e9)
        self._feed_seen_ns = monotonic_ns()
        self.feed_died = False
        self._show_positions()

    def work(self) -> int:
        line = self._line
        ticks = line.read(READ_MAX)
        signals = line.signals.take()
        if self._session.awaits_fills:
            self._hear()
        if not len(ticks) and not len(signals):
            self._follow_the_feed()
            return 0
        now_ns = monotonic_ns()
        if len(ticks):
            self._last_tick_ns = int(ticks["ts_recv_ns"][-1])
        if len(signals):
            self._arrived.add(now_ns - signals["ts_signal_ns"])
        # In lockstep the tick is the clock: a slow machine must not let a signal expire.
        self._desk.on_ticks(ticks, signals, self._last_tick_ns if line.lockstep else now_ns)
        if self._session.version != self._shown_version:
            self._show_positions()
        line.commit()
        self._handled.add(monotonic_ns() - ticks["ts_recv_ns"])
        self._ticks += len(ticks)
        return len(ticks) + len(signals)

    def _follow_the_feed(self) -> None:
        gap = self._line.follow()
        if gap is not None:
            self._feed_restarts += 1
            log.warning("another feed took over; %d ticks are lost", gap.lost)

    def _note_gaps(self) -> None:
        """Write what the feed missed into the ledger."""
        gaps = self._line.gaps.take()
        if not len(gaps):
            return
        self._gaps += len(gaps)
        self._gaps_ns += int((gaps["ended_ns"] - gaps["began_ns"]).sum())
        with self._ledger.transaction():
            for gap in map(gap_of, gaps):
                self._ledger.event("gap", str(gap), gap.ended_ns)

    def _hear(self) -> None:
        self._desk.hear()
        if self._session.version != self._shown_version:
            self._show_positions()

    def _show_positions(self) -> None:
        self._shown_version = self._session.version
        self._line.positions.publish(self._session.positions_row())

    def beat(self, cycles: int) -> None:
        """Look after what no tick tells, and say how things stand."""
        self._line.ticks.check_whole()
        self._hear()
        self._note_gaps()
        self._desk.write_events()
        self._close_when_the_feed_is_silent()
        self._close_when_asked()
        self._say_how_things_stand(cycles)

    def _say_how_things_stand(self, cycles: int) -> None:
        statistics = self._session.statistics()
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
            latency=self._stages.row(),
        )

    def _close_when_the_feed_is_silent(self) -> None:
        now_ns = monotonic_ns()
        if self._line.ticks.ready or self._line.feed_alive:
            self._feed_seen_ns = now_ns
        elif now_ns - self._feed_seen_ns > self._dead_ns_max:
            log.error("the feed is dead: closing every position and ending")
            self.feed_died = True
        silence_ns = now_ns - self._last_tick_ns
        silent = not self._line.lockstep and silence_ns > self._silence_ns_max
        if silent and self._last_tick_ns and not self._session.is_flat:
            log.error("no tick for %.0f s: closing every position", silence_ns / 1e9)
            self._desk.flatten(Reason.STALE_FEED)
            self._show_positions()

    def _close_when_asked(self) -> None:
        reason = self._line.close_request()
        if reason is not None:
            log.info("asked to close every position: %s", reason)
            self._desk.flatten(reason)
            self._show_positions()

    def reason_to_leave(self, stop: Stop) -> str:
        """Return why what is open now is closed."""
        stop.check_parent()  # the feed may have noticed first, and closed the ring
        if stop.requested:
            self._catch_up()
            return stop.reason
        return (
            Reason.STALE_FEED
            if self.feed_died or self._line.ticks.abandoned
            else Reason.SESSION_END
        )

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
            self._wait_for_fills()
        finally:
            self._note_gaps()
            self._gateway.close()
            trades = self._ledger.trades()
            path = write_results(
                self._settings.run.results_dir,
                trades=trades,
                figures=summarise(trades, self._settings.capital.initial_capital).figures(),
                parameters=self._facts(started, reason) + settings_rows(self._settings),
                stamp=started,
            )
            self._show_positions()
            self._say_how_things_stand(cycles=0)
            log.info("%d trades, results in %s", len(trades), path)

    def _wait_for_fills(self) -> None:
        """Hear what becomes of the last orders, for as long as the supervisor has patience."""
        until_ns = monotonic_ns() + int(self._settings.run.stop_seconds_max * FILLS_PART * 1e9)
        while self._session.awaits_fills and monotonic_ns() < until_ns:
            sleep(FILLS_LOOK_SECONDS)
            self._desk.hear()
        if self._session.awaits_fills:
            log.error("ended with orders that may still be filled: %r", self._session)

    def _facts(self, started: datetime, reason: str) -> list[tuple[str, str]]:
        feed, line, statistics = self._settings.feed, self._line, self._session.statistics()
        source = str(feed.recording) if feed.broker == "recorded" else bare_url(feed.url)
        return [
            ("Run", f"{self._settings.run.name} of {started:%Y-%m-%d %H:%M:%S} IST"),
            ("Ended By", reason),
            ("Mode", self._settings.waiting.mode + (", lockstep" if line.lockstep else "")),
            ("Data Source", source),
            ("Ticks", str(self._ticks)),
            ("Feed Restarts", str(self._feed_restarts)),
            ("Gaps", f"{self._gaps}, together {self._gaps_ns / 1e9:.1f} s"),
            ("Laps", f"risk {line.ticks.lapped}, strategy {line.strategy_lapped}"),
            ("Ticks Lost", f"risk {line.ticks.lost}, strategy {line.strategy_lost}"),
            ("Signals", str(statistics.signals)),
            ("Refused Signals", str(statistics.refused)),
            *self._latencies(),
        ]

    def _latencies(self) -> list[tuple[str, str]]:
        """Return a row for each stage, those of feed and strategy from their last heartbeats."""
        others = [beat for role, beat in self._watch.latest().items() if role != RISK]
        latencies = measured(others) | self._stages.latencies()
        return [(f"Latency {stage.title}", str(latencies[stage])) for stage in Stage]


def _gateway(settings: Settings, line: RiskLine) -> OrderGateway:
    if settings.orders.gateway == "paper":
        return PaperGateway(e4(settings.risk.slippage_points))
    return open_gateway(settings, line.wake, is_exit_id, os.environ)


class StampingGateway:
    """An OrderGateway that notes when each order is handed to the one behind it."""

    def __init__(self, gateway: OrderGateway, ledger: Ledger, stages: Stages) -> None:
        """Add to SIGNAL_TO_ORDER and TICK_TO_ORDER of ``stages``, and to ``ledger``."""
        self._gateway = gateway
        self._ledger = ledger
        self._from_signal = stages[Stage.SIGNAL_TO_ORDER]
        self._from_tick = stages[Stage.TICK_TO_ORDER]

    def send(self, order: Order) -> None:
        now_ns = monotonic_ns()
        self._ledger.handed_over(order.order_id, now_ns)
        if order.ts_signal_ns:
            self._from_signal.add_one(now_ns - order.ts_signal_ns)
        if order.ts_recv_ns:
            self._from_tick.add_one(now_ns - order.ts_recv_ns)
        self._gateway.send(order)

    def cancel(self, order_id: str, broker_id: str) -> None:
        self._gateway.cancel(order_id, broker_id)

    def ask(self) -> None:
        self._gateway.ask()

    def take(self) -> Sequence[OrderUpdate | BrokerBook]:
        return self._gateway.take()

    def close(self) -> None:
        self._gateway.close()
