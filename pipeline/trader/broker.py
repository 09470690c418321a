"""The guide's BrokerAdapter: the ticks of the ring in the user's own program."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from pipeline.brokers.confirming import order_login
from pipeline.brokers.files import complete_live
from pipeline.brokers.recorded.files import read_ticks
from pipeline.channels import choose
from pipeline.channels.line import ADAPTER, FEED
from pipeline.errors import TickpipeError, UsageError, explain
from pipeline.records import PRICE_SCALE, TICK, struct_of
from pipeline.runtime.stopping import STOP_REQUESTED
from pipeline.settings import Settings, load_secrets
from pipeline.strategy.contract import Tick
from pipeline.trader.config import settings_of
from pipeline.trader.process import Run

log = logging.getLogger("trader")

OnTick = Callable[[Tick, str], object]

WAIT_SECONDS_MAX = 0.05
ATTACH_SECONDS = 0.005  # how often connect() looks for the ring
_TICK = struct_of(TICK)


class BrokerAdapter:
    """Ticks without trading: polled with ``get_next_tick`` or pushed to ``on_tick_callback``.

    ``config`` is what LiveTrader takes. ``connect`` starts a feed process; the adapter reads its
    ring. A live feed never waits for it: a reader that is overtaken counts what it ``lost``. A
    recorded day is played tick by tick as fast as it is read. ``LiveTrader.broker`` is one that
    reads the ring of the trader's run, beside strategy and risk.
    """

    __slots__ = (
        "_callback",
        "_changed",
        "_ended",
        "_last_price",
        "_lost",
        "_of_trader",
        "_reading",
        "_run",
        "_settings",
        "_thread",
    )

    def __init__(self, config: object) -> None:
        """Take the configuration. Raises SettingsError with every mistake in it."""
        self._settings = settings_of(config, "config", complete_live)
        self._callback: OnTick | None = None
        self._changed = threading.Condition()  # what the callback's thread waits for
        self._reading = threading.Lock()  # one thread at a time reads the ring
        self._run: Run | None = None
        self._thread: threading.Thread | None = None
        self._of_trader = False
        self._last_price = 0.0
        self._ended = True
        self._lost = 0

    # The guide's names ------------------------------------------------------------------------

    @property
    def on_tick_callback(self) -> OnTick | None:
        """What is called with every tick and its symbol: ``f(tick, symbol)``.

        Set it before or after ``connect``, or to None to poll again. It is called on a thread of
        its own in this program; what it raises is told once, and its next tick comes.
        """
        return self._callback

    @on_tick_callback.setter
    def on_tick_callback(self, callback: OnTick | None) -> None:
        if callback is not None and not callable(callback):
            raise UsageError(
                explain(
                    f"on_tick_callback is {callback!r}",
                    rule="it is a function of a tick and its symbol, or None",
                    cure="set the function itself, without calling it: on_tick_callback = f",
                )
            )
        with self._changed:
            self._callback = callback
            self._changed.notify()

    def connect(self) -> None:
        """Start the feed and return when its ring can be read; the first tick is not missed.

        Raises SettingsError for missing secrets, and the feed's error if it ends before.
        """
        self._refuse_inside_a_trader("connect()", "trader.start() connects trader.broker")
        self._refuse_connected("connect() of a broker that is connected", "it goes on")
        settings = _tick_by_tick(self._settings)
        refuse_what_cannot_start(settings)
        run = Run(settings, (FEED, ADAPTER))
        try:
            while not run.attach():
                if run.wait(ATTACH_SECONDS):
                    run.result()
                    raise TickpipeError("the feed was stopped before it had begun")
        except BaseException:
            run.close(STOP_REQUESTED)
            raise
        self._begin(run)

    def disconnect(self) -> None:
        """Stop the feed and wait for its end; without a connection nothing happens."""
        self._refuse_inside_a_trader("disconnect()", "call trader.stop()")
        if (run := self._run) is not None:
            self._end()
            run.close(STOP_REQUESTED)

    def get_next_tick(self, timeout: float = WAIT_SECONDS_MAX) -> Tick | None:
        """Return the next tick; None when none came within ``timeout`` seconds, or ever will.

        It sleeps until there is one, so a loop around it needs no sleep of its own; 0 looks and
        returns. Raises UsageError without a connection or with a callback set, and the feed's
        error when the feed has failed.
        """
        if self._callback is not None:
            raise UsageError(
                explain(
                    "get_next_tick() with on_tick_callback set",
                    rule="a tick goes to the callback or to get_next_tick, not to both",
                    cure="set on_tick_callback = None to poll, or let the callback keep the ticks",
                )
            )
        if self._run is None:
            raise UsageError(
                explain(
                    "get_next_tick() without a connection",
                    rule="ticks come between connect() and disconnect()",
                    cure="call connect() first; trader.start() connects trader.broker",
                )
            )
        deadline = monotonic() + timeout
        while (tick := self._next(min(timeout, WAIT_SECONDS_MAX))) is None:
            if self._ended or monotonic() >= deadline:
                break
        if tick is None and self._ended and (run := self._run) and not self._of_trader:
            run.result()
        return tick

    @property
    def last_price(self) -> float:
        """The last traded price, ₹, 0.1 s old at most; 0.0 before the first tick."""
        if (run := self._run) is not None:
            with suppress(ValueError):  # it is just being closed
                feed = run.beats()[FEED]
                self._last_price = int(feed["last_price_e4"][0]) / PRICE_SCALE
        return self._last_price

    def get_last_price(self) -> float:
        """Return ``last_price``."""
        return self.last_price

    # Ours -------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """True once a look found no tick and none can come any more."""
        return self._ended

    @property
    def lost(self) -> int:
        """Ticks that this program was too slow for, exact."""
        return self._lost

    def __repr__(self) -> str:
        state = "not connected" if self._run is None else "connected"
        way = "polled" if self._callback is None else "callback"
        return f"<BrokerAdapter {state}, {way}, last_price={self.last_price}, lost={self.lost}>"

    def _begin(self, run: Run, *, of_trader: bool = False) -> None:
        self._of_trader = of_trader
        self._ended = False
        self._lost = 0
        self._run = run
        self._thread = threading.Thread(target=self._push, args=(run,), name="ticks", daemon=True)
        self._thread.start()

    def _hand_on_the_rest(self, seconds: float) -> None:
        """Let the callback have what is on the ring of a run that has ended, if it is quick."""
        if self._callback is not None and self._thread is not None:
            self._thread.join(seconds)

    def _end(self) -> None:
        """Let go of the run before it is closed. A callback that does not return is left alone."""
        self._last_price = self.last_price
        run, self._run = self._run, None  # nobody enters the ring any more
        self._of_trader = False
        self._ended = True
        with self._changed:
            self._changed.notify()
        with self._reading:  # and nobody is in it now
            if self._callback is not None and run is not None and run.line is not None:
                self._lost += run.line.ticks.published - run.line.ticks.cursor

    def _refuse_connected(self, what: str, why: str) -> None:
        if self._run is not None:
            raise UsageError(
                explain(
                    what, rule=f"a broker has one connection: {why}", cure="call disconnect() first"
                )
            )

    def _refuse_inside_a_trader(self, what: str, cure: str) -> None:
        if self._of_trader:
            raise UsageError(
                explain(
                    f"{what} of a running trader's broker",
                    rule="the broker of a LiveTrader begins and ends with its run",
                    cure=cure,
                )
            )

    def _next(self, timeout: float) -> Tick | None:
        with self._reading:
            run = self._run
            if run is None or (line := run.line) is None:
                return None
            rows = line.read(1)
            if not len(rows) and timeout > 0:
                line.wait(timeout)
                rows = line.read(1)
            self._lost = line.ticks.lost
            if not len(rows):
                over = run.wait(0) and line.ticks.published == line.ticks.cursor
                self._ended = over or line.ended
                return None
            line.ticks.commit()
            fields = _TICK.unpack(rows.tobytes())
            return Tick._make((*fields, self._settings.instruments[fields[4]]))

    def _push(self, run: Run) -> None:
        """Be the callback's thread in ``run``: hand on ticks while there is a callback."""
        told = False
        while not self._is_over(run):
            if (callback := self._callback_to_call(run)) is None:
                return
            if (tick := self._next(WAIT_SECONDS_MAX)) is None:
                continue
            try:
                callback(tick, tick.symbol)
            except Exception as error:  # user's code: told
                if not told:
                    log.error("on_tick_callback raised (told once)", exc_info=error)
                told = True

    def _is_over(self, run: Run) -> bool:
        return self._ended or self._run is not run

    def _callback_to_call(self, run: Run) -> OnTick | None:
        """Return the callback; wait for one while there is none and the run goes on."""
        with self._changed:
            while self._callback is None and not self._is_over(run):
                self._changed.wait()
            return self._callback


def _tick_by_tick(settings: Settings) -> Settings:
    """Return ``settings`` with a recording in lockstep: it waits for its one reader."""
    if settings.feed.broker != "recorded":
        return settings
    channels = settings.channels.model_copy(update={"lockstep": True})
    return settings.model_copy(update={"channels": channels})


def refuse_what_cannot_start(settings: Settings) -> None:
    """Raise what a run would end by at once: secrets, a recording or an implementation that is
    not there."""
    choose(settings.channels.implementation)
    if settings.orders.gateway != "paper":
        order_login(settings, os.environ)
    if settings.feed.broker != "recorded":
        load_secrets(settings.feed, os.environ)
    elif settings.feed.recording is not None:
        read_ticks(settings.feed.recording, settings.instruments)
