"""The one boundary of a process: where what went wrong is logged and becomes an exit code."""

from __future__ import annotations

import ctypes
import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence

from pipeline.errors import TickpipeError
from pipeline.runtime.exit_codes import ExitCode, exit_code_of
from pipeline.runtime.pinning import pin
from pipeline.runtime.stopping import leave_terminal_group

_PR_SET_PDEATHSIG = 1


def guard(role: str, run: Callable[[], ExitCode]) -> ExitCode:
    """Call ``run`` and turn whatever it raises into a log line and an exit code."""
    log = logging.getLogger(role)
    try:
        return run()
    except TickpipeError as error:
        log.error("%s", error)
        return exit_code_of(error)
    except Exception as error:
        log.critical("%s ended by an error that it does not know", role, exc_info=error)
        return ExitCode.FAILED


def supervisor_pid() -> int | None:
    """Return the process that started this one to supervise it; None when it runs alone."""
    parent = multiprocessing.parent_process()
    return None if parent is None else parent.pid


def run_child(role: str, run: Callable[[], ExitCode], *, cpus: Sequence[int]) -> ExitCode:
    """Run ``run`` as a child of the supervisor: own process group, own CPUs, guarded."""

    def settled() -> ExitCode:
        leave_terminal_group()
        if role == "strategy":
            _die_with_supervisor()
        pin(cpus)
        gc.collect()
        gc.freeze()  # what start-up allocated is never looked at again
        return run()

    return guard(role, settled)


def _die_with_supervisor() -> None:
    """Have the kernel kill this process when the supervisor dies.

    For the strategy only: the user's code may never return to a place where it could notice.
    Risk and feed notice at their next heartbeat and stop in order.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor_pid():  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)
