"""Why an exit happens: the words that stand in orders, trades and results."""

from __future__ import annotations

from enum import StrEnum

from pipeline.records import ExitKind


class Reason(StrEnum):
    """Every reason that has no number and no words of the strategy behind it."""

    SESSION_END = "Session End"
    STOP_LOSS = "Stop Loss"
    BREAKEVEN_STOP = "Breakeven Stop"
    TRAILING_STOP = "Trailing Stop"
    TIME_LIMIT = "Time Limit"
    DAILY_LOSS = "daily_loss"
    MAX_DRAWDOWN = "max_drawdown"
    STALE_FEED = "stale_feed"
    KILL_SWITCH = "kill_switch"  # a person flattens
    MANUAL = "manual"  # a user's program closes and says no reason of its own
    RISK_MANAGEMENT = "Risk Management"  # nobody is left who would close it, or nobody opened it
    STRATEGY_FAILED = "NaN Threshold Exceeded"  # the guide's words
    KEYBOARD_INTERRUPT = "Keyboard Interrupt"
    STOP_REQUESTED = "Stop Requested"
    ERROR = "Error Occurred"


TAKE_PROFIT = "Take Profit"  # with the number of its target behind it
STRATEGY_SIGNAL = "Strategy Signal: "  # with the strategy's own words behind it

_KINDS = {
    Reason.STOP_LOSS: ExitKind.STOP_LOSS,
    Reason.BREAKEVEN_STOP: ExitKind.BREAKEVEN_STOP,
    Reason.TRAILING_STOP: ExitKind.TRAILING_STOP,
    Reason.TIME_LIMIT: ExitKind.TIME_LIMIT,
    Reason.SESSION_END: ExitKind.SESSION_END,
}


def kind_of(reason: str) -> ExitKind:
    """Return the kind that the positions cell shows for an exit reason."""
    if target_number(reason):
        return ExitKind.TAKE_PROFIT
    return next((kind for known, kind in _KINDS.items() if known == reason), ExitKind.OTHER)


def target_number(reason: str) -> int:
    """Return n of "Take Profit n", 0 for every other reason."""
    word, _, number = reason.rpartition(" ")
    return int(number) if word == TAKE_PROFIT and number.isascii() and number.isdigit() else 0
