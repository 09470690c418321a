"""The supervisor: starts risk, strategy and feed, pins them, watches them, stops them in order.

It imports a child's room only inside the child, holds no position and reads no tick, so that
there is little in it that can fail. Stopping: strategy first (no new signals), then risk (closes
the position, exports the results), then the feed (risk wants the last price until then).
"""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Collection, Mapping
from multiprocessing import connection
from multiprocessing.context import ForkProcess
from time import monotonic_ns

import numpy as np
from numpy.typing import NDArray

from pipeline.channels import choose
from pipeline.channels.line import (
    ADAPTER,
    FEED,
    READER_NAMES,
    RECORDER,
    RISK,
    ROLES,
    STRATEGY,
    declare_gone,
)
from pipeline.channels.readers import Readers
from pipeline.channels.rundir import own_run
from pipeline.channels.watch import Watch
from pipeline.records import ProcessState
from pipeline.runtime import boundary
from pipeline.runtime.exit_codes import ExitCode, describe
from pipeline.runtime.logs import ChildLogs
from pipeline.runtime.stopping import (
    KEYBOARD_INTERRUPT,
    STOP_REQUESTED,
    Stop,
    signal_of,
    stop_on_signals,
)
from pipeline.settings import Settings
from pipeline.supervisor.plan import Plan, plan
from pipeline.supervisor.restarts import (
    Action,
    Verdict,
    before_it_began,
    on_death,
    on_hang,
    without_risk,
)
from pipeline.supervisor.topology import read_topology

log = logging.getLogger("supervisor")

START_ORDER = (RISK, STRATEGY, RECORDER, FEED)
STOP_ORDER = (STRATEGY, RISK, FEED, RECORDER)  # it records to the end
TURN_SECONDS = 0.1  # a heartbeat is as old at most
STANDSTILL_NS = 1_000_000_000  # a turn of the supervisor's own that took this long

Beats = Mapping[str, NDArray[np.void]]
OnTurn = Callable[[Beats], None]


def supervise(
    settings: Settings,
    *,
    logs: ChildLogs,
    on_turn: OnTurn | None = None,
    roles: Collection[str] | None = None,
) -> ExitCode:
    """Run the pipeline until it ends or a signal asks to stop; leave nothing behind.

    ``on_turn`` is called with the newest heartbeats about ten times a second. ``roles`` are
    the processes to start, those that the settings ask for unless given; with "adapter" among
    them another program will read the ring too.
    """
    roles = roles_of(settings) if roles is None else roles
    arrangement = plan(read_topology(), settings)
    table = choose(settings.channels.implementation).Readers
    for note in arrangement.notes:
        log.info("%s", note)
    with (
        own_run(settings.run_directory, _reader_names(roles), log.warning, table) as readers,
        stop_on_signals() as stop,
    ):
        crew = _Crew(settings, arrangement, logs, readers)
        try:
            crew.start(roles)
            return crew.watch(stop, on_turn)
        finally:
            crew.kill_all()


def _reader_names(roles: Collection[str]) -> tuple[str, ...]:
    return (*READER_NAMES, ADAPTER) if ADAPTER in roles else READER_NAMES


def roles_of(settings: Settings) -> tuple[str, ...]:
    """Return the processes that the settings ask for."""
    return ROLES if settings.recorder.directory is None else (*ROLES, RECORDER)


def _session_days(settings: Settings) -> object:
    """Return when ticks are to be expected: by the calendar, which is in risk's room."""
    return importlib.import_module("pipeline.risk.files").session_days(settings)


class _Crew:
    """The three children and what became of them."""

    def __init__(
        self, settings: Settings, arrangement: Plan, logs: ChildLogs, readers: Readers
    ) -> None:
        self._settings = settings
        self._plan = arrangement
        self._logs = logs
        self._readers = readers
        self._watch = Watch(settings.run_directory)
        self._living: dict[str, ForkProcess] = {}
        self._roles: Collection[str] = ROLES
        self._hung: set[str] = set()
        self._restarts_left = {
            FEED: settings.feed_restarts_max,
            RISK: settings.risk_restarts_max,
            STRATEGY: 0,
            RECORDER: settings.recorder.restarts_max,
        }
        self._looked_ns = self._patient_from_ns = monotonic_ns()
        self._code = ExitCode.OK
        self._stop_wanted = False
        self._end_with_risk = False
        self._stopping = False

    def start(self, roles: Collection[str]) -> None:
        """Fork every one of ``roles``."""
        self._roles = roles
        for role in READER_NAMES:
            if role not in roles:
                declare_gone(self._readers, role)
        for role in START_ORDER:
            if role in roles:
                self._start_one(role)

    def _start_one(self, role: str) -> None:
        fork = multiprocessing.get_context("fork")
        child = fork.Process(target=self._child, args=(role,), name=role)
        with self._logs.forking(role):
            child.start()
        self._living[role] = child

    def _child(self, role: str) -> None:
        place = self._plan.roles[role]
        self._logs.install(role, self._settings.run.log_level)

        def run() -> ExitCode:
            room = importlib.import_module(f"pipeline.{role}.process")
            more = {"days": _session_days(self._settings)} if role == FEED else {}
            code: ExitCode = room.run(self._settings, spin_bare=place.spin == "bare", **more)
            return code

        sys.exit(boundary.run_child(role, run, cpus=place.cpus))

    def watch(self, stop: Stop, on_turn: OnTurn | None) -> ExitCode:
        """Turn until every child has ended; begin to stop when asked or when one must not be
        missed."""
        look = on_turn or (lambda beats: None)
        while self._living:
            connection.wait([child.sentinel for child in self._living.values()], TURN_SECONDS)
            self._bury()
            beats = self._watch.latest()
            self._kill_the_hung(beats)
            look(beats)
            if stop.requested:
                self._stop_in_order(stop.reason)
            elif self._stop_wanted or (self._end_with_risk and RISK not in self._living):
                self._stop_in_order(STOP_REQUESTED)
        look(self._watch.latest())
        return ExitCode.INTERRUPTED if stop.reason == KEYBOARD_INTERRUPT else self._code

    def _bury(self) -> None:
        for role, child in list(self._living.items()):
            if child.exitcode is None:
                continue
            child.join()
            del self._living[role]
            self._logs.child_ended(role)
            self._judge(role, child.exitcode)

    def _judge(self, role: str, returncode: int) -> None:
        declare_gone(self._readers, role)
        verdict = self._verdict(role, returncode)
        if verdict.action is Action.START_AGAIN:
            log.error("%s died: %s. %s", role, describe(returncode), verdict.meaning)
            self._restarts_left[role] -= 1
            self._start_one(role)
            return
        if verdict.exit_code is ExitCode.OK:
            log.info("%s ended", role)
            return
        log.error("%s died: %s. %s", role, describe(returncode), verdict.meaning)
        if self._code is ExitCode.OK:
            self._code = verdict.exit_code
        self._stop_wanted |= verdict.stop
        self._end_with_risk |= verdict.action is Action.FLATTEN

    def _verdict(self, role: str, returncode: int) -> Verdict:
        guarded = role == RISK or RISK in self._living or RISK not in self._roles
        left = self._restarts_left[role] if guarded and not self._stopping else 0
        if role in self._hung:
            self._hung.remove(role)
            verdict = on_hang(role, restarts_left=left)
        else:
            verdict = on_death(role, returncode, stopping=self._stopping, restarts_left=left)
        if role == RISK and not self._risk_began:
            return before_it_began(verdict, recovers=self._settings.recovers)
        return verdict if RISK in self._roles else without_risk(verdict)

    @property
    def _risk_began(self) -> bool:
        """Whether the risk that died, or one before it, may have sent orders: it does not while
        it waits for the others, with STARTING in its heartbeat."""
        if self._restarts_left[RISK] < self._settings.risk_restarts_max:
            return True
        beats = self._watch.latest()
        return RISK in beats and int(beats[RISK]["state"][0]) != ProcessState.STARTING

    def _kill_the_hung(self, beats: Beats) -> None:
        """Kill who has not beaten for too long; it is judged with the dead on the next turn."""
        now_ns = monotonic_ns()
        if now_ns - self._looked_ns > STANDSTILL_NS:
            self._patient_from_ns = now_ns  # the machine stood still, and they with it
        self._looked_ns = now_ns
        for role, child in self._living.items():
            beat_ns = self._beat_ns(beats, role, child)
            age_s = (now_ns - max(beat_ns, self._patient_from_ns)) / 1e9
            if age_s > self._settings.run.hang_seconds_max:
                log.error("%s has not finished a turn for %.0f s: killing it", role, age_s)
                self._hung.add(role)
                child.kill()
                child.join()

    def _beat_ns(self, beats: Beats, role: str, child: ForkProcess) -> int:
        """Return when ``role`` beat last; now, while it has not attached yet."""
        if role not in beats or int(beats[role]["pid"][0]) != child.pid:
            return self._looked_ns
        return int(beats[role]["beat_ns"][0])

    def _stop_in_order(self, reason: str) -> None:
        self._stopping = True
        log.info("stopping: %s", reason)
        for role in STOP_ORDER:
            if role in self._living:
                self._stop_one(role, self._living[role], reason)
        self._bury()

    def _stop_one(self, role: str, child: ForkProcess, reason: str) -> None:
        assert child.pid is not None, "it was started"
        os.kill(child.pid, signal_of(reason))
        child.join(self._settings.run.stop_seconds_max)
        if child.exitcode is None:
            log.error(
                "%s did not stop within %g s: killing it", role, self._settings.run.stop_seconds_max
            )
            child.kill()
            child.join()
        declare_gone(self._readers, role)

    def kill_all(self) -> None:
        """Leave no child behind, whatever happened."""
        for child in self._living.values():
            child.kill()
            child.join()
        self._watch.close()
