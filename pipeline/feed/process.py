"""The feed process: broker frames in, ticks on the ring. It never waits for a reader (I1)."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from time import monotonic_ns, time_ns
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.kite import session as kite
from pipeline.brokers.kite.session import KiteSession
from pipeline.brokers.recorded.files import read_ticks
from pipeline.brokers.recorded.session import Recording, refuse_missing_depth
from pipeline.brokers.smartapi import session as smartapi
from pipeline.brokers.smartapi.session import SmartApiSession
from pipeline.channels.feed_line import FeedLine
from pipeline.channels.waiting import PollYielding
from pipeline.feed.connection import Connection
from pipeline.feed.connections import Connections
from pipeline.feed.hours import Days, SessionHours
from pipeline.feed.rehearsal import Rehearsal
from pipeline.feed.sharing import shares_of
from pipeline.records import GAP, TICK, ProcessState, Stage
from pipeline.runtime import boundary, duty_cycle
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.latency import Stages
from pipeline.runtime.rehearsing import Rehearsing
from pipeline.runtime.stopping import stop_on_signals
from pipeline.settings import SIMULATOR_SECRETS, Settings, load_secrets

log = logging.getLogger("feed")

RECEIVE_MAX = 256
_NO_GAPS = np.zeros(0, GAP)


class Broker(NamedTuple):
    """How to speak with a broker, and what it allows."""

    session: type[KiteSession] | type[SmartApiSession]
    tokens_max: int  # of one connection
    connections_max: int


_BROKERS = {
    "kite": Broker(KiteSession, kite.TOKENS_PER_CONNECTION_MAX, kite.CONNECTIONS_MAX),
    "smartapi": Broker(
        SmartApiSession, smartapi.TOKENS_PER_CONNECTION_MAX, smartapi.CONNECTIONS_MAX
    ),
}


class Source(Protocol):
    """Where ticks come from."""

    ended_gaps: list[NDArray[np.void]]  # GAP rows that end with the ticks returned last

    @property
    def duplicates(self) -> int: ...

    @property
    def refused(self) -> int: ...

    @property
    def skipped(self) -> int: ...

    @property
    def outages(self) -> int: ...

    @property
    def connected(self) -> int:
        """Connections that stand."""

    @property
    def silent(self) -> int:
        """Instruments that were subscribed and never ticked in time."""

    @property
    def ended(self) -> bool:
        """True when no more ticks will come."""

    def receive(self, limit: int) -> NDArray[np.void]:
        """Return the next TICK rows, possibly none; may block for 50 ms."""

    @property
    def missing_since_ns(self) -> int:
        """When the oldest gap that lasts began, 0 = there is none."""

    def missing(self) -> NDArray[np.void]:
        """Return the GAP rows of what is missing still."""

    def close(self) -> None: ...


class RecordedSource:
    """A recorded day, as fast as it is asked for."""

    duplicates = refused = skipped = outages = connected = silent = missing_since_ns = 0
    ended_gaps: list[NDArray[np.void]] = []  # noqa: RUF012 - it has none, ever

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    @property
    def ended(self) -> bool:
        return self._recording.ended

    def receive(self, limit: int) -> NDArray[np.void]:
        rows = self._recording.next(limit)
        rows["ts_recv_ns"] = monotonic_ns()
        return rows

    def missing(self) -> NDArray[np.void]:
        return _NO_GAPS

    def close(self) -> None:
        pass


def open_source(settings: Settings, line: FeedLine, days: Days | None, spin_bare: bool) -> Source:
    """Return the source of what goes on the ring of ``line``; nothing is connected yet.

    ``days`` says when ticks are to be expected; the clock of a day that is played again is not
    this machine's. Raises SettingsError for more instruments than the broker allows.
    """
    feed = settings.feed
    if feed.broker == "recorded":
        assert feed.recording is not None, "checked when the settings were"
        ticks = read_ticks(feed.recording, settings.instruments)
        refuse_missing_depth(settings.strategy.depth, ticks)
        return RecordedSource(Recording(ticks))
    secrets = load_secrets(feed, os.environ)
    hours = SessionHours(days if _is_live(settings) else None)
    broker = _BROKERS[feed.broker]
    shares = shares_of(settings.instruments, broker.tokens_max, broker.connections_max)
    connections = [
        Connection(
            broker.session(
                feed,
                share.instruments,
                secrets,
                depth=settings.strategy.depth,
                newest=line.newest[share.first : share.first + len(share.instruments)],
            ),
            feed,
            share,
            hours,
            last_seq=lambda: line.ticks.published,
            ever_connected=line.ticks.published > 0,  # by a feed that died
            blocks=len(shares) == 1,
            spin_bare=spin_bare,
        )
        for share in shares
    ]
    if len(connections) == 1:
        return connections[0]
    log.info("%d instruments on %d connections", len(settings.instruments), len(connections))
    return Connections(connections, blocks=feed.receive == "block", spin_bare=spin_bare)


def _rehearsal(settings: Settings) -> Rehearsal:
    """Return one with the first instrument, in the mode that the settings name."""
    feed, first = settings.feed, settings.instruments[:1]
    session = _BROKERS[feed.broker].session
    return Rehearsal(session(feed, first, SIMULATOR_SECRETS, depth=settings.strategy.depth))


def run(settings: Settings, days: Days | None = None, spin_bare: bool = False) -> ExitCode:
    """Run the feed until the source ends or a signal asks to stop.

    ``days`` says when ticks are to be expected; None means at any time.
    """
    with (
        stop_on_signals(boundary.supervisor_pid()) as stop,
        FeedLine(settings) as line,
        closing(open_source(settings, line, days, spin_bare)) as source,
    ):
        line.wait_for_readers()
        shell = _Shell(settings, source, line)
        idle = PollYielding().idle
        duty_cycle.run(
            shell.work,
            idle=Rehearsing(idle, _rehearsal(settings)).idle if spin_bare else idle,
            stop=stop,
            beat=shell.beat,
            ended=lambda: shell.ended,
        )
        line.gaps.publish(source.missing())
    return ExitCode.OK


class _Shell:
    """Carries ticks and gaps from the source to the rings, and says how things stand."""

    def __init__(self, settings: Settings, source: Source, line: FeedLine) -> None:
        self._source = source
        self._line = line
        self._times = _Times(is_live=_is_live(settings))
        # In lockstep one tick is published at a time, so that it is stamped when it really leaves.
        self._limit = 1 if line.lockstep else RECEIVE_MAX
        self._ticks_max = settings.feed.ticks_max
        self._last = np.zeros(1, TICK)  # the rows that were published last

    def work(self) -> int:
        line, source = self._line, self._source
        if (line.lockstep and not line.done) or self._has_enough:
            return 0
        rows = source.receive(self._limit)
        if self._ticks_max is not None:
            rows = rows[: self._ticks_max - line.ticks.published]
        if len(rows):
            if source.ended_gaps:  # before the tick that ends them, so that who has it has them
                self._publish_gaps()
            line.publish(rows)
            self._times.note(rows)
            self._last = rows
        return len(rows)

    def _publish_gaps(self) -> None:
        rows = np.concatenate(self._source.ended_gaps)
        self._source.ended_gaps.clear()
        self._line.gaps.publish(rows)

    @property
    def _has_enough(self) -> bool:
        return self._line.ticks.published == self._ticks_max

    @property
    def ended(self) -> bool:
        """True when nothing more will be published and, in lockstep, all of it is handled."""
        line = self._line
        return (self._source.ended or self._has_enough) and (line.done or not line.lockstep)

    def beat(self, cycles: int) -> None:
        line, source = self._line, self._source
        self._times.set_clock()
        line.beat(
            ProcessState.RUNNING,
            cycles=cycles,
            ticks=line.ticks.published,
            last_seq=line.ticks.published,
            last_event_ns=self._last["ts_event_ns"].item(-1),
            last_price_e4=self._last["price_e4"].item(-1),
            duplicates=source.duplicates,
            refused=source.refused,
            skipped=source.skipped,
            outages=source.outages,
            connected=source.connected,
            gaps=line.gaps.published,
            silent=source.silent,
            missing_since_ns=source.missing_since_ns,
            unread=line.unread,
            latency=self._times.stages.row(),
        )


class _Times:
    """How late ticks are in the feed, measured at the last one of each batch.

    The exchange's time says nothing about a day that is played again.
    """

    def __init__(self, *, is_live: bool) -> None:
        self._is_live = is_live
        self.stages = Stages(Stage.EXCHANGE_TO_FEED, Stage.FEED_TO_RING)
        self._from_exchange = self.stages[Stage.EXCHANGE_TO_FEED]
        self._to_ring = self.stages[Stage.FEED_TO_RING]
        self.set_clock()

    def set_clock(self) -> None:
        """Look again how far CLOCK_REALTIME, which is corrected now and then, is ahead."""
        self._ahead_ns = time_ns() - monotonic_ns()

    def note(self, published: NDArray[np.void]) -> None:
        received_ns = published["ts_recv_ns"].item(-1)
        self._to_ring.add_one(monotonic_ns() - received_ns)
        event_ns = published["ts_event_ns"].item(-1)
        if self._is_live and event_ns:
            self._from_exchange.add_one(received_ns + self._ahead_ns - event_ns)


def _is_live(settings: Settings) -> bool:
    feed = settings.feed
    return feed.broker != "recorded" and feed.credentials != "simulator"
