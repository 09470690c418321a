"""The supervisor's process, started by ``process.Run`` and by nobody else."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from contextlib import closing
from functools import partial

from pipeline.runtime import boundary
from pipeline.runtime.exit_codes import ExitCode
from pipeline.runtime.logs import ChildLogs, log_only_to
from pipeline.runtime.stopping import STOP_SIGNALS, stop_on_signals
from pipeline.supervisor.process import Beats, supervise
from pipeline.trader.process import Errand


def main() -> ExitCode:
    """Take the errand from standard input and supervise until the run or the parent ends."""
    if sys.stdin.isatty():
        print("python -m pipeline.trader is started by LiveTrader; you want: tickpipe run")
        return ExitCode.USAGE
    with stop_on_signals():  # supervise() takes over what this one notes
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
        try:
            errand: Errand = pickle.load(sys.stdin.buffer)
        except EOFError:
            return ExitCode.OK  # the parent ended before it could say what it wants
        sys.path[:] = errand.path
        with closing(ChildLogs()) as logs:
            log_only_to(logs.lines, "supervisor", errand.settings.run.log_level)
            return boundary.guard("supervisor", partial(_supervise, errand, logs))


def _supervise(errand: Errand, logs: ChildLogs) -> ExitCode:
    def look(beats: Beats) -> None:
        if os.getppid() != errand.parent_pid:
            os.kill(os.getpid(), signal.SIGTERM)

    return supervise(errand.settings, logs=logs, on_turn=look, roles=errand.roles)


if __name__ == "__main__":
    sys.exit(main())
