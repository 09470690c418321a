"""Speaking to the risk process of a run from outside: people with the command line, programs."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pipeline.channels import choose
from pipeline.channels.control import CONTROL, Call, Message
from pipeline.channels.line import RISK
from pipeline.errors import ChannelError, ControlRefused


def ask_risk(directory: Path, message: Message) -> Message:
    """Ask the risk process of the run in ``directory`` and return its answer.

    Raises ControlRefused where no risk process listens, and when it refuses what was asked.
    """
    reply = _call(directory, message).reply()
    if "refused" in reply:
        raise ControlRefused(str(reply["refused"]))
    return reply


def tell_risk(directory: Path, message: Message) -> None:
    """Tell it something and do not wait. Raises ControlRefused where nobody listens."""
    _call(directory, message).close()


def _call(directory: Path, message: Message) -> Call:
    """Send ``message``, and wake risk: parked, it would look after 50 ms."""
    call = Call(directory / CONTROL, message)
    with contextlib.suppress(OSError, ChannelError):  # it ends just now; the reply says so
        readers = choose("auto").Readers.attach(directory)
        readers.bells(RISK).ring()
        readers.close()
    return call
