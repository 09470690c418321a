"""A pipeline in a process of its own, as the user's program holds it.

Some facts. A program may call from any thread, and only a main thread may install signal
handlers; a fork of a program with a GUI's threads is not safe. So the supervisor is started by
exec, gets its settings through its standard input, and watches for the end of its parent.
Signals for it are blocked from before the exec until its handlers are there: none is lost.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import pipeline
from pipeline import errors
from pipeline.channels.adapter_line import AdapterLine
from pipeline.channels.line import FEED, ROLES, TICKS
from pipeline.channels.locks import lock_is_held, lock_pid
from pipeline.channels.rundir import RUN_LOCK, lock_path, owner_created
from pipeline.channels.watch import Watch
from pipeline.errors import TickpipeError, explain
from pipeline.runtime.exit_codes import ExitCode, describe, exit_code_of, named
from pipeline.runtime.stopping import STOP_RETURNCODES, STOP_SIGNALS, signal_of
from pipeline.settings import Settings

_CLOSE_SECONDS = 1.0  # how often to look whether a run has ended
_ORPHANS_SECONDS = 0.01

_ERRORS = (
    errors.SettingsError,
    errors.TickFileError,
    errors.StrategyLoadError,
    errors.PortInUse,
    errors.AlreadyRunning,
    errors.AuthRefused,
    errors.FeedLost,
    errors.StrategyFailed,
    errors.ChannelError,
)


class Errand(NamedTuple):
    """What the supervisor's process is told through its standard input."""

    parent_pid: int
    path: list[str]  # sys.path: the strategy is found where the program would find it
    settings: Settings
    roles: tuple[str, ...]


class Run:
    """A running pipeline. ``line`` is None until ``attach`` found the ring."""

    def __init__(self, settings: Settings, roles: Sequence[str]) -> None:
        self._settings = settings
        self._asked_to_stop = False
        self.line: AdapterLine | None = None
        self._watch = Watch(settings.run_directory)
        self._watching = threading.Lock()  # the program's threads ask for heartbeats too
        with _stop_signals_blocked():
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.trader"],
                stdin=subprocess.PIPE,
                env=_environment(),
            )
        assert self._process.stdin is not None, "it was asked for"
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
            pickle.dump(Errand(os.getpid(), sys.path, settings, tuple(roles)), pipe)

    def attach(self) -> bool:
        """Become a reader of the ring as soon as it is there; True when that is so."""
        directory = self._settings.run_directory
        if (
            self.line is None
            and lock_pid(directory / RUN_LOCK) == self._process.pid
            and owner_created(directory / TICKS, FEED)
        ):
            self.line = AdapterLine(self._settings)
            self.beats()  # attach to each heartbeat while its file is there
        return self.line is not None

    def beats(self) -> Mapping[str, NDArray[np.void]]:
        """Return the newest heartbeat of every process, also after its end."""
        with self._watching:
            return dict(self._watch.latest())

    def wait(self, seconds: float) -> bool:
        """Wait for the end of the run, ``seconds`` at most; True when it has ended.

        The processes of a supervisor that was killed stop by themselves, after it.
        """
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        if self.line is None or not self._processes_left():
            return True
        time.sleep(min(seconds, _ORPHANS_SECONDS))
        return False

    def _processes_left(self) -> bool:
        directory = self._settings.run_directory
        return any(lock_is_held(lock_path(directory, role)) for role in ROLES)

    def stop(self, reason: str) -> None:
        """Ask the pipeline to close what is open and end; only the first reason counts."""
        if not self._asked_to_stop:
            self._asked_to_stop = True
            self._process.send_signal(signal_of(reason))

    def close(self, reason: str) -> None:
        """Stop the pipeline, wait for its end, and let go of its memory."""
        self.stop(reason)
        while not self.wait(_CLOSE_SECONDS):
            pass
        self._watch.close()
        if self.line is not None:
            self.line.close()

    def result(self) -> ExitCode:
        """Return how the run ended, OK or INTERRUPTED. Raises the error of any other end."""
        code = self._process.wait()
        if code in STOP_RETURNCODES:  # asked before it could note it
            return ExitCode.INTERRUPTED if code == -signal.SIGINT else ExitCode.OK
        end = named(code)
        if end is ExitCode.OK or end is ExitCode.INTERRUPTED:
            return end
        raise _error_of(code, end)


def _error_of(returncode: int, code: ExitCode | None) -> TickpipeError:
    kind = next((kind for kind in _ERRORS if exit_code_of(kind()) == code), TickpipeError)
    helps = code is not None and code.restart_helps
    return kind(
        explain(
            f"the run ended with {describe(returncode)}",
            rule="a run ends with exit code 0, or 130 after Ctrl-C",
            cure="its last lines on standard error say why"
            + ("; starting again can help" if helps else ""),
        )
    )


def _environment() -> dict[str, str]:
    """Return an environment in which the child finds this very package."""
    here = str(Path(pipeline.__file__).resolve().parent.parent)
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    return {**os.environ, "PYTHONPATH": os.pathsep.join([here, *before])}


@contextlib.contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
