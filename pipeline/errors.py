"""The exceptions of the product, and whose fault each one is.

    TickpipeError
    ├── UserError                 the user can cure it; the message says how
    │   ├── UsageError            the command line
    │   ├── SettingsError         the configuration file, the environment or the secrets
    │   ├── TickFileError         a recording
    │   ├── StrategyLoadError     the strategy's class or its parameters
    │   ├── PortInUse             something else listens there
    │   ├── AlreadyRunning        another run owns the run directory
    │   └── ControlRefused        no run listens, or what was typed does not unlock it
    ├── ChannelError              shared memory is not what it should be
    │   ├── SegmentRefused        a file that failed the checks on attach
    │   ├── QueueFull             the reader of a queue stopped taking
    │   └── ReaderLapped          a reader of the ring that must not be overtaken was
    ├── LedgerFailed              the ledger cannot be written: no room, a broken disk
    ├── FeedError                 the broker's side of the tick stream
    │   ├── AuthRefused           401 / 403: the token, not the network
    │   └── FeedLost              nobody ever answered at the address
    ├── RecordingFailed           ticks cannot be written; the run goes on without
    └── StrategyError             the user's strategy
        ├── BadSignal             a strategy returned something that is not a signal
        └── StrategyFailed        too many consecutive failures

A message names the rule, the value and the cure: build it with ``explain``.
"""

from __future__ import annotations


class TickpipeError(Exception):
    """Base of every error that the product raises on purpose."""


class UserError(TickpipeError):
    pass


class UsageError(UserError):
    pass


class SettingsError(UserError):
    pass


class TickFileError(UserError):
    pass


class StrategyLoadError(UserError):
    pass


class PortInUse(UserError):
    pass


class AlreadyRunning(UserError):
    pass


class ControlRefused(UserError):
    pass


class ChannelError(TickpipeError):
    pass


class SegmentRefused(ChannelError):
    pass


class QueueFull(ChannelError):
    pass


class ReaderLapped(ChannelError):
    pass


class LedgerFailed(TickpipeError):
    pass


class FeedError(TickpipeError):
    pass


class AuthRefused(FeedError):
    pass


class FeedLost(FeedError):
    pass


class RecordingFailed(TickpipeError):
    pass


class StrategyError(TickpipeError):
    pass


class BadSignal(StrategyError):
    pass


class StrategyFailed(StrategyError):
    pass


def explain(what: str, *, rule: str, cure: str) -> str:
    """Return a message in the product's one form: what happened, the rule it broke, the cure.

    ``what`` contains the offending value. Nothing here ends with a full stop.
    """
    return f"{what}\n  rule: {rule}\n  cure: {cure}"
