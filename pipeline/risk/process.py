"""The risk process: the only one that sends orders (I3), and the one that closes positions (I5).

It reads the same ticks as the strategy and needs nothing from it to protect what is open. What
it cannot explain ends it: it closes the position, exports the results and goes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from time import monotonic_ns, sleep, time_ns
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.contract import BrokerBook, Order, OrderGateway, OrderUpdate
from pipeline.brokers.paper.orders import PaperGateway
from pipeline.channels.gaps import gap_of
from pipeline.channels.line import FEED, RISK
from pipeline.channels.risk_line import RiskLine
from pipeline.channels.watch import Watch
from pipeline.records import IST, SIGNAL, ProcessState, Stage
from pipeline.results.files import prepare_directory, write_results
from pipeline.results.parameters import bare_url, settings_rows
from pipeline.results.statistics import summarise
from pipeline.risk.control import CONTROL, Control
from pipeline.risk.desk import Desk
from pipeline.risk.files import carry_over, rulebook_for
from pipeline.risk.history import START, Event
from pipeline.risk.ledger import Ledger, NoLedger, ledger_path
from pipeline.risk.numbering import is_exit_id
from pipeline.risk.reasons import Reason
from pipeline.risk.rehearsal import Rehearsal
from pipeline.risk.restoring import catch_up, restore
from pipeline.risk.session import RiskSession
from pipeline.runtime import boundary, duty_cycle
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.latency import Stages, measured
from pipeline.runtime.rehearsing import Rehearsing
from pipeline.runtime.stopping import Stop, stop_on_signals
from pipeline.settings import PaperSettings, Settings

if TYPE_CHECKING:
    from pipeline.brokers.orders import BrokerGateway

log = logging.getLogger("risk")

READ_MAX = 1_024
GAP = "gap"  # an event: ticks that are missing
RESTART = "restart"  # an event: another risk of this run died, and this one goes on
LISTEN_NS = 250_000  # a look at the socket is a system call: not for every tick of a flood
_LEVELS = {START: logging.INFO, CONTROL: logging.WARNING}
NO_SIGNALS = np.zeros(0, SIGNAL)
FILLS_PART = 0.5  # of run.stop_seconds_max; the rest is for the results
FILLS_LOOK_SECONDS = 0.005
FLATTEN_AGAIN_NS = 500_000_000


def run(settings: Settings, spin_bare: bool = False) -> ExitCode:
    """Run risk until nothing more can come or a signal asks to stop; then flatten and export."""
    started = datetime.now(IST)
    prepare_directory(settings.run.results_dir)
    path = ledger_path(settings, started)
    with (
        stop_on_signals(boundary.supervisor_pid()) as stop,
        Ledger.open(path) as ledger,
        RiskLine(settings, spin_bare) as line,
    ):
        ledger.settings_used(settings_rows(settings))
        if settings.recovers and (carried := carry_over(ledger, path, time_ns())):
            log.warning("%s", carried)
        shell = _Shell(settings, ledger, line)
        reason: str = Reason.ERROR
        try:
            duty_cycle.run(
                shell.work,
                idle=Rehearsing(line.idle, shell.rehearsal).idle if spin_bare else line.idle,
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
        self._last_tick_ns = 0
        rulebook = rulebook_for(settings)
        self._session = RiskSession(settings, rulebook, replays=line.lockstep)
        self.rehearsal = Rehearsal(
            settings,
            rulebook,
            NoLedger(),
            PaperGateway(0, PaperSettings(latency_ms=0.1), clock=monotonic_ns),
            partial(self._session.last_price_e4, 0),
        )
        self._stages = Stages(
            Stage.FEED_TO_RISK, Stage.SIGNAL_TO_RISK, Stage.SIGNAL_TO_ORDER, Stage.TICK_TO_ORDER
        )
        self._handled = self._stages[Stage.FEED_TO_RISK]
        self._arrived = self._stages[Stage.SIGNAL_TO_RISK]
        self._broker = self._open_gateway()
        self._gateway = StampingGateway(self._broker, ledger, self._stages)
        self._desk = Desk(self._session, ledger, self._gateway, self._tell, monotonic_ns)
        self._watch = Watch(settings.run_directory)
        self._ticks = self._feed_restarts = self._gaps = self._gaps_ns = 0
        self._gap_starts: set[int] = set()  # CLOCK_MONOTONIC
        self._shown_version = -1
        self._silence_ns_max = int(settings.risk.silent_feed_seconds_max * 1e9)
        # A feed that nobody starts again is dead at the first look.
        patience_s = settings.risk.dead_feed_seconds_max if settings.feed_restarts_max else 0
        self._dead_ns_max = int(patience_s * 1e9)
        self._feed_seen_ns = self._strategy_seen_ns = monotonic_ns()
        orphan_s = settings.recovery.orphan_seconds_max
        self._orphan_ns_max = None if orphan_s is None else int(orphan_s * 1e9)
        self.feed_died = False
        self._control = Control(settings.run.name, self._desk, self._tell)
        self._listened_ns = 0
        line.beat(ProcessState.RUNNING)  # orders may leave: the supervisor wants to know
        self._recover()
        self._show_positions()

    def _open_gateway(self) -> PaperGateway | BrokerGateway:
        settings = self._settings
        if settings.orders.gateway == "paper":
            return PaperGateway.of(settings, self._session.quote, self._now_ns)
        from pipeline.brokers.orders import open_gateway  # an HTTP client, not for paper

        return open_gateway(settings, self._line.wake, is_exit_id, os.environ)

    def _now_ns(self) -> int:
        """Return the time by which paper orders fill: in lockstep the exchange's, as in a
        backtest."""
        return self._session.newest_event_ns if self._line.lockstep else monotonic_ns()

    def _recover(self) -> None:
        """Stand where the ledger says that this run stood, and ask what the broker says.

        Where another risk of this run died, handle the ticks that it did not come to.
        """
        session, line = self._session, self._line
        restored = restore(session, self._ledger.history(), monotonic_ns())
        for flight in session.flights.all:
            standing = flight.standing
            self._broker.restore(
                flight.order, standing.state, standing.filled, standing.turnover_e4
            )
        missed = line.missed(restored.oldest)
        if line.handled_before:
            session.skip_signals(line.signals.taken)
            restored.handled = max(restored.handled, line.handled_before)
            self._tell(RESTART, f"another risk died: {session!r}")
        else:
            restored.handled = 0
            self._tell(START, repr(session))
        ticks = catch_up(session, missed, restored)
        self._desk.start(monotonic_ns())
        for at in range(0, len(ticks), READ_MAX):
            self._handle(ticks[at : at + READ_MAX], NO_SIGNALS)

    def _tell(self, kind: str, text: str) -> None:
        """Log what a person should know; the next commit writes it, at the latest a heartbeat's."""
        log.log(_LEVELS[kind] if kind in _LEVELS else logging.WARNING, "%s: %s", kind, text)
        self._ledger.put(Event(kind, text, time_ns()))

    def work(self) -> int:
        line = self._line
        now_ns = monotonic_ns()
        if now_ns - self._listened_ns >= LISTEN_NS:
            self._listened_ns = now_ns
            self._listen()
        ticks = line.read(READ_MAX)
        signals = line.signals.take()
        if not len(ticks) and not len(signals):
            self._follow_the_feed()
            self._hear()
            return 0
        self._handle(ticks, signals)
        line.commit()
        self._handled.add(monotonic_ns() - ticks["ts_recv_ns"])
        return len(ticks) + len(signals)

    def _handle(self, ticks: NDArray[np.void], signals: NDArray[np.void]) -> None:
        now_ns = monotonic_ns()
        if len(ticks):
            self._last_tick_ns = int(ticks["ts_recv_ns"][-1])
        if len(signals):
            self._arrived.add(now_ns - signals["ts_signal_ns"])
        # In lockstep the tick is the clock: a slow machine must not let a signal expire.
        now_ns = self._last_tick_ns if self._line.lockstep else now_ns
        self._desk.on_ticks(ticks, signals, now_ns)
        self._hear()
        self._ticks += len(ticks)

    def _follow_the_feed(self) -> None:
        gap = self._line.follow()
        if gap is not None:
            self._feed_restarts += 1
            self._tell(GAP, f"another feed took over; {gap.lost} ticks are lost")

    def _note_gaps(self) -> None:
        """Write what the feed missed into the ledger."""
        gaps = self._line.gaps.take()
        if not len(gaps):
            return
        self._gaps += len(gaps)
        self._gap_starts.update(gaps["began_ns"].tolist())
        self._gaps_ns += int((gaps["ended_ns"] - gaps["began_ns"]).sum())
        for gap in map(gap_of, gaps):
            self._ledger.put(Event(GAP, gap.text, gap.ended_ns))

    def _hear(self) -> None:
        if self._session.awaits_fills:
            self._desk.hear()
        if self._session.version != self._shown_version:
            self._show_positions()

    def _show_positions(self) -> None:
        self._shown_version = self._session.version
        self._line.positions.publish(self._session.positions_row())

    def beat(self, cycles: int) -> None:
        """Look after what no tick tells, and say how things stand."""
        self._line.ticks.check_whole()
        self._note_gaps()
        self._desk.look(monotonic_ns())
        if not self._line.lockstep:  # there the exchange's time decides alone
            self._desk.act_without_ticks(monotonic_ns())
        self._hear()
        self._close_when_the_feed_is_silent()
        self._close_when_orphaned()
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
            self._desk.flatten(Reason.STALE_FEED, now_ns)
            self._show_positions()

    def _close_when_orphaned(self) -> None:
        """Close every position when the strategy has been dead for longer than is wanted."""
        now_ns = monotonic_ns()
        if not self._line.strategy_is_gone:
            self._strategy_seen_ns = now_ns
            return
        if self._orphan_ns_max is None or self._session.is_flat:
            return
        if now_ns - self._strategy_seen_ns >= self._orphan_ns_max:
            log.error("the strategy is dead: closing every position")
            self._desk.flatten(Reason.RISK_MANAGEMENT, now_ns)
            self._show_positions()

    def _listen(self) -> None:
        """Do what people and programs ask, see control.py."""
        for asked in self._line.asked():
            answer = self._control.answer(asked.message)
            self._desk.write_now()  # who asked for what is durable before anybody is told
            asked.reply(answer)
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
            if isinstance(self._broker, PaperGateway) and self._line.lockstep:
                self._broker.hurry()  # its clock is the tick's, and stands still
                self._desk.hear()
            self._desk.flatten(reason)
            self._wait_for_fills(reason)
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

    def _wait_for_fills(self, reason: str) -> None:
        """Hear what becomes of the last orders, for as long as the supervisor has patience.

        What was not closed by then, or opened meanwhile, is closed again now and then.
        """
        until_ns = monotonic_ns() + int(self._settings.run.stop_seconds_max * FILLS_PART * 1e9)
        again_ns = monotonic_ns() + FLATTEN_AGAIN_NS
        while self._session.awaits_fills or not self._session.is_flat:
            now_ns = monotonic_ns()
            if now_ns > until_ns:
                log.error("ended with orders or positions left: %r", self._session)
                return
            if now_ns > again_ns:
                again_ns = now_ns + FLATTEN_AGAIN_NS
                self._desk.flatten(reason)
            sleep(FILLS_LOOK_SECONDS)
            self._desk.look(now_ns)

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
            ("Gaps", self._gaps_text()),
            ("Laps", f"risk {line.ticks.lapped}, strategy {line.strategy_lapped}"),
            ("Ticks Lost", f"risk {line.ticks.lost}, strategy {line.strategy_lost}"),
            ("Signals", str(statistics.signals)),
            ("Refused Signals", str(statistics.refused)),
            *self._latencies(),
        ]

    def _gaps_text(self) -> str:
        """Return how many gaps there were and how long, with one that lasts until now."""
        beats, count, total_ns = self._watch.latest(), self._gaps, self._gaps_ns
        since_ns = int(beats[FEED]["missing_since_ns"][0]) if FEED in beats else 0
        if since_ns and since_ns not in self._gap_starts:  # a feed that ends writes what lasts
            count, total_ns = count + 1, total_ns + monotonic_ns() - since_ns
        return f"{count}, together {total_ns / 1e9:.1f} s"

    def _latencies(self) -> list[tuple[str, str]]:
        """Return a row for each stage, those of feed and strategy from their last heartbeats."""
        others = [beat for role, beat in self._watch.latest().items() if role != RISK]
        latencies = measured(others) | self._stages.latencies()
        return [(f"Latency {stage.title}", str(latencies[stage])) for stage in Stage]


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
