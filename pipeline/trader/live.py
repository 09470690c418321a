"""The guide's LiveTrader: a run of the pipeline, started, watched and stopped by a program."""

from __future__ import annotations

import difflib
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.channels.line import ADAPTER, FEED, RISK, ROLES
from pipeline.errors import ControlRefused, UsageError, explain
from pipeline.records import PRICE_SCALE, REASON_BYTES
from pipeline.results.files import read_results, results_files
from pipeline.risk.files import start_notices
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.stopping import (
    STOP_REQUESTED,
    Stop,
    stop_on_signals,
)
from pipeline.settings import Mode, Settings
from pipeline.trader.arguments import settings_given, try_strategy
from pipeline.trader.broker import ATTACH_SECONDS, BrokerAdapter, refuse_what_cannot_start
from pipeline.trader.events import events, open_position_id
from pipeline.trader.process import Run
from pipeline.trader.screen import GOODBYE_SECONDS, Screen

log = logging.getLogger("trader")

BEAT_SECONDS = 0.1
PERFORMANCE_BEATS = 50
LOG_BEATS = 100

_MOVED = {
    "strategy": "it lives in a process of its own; name it in strategy.use",
    "position_manager": "risk holds the positions; ask active_position_id and statistics()",
    "results_exporter": "risk writes the results, once; after start() ask results_path",
    "config": "ask settings",
}


class LiveTrader:
    """Trade one run with the guide's calls: feed, strategy and risk as processes underneath.

    Give one of ``config_path`` (a TOML file), ``config_dict`` and ``frozen_config`` (a dictionary
    in the guide's shape or in that of docs/settings.md); without any it is configs/paper.toml.
    Raises SettingsError with every mistake, and StrategyLoadError.
    """

    __slots__ = (
        "_beats",
        "_positions",
        "_run",
        "_stop",
        "broker",
        "results_path",
        "settings",
        "use_direct_callbacks",
    )

    def __init__(
        self,
        config_path: str | Path | None = None,
        config_dict: Mapping[str, object] | None = None,
        frozen_config: Mapping[str, object] | Settings | None = None,
    ) -> None:
        self.settings = settings_given(config_path, config_dict, frozen_config)
        try_strategy(self.settings)
        self.use_direct_callbacks = False
        """False: strategy and risk poll. True: they are woken for each tick. Read by start()."""
        self.broker = BrokerAdapter(self.settings)
        """The run's ticks in this program, while it runs."""
        self.results_path: Path | None = None
        """The results file of the last run, None before its end."""
        self._stop: Stop | None = None
        self._run: Run | None = None
        self._beats: Mapping[str, NDArray[np.void]] = {}
        self._positions: NDArray[np.void] | None = None

    # The guide's names ------------------------------------------------------------------------

    def start(
        self,
        run_once: bool = False,
        result_box: object = None,
        performance_callback: object = None,
    ) -> ExitCode:
        """Trade until the ticks end, ``stop()`` or Ctrl-C; return OK, or INTERRUPTED.

        It blocks; from a GUI call it on a thread. ``run_once`` ends after the first tick was
        handled. ``result_box`` (a list, a queue or a Tk Text) gets a line for each change of
        position and one at the end. ``performance_callback``, with the trader as its argument if
        it takes one, is called every 5 s and at the end. What is open at the end is closed, and
        the results are written once. Raises the error that ended the run.
        """
        settings = self._settings_of_run(run_once)
        refuse_what_cannot_start(settings)
        for notice in start_notices(settings):
            log.warning("%s", notice)
        screen = Screen(result_box, performance_callback, self)
        before = results_files(settings.run.results_dir)
        with self._stopping() as stop:
            self.broker._refuse_connected("connect() of trader.broker", "start() connects it")
            log.info("%s mode (use_direct_callbacks)", settings.waiting.mode)
            self.results_path = None
            self._beats, self._positions = {}, None
            run = Run(settings, (*ROLES, ADAPTER))
            with screen:
                try:
                    self._follow(run, screen, stop)
                finally:
                    self._let_go(run, screen, stop.reason or STOP_REQUESTED)
                self._find_results(settings, before, screen)
                screen.perform()
        return run.result()

    def stop(self) -> None:
        """Ask the run to close what is open and end; ``start()`` returns when that is done.

        Returns at once, from any thread; without a run nothing happens.
        """
        if (stop := self._stop) is not None:
            stop.request(STOP_REQUESTED)

    def close_position(self, reason: str = "manual") -> None:
        """Have risk close every position in its next turn, for ``reason`` (96 bytes), and go on.

        Returns at once, from any thread; with nothing open, or without a run, nothing happens.
        """
        if len(reason.encode()) > REASON_BYTES:
            raise UsageError(
                explain(
                    f"close_position() for {reason!r}",
                    rule=f"a reason has at most {REASON_BYTES} bytes",
                    cure="shorten it",
                )
            )
        if (run := self._run) is not None and run.line is not None:
            with suppress(ControlRefused):  # it ends just now, and closes by itself
                run.line.request_close(reason)

    @property
    def is_running(self) -> bool:
        """True from the beginning of ``start()`` to its end."""
        return self._stop is not None

    @property
    def active_position_id(self) -> int | None:
        """The number of the open position, 0.1 s old at most; None when nothing is open."""
        return open_position_id(self._positions)

    # Ours -------------------------------------------------------------------------------------

    def statistics(self) -> dict[str, float]:
        """Return what the run has come to, 0.2 s old at most; {} before its first heartbeat.

        ticks handled by risk, signals, refused, orders, trades (exit rows) and lost are counts;
        position is in shares; cash, equity, pnl and last_price are in ₹.
        """
        if RISK not in self._beats:
            return {}
        risk, feed = self._beats[RISK], self._beats[FEED]
        counts = ("ticks", "signals", "refused", "orders", "trades", "lost", "position")
        money = {name: int(risk[f"{name}_e4"][0]) / PRICE_SCALE for name in ("cash", "equity")}
        return {
            **{name: int(risk[name][0]) for name in counts},
            **money,
            "pnl": money["equity"] - float(self.settings.capital.initial_capital),
            "last_price": int(feed["last_price_e4"][0]) / PRICE_SCALE,
        }

    def results(self) -> tuple[dict[str, str], list[dict[str, str]]]:
        """Return the last run's figures and trades as its results file has them.

        Raises UsageError before a run has ended.
        """
        if self.results_path is None:
            raise UsageError(
                explain(
                    "results() without a finished run",
                    rule="risk writes the results when a run ends",
                    cure="call start() first; while it runs, ask statistics()",
                )
            )
        return read_results(self.results_path)

    def __repr__(self) -> str:
        state = "running" if self.is_running else "not running"
        figures = self.statistics().items()
        shown = [f"{k}={v:,.2f}" if isinstance(v, float) else f"{k}={v:,}" for k, v in figures]
        return f"<LiveTrader {' '.join([state, *shown])}>"

    def __getattr__(self, name: str) -> object:
        """Say where a name of the guide's program went, or which name is near."""
        near = difflib.get_close_matches(name, dir(type(self)), n=1, cutoff=0.6)
        advice = f"the nearest name is {near[0]!r}" if near else "see docs/user-guide-callbacks.md"
        cure = _MOVED[name] if name in _MOVED else advice
        raise AttributeError(
            explain(f"LiveTrader has no {name!r}", rule="it watches a run from outside", cure=cure)
        )

    # One run ----------------------------------------------------------------------------------

    def _settings_of_run(self, run_once: bool) -> Settings:
        mode = Mode.CALLBACK if self.use_direct_callbacks else Mode.POLL
        changes = {"waiting": self.settings.waiting.model_copy(update={"mode": mode})}
        settings = self.settings.model_copy(update=changes)
        if not run_once:
            return settings
        feed = settings.feed.model_copy(update={"ticks_max": 1})
        return settings.model_copy(update={"feed": feed})

    @contextmanager
    def _stopping(self) -> Iterator[Stop]:
        """Note what asks this run to stop; in the main thread, signals too."""
        if self.is_running:
            raise UsageError(
                explain(
                    "start() of a trader that is running",
                    rule="a trader has one run at a time",
                    cure="call stop() and wait for start() to return",
                )
            )
        stop = self._stop = Stop()
        try:
            if threading.current_thread() is not threading.main_thread():
                yield stop
                return
            with stop_on_signals() as self._stop:
                if stop.requested:  # between the two
                    self.stop()
                yield self._stop
        finally:
            self._stop = None

    def _follow(self, run: Run, screen: Screen, stop: Stop) -> None:
        """Watch the run until it has ended, with a heartbeat of 0.1 s."""
        beats = 0
        while not run.wait(BEAT_SECONDS if self._run else ATTACH_SECONDS):
            if stop.requested:
                run.stop(stop.reason)
            if self._run is None:
                if run.attach():
                    self._run = run
                    self.broker._begin(run, of_trader=True)
                continue
            beats += 1
            self._look(run, screen)
            if beats % PERFORMANCE_BEATS == 0:
                screen.perform()
            if beats % LOG_BEATS == 0:
                log.info("heartbeat %d: %s", beats, repr(self))  # as it is now

    def _look(self, run: Run, screen: Screen) -> None:
        self._beats = run.beats()
        positions = run.line.positions() if run.line is not None else None
        if positions is not None:
            for line in events(self._positions, positions, self.settings.instruments):
                screen.show(line)
            self._positions = positions
        screen.look()

    def _let_go(self, run: Run, screen: Screen, reason: str) -> None:
        """End the run if it still goes on, look a last time, and leave its memory."""
        run.stop(reason)
        while not run.wait(BEAT_SECONDS):
            screen.look()
        if self._run is not None:
            self._look(run, screen)
            self._positions = None
            self.broker._hand_on_the_rest(GOODBYE_SECONDS)
            self.broker._end()
            self._run = None
        run.close(reason)

    def _find_results(self, settings: Settings, before: set[Path], screen: Screen) -> None:
        for path in sorted(results_files(settings.run.results_dir) - before):
            self.results_path = path
            figures, _ = self.results()
            trades, net = figures["Trades"], figures["Net P&L"]
            screen.show(f"ENDED: {trades} trades, net ₹{net}, results in {path}")
