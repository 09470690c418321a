"""How a process is asked to stop. Signal handlers only note; the duty cycle acts.

SIGTERM and SIGHUP (the terminal went away) mean "Stop Requested", SIGINT "Keyboard Interrupt":
the reason of the trades that the stop closes. The supervisor passes a reason on to a child as
the signal of it, see ``signal_of``. The first reason stands.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from pipeline.runtime.exit_codes import ExitCode

STOP_REQUESTED = "Stop Requested"
KEYBOARD_INTERRUPT = "Keyboard Interrupt"

_REASON_OF = {
    signal.SIGTERM: STOP_REQUESTED,
    signal.SIGHUP: STOP_REQUESTED,
    signal.SIGINT: KEYBOARD_INTERRUPT,
}
STOP_SIGNALS = frozenset(_REASON_OF)
STOP_RETURNCODES = frozenset(-number for number in _REASON_OF)  # of a child without handlers yet


class Stop:
    """Whether this process was asked to stop, and why."""

    __slots__ = ("_parent_pid", "reason", "requested")

    def __init__(self, parent_pid: int | None = None) -> None:
        self.requested = False
        self.reason = ""
        self._parent_pid = parent_pid

    def request(self, reason: str) -> None:
        """Ask for a stop; a reason given earlier stands."""
        if not self.requested:
            self.reason = reason
            self.requested = True

    def note(self, number: int, frame: FrameType | None) -> None:
        """Be the handler of a signal."""
        self.request(_REASON_OF[signal.Signals(number)])

    def check_parent(self) -> None:
        """Ask for a stop when the watched parent is gone: another process has adopted us."""
        if self._parent_pid is not None and os.getppid() != self._parent_pid:
            self.request(STOP_REQUESTED)

    def __repr__(self) -> str:
        return f"<Stop requested: {self.reason}>" if self.requested else "<Stop not requested>"


@contextmanager
def stop_on_signals(parent_pid: int | None = None) -> Iterator[Stop]:
    """Yield a Stop that SIGTERM, SIGHUP and SIGINT request; put the old handlers back on leaving.

    Call it in the main thread. ``parent_pid`` is the process whose end is a request too: in a
    child of multiprocessing ``parent_process().pid``, which was noted before the fork. A process
    that was started alone has none: it outlives its shell.

    A child is forked with its parent's handlers. What they noted until now was meant for the
    child, whose Stop takes it over.
    """
    stop = Stop(parent_pid)
    before = {number: signal.getsignal(number) for number in _REASON_OF}
    try:
        for number in _REASON_OF:
            if not (number == signal.SIGHUP and before[number] is signal.SIG_IGN):  # nohup
                signal.signal(number, stop.note)
        for handler in before.values():
            outer = getattr(handler, "__self__", None)
            if isinstance(outer, Stop) and outer.requested:
                stop.request(outer.reason)
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ends_on_ctrl_c() -> Iterator[None]:
    """Have Ctrl-C end this process at once and without a word, while it imports and has done
    nothing yet: a KeyboardInterrupt would be told with a traceback by the library that it hit.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # somebody has it, or it is ignored
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(ExitCode.INTERRUPTED)


def signal_of(reason: str) -> signal.Signals:
    """Return the signal that hands ``reason`` to a child; SIGTERM for every reason but Ctrl-C."""
    return signal.SIGINT if reason == KEYBOARD_INTERRUPT else signal.SIGTERM


def leave_terminal_group() -> None:
    """Move this child to a process group of its own: Ctrl-C then reaches the supervisor only."""
    if os.getpgrp() != os.getpid():  # the leader of a session may not, and need not
        os.setpgid(0, 0)
