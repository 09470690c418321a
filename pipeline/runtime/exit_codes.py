"""How every process of the product ends: a number with a name, a meaning and advice.

The number tells a service manager whether starting again can help:
systemd's RestartPreventExitStatus takes the numbers whose ``restart_helps`` is False.
"""

from __future__ import annotations

import signal
from enum import IntEnum

from pipeline import errors


class ExitCode(IntEnum):
    """The exit status of a process, with what it means and whether a restart helps."""

    meaning: str
    restart_helps: bool

    def __new__(cls, number: int, meaning: str, restart_helps: bool = False) -> ExitCode:
        code = int.__new__(cls, number)
        code._value_ = number
        code.meaning = meaning
        code.restart_helps = restart_helps
        return code

    OK = 0, "ended as it should"
    FAILED = 1, "a defect of tickpipe; its log has the traceback"
    # argparse uses the same number
    USAGE = 2, "the command line was not understood, or asks for what is not there"
    BAD_SETTINGS = 3, "the configuration, the environment or the secrets were refused"
    BAD_TICK_FILE = 4, "a tick file was refused"
    BAD_STRATEGY = 5, "the strategy could not be loaded"
    PORT_IN_USE = 6, "another program listens on the port"
    ALREADY_RUNNING = 7, "another run of this name is active"
    AUTH_REFUSED = 8, "the broker refused the login"
    FEED_LOST = 9, "nobody ever answered at the broker's address", True
    STRATEGY_FAILED = 10, "the strategy failed or never returned"
    CHILD_DIED = 11, "a process of the run was killed or died", True
    CHANNEL_BROKEN = 12, "shared memory was not what it should be", True
    CONTROL_REFUSED = 13, "no run of this name listens, or it refused what was asked"
    RECORDING_FAILED = 14, "ticks could not be recorded; the run itself went on"
    LEDGER_FAILED = 15, "the ledger could not be written; its message says what is missing there"
    INTERRUPTED = 130, "stopped by Ctrl-C"  # 128 + SIGINT, as shells count it


_CODE_OF: dict[type[BaseException], ExitCode] = {
    errors.UserError: ExitCode.USAGE,
    errors.UsageError: ExitCode.USAGE,
    errors.SettingsError: ExitCode.BAD_SETTINGS,
    errors.TickFileError: ExitCode.BAD_TICK_FILE,
    errors.StrategyLoadError: ExitCode.BAD_STRATEGY,
    errors.PortInUse: ExitCode.PORT_IN_USE,
    errors.AlreadyRunning: ExitCode.ALREADY_RUNNING,
    errors.ControlRefused: ExitCode.CONTROL_REFUSED,
    errors.ChannelError: ExitCode.CHANNEL_BROKEN,
    errors.FeedError: ExitCode.FEED_LOST,
    errors.AuthRefused: ExitCode.AUTH_REFUSED,
    errors.RecordingFailed: ExitCode.RECORDING_FAILED,
    errors.LedgerFailed: ExitCode.LEDGER_FAILED,
    errors.StrategyError: ExitCode.STRATEGY_FAILED,
    KeyboardInterrupt: ExitCode.INTERRUPTED,
    BaseException: ExitCode.FAILED,
}


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the code of the most specific class of ``error``; FAILED when nobody raised it
    on purpose."""
    return next(_CODE_OF[kind] for kind in type(error).__mro__ if kind in _CODE_OF)


_CODE_WITH: dict[int, ExitCode] = {code.value: code for code in ExitCode}


def named(returncode: int) -> ExitCode | None:
    """Return ``returncode`` as an ExitCode; None for a signal or a number that is not ours."""
    return _CODE_WITH.get(returncode)


def describe(returncode: int) -> str:
    """Return ``returncode`` in words; negative is the number of the signal that killed it."""
    if returncode < 0:
        return f"killed by {_signal_name(-returncode)}"
    code = named(returncode)
    if code is None:
        return f"exit code {returncode}, which is not one of tickpipe's"
    return f"exit code {returncode} {code.name}: {code.meaning}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between SIGRTMIN and SIGRTMAX has no name
        return f"signal {number}"
