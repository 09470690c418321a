"""How the faults of a script are done: to one client, and to who comes next."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol

from pipeline.simulator.client import Client, Cut
from pipeline.simulator.dialect import Dialect, Modes
from pipeline.simulator.faults import (
    AnyFault,
    Binary,
    Close,
    Drip,
    Expiry,
    Fin,
    HalfFrame,
    Heartbeats,
    Http,
    Noise,
    Reset,
    Silent,
    Stall,
    Text,
    Unreachable,
)
from pipeline.simulator.script import Due

_NEVER = sys.maxsize


class Door(Protocol):
    """The port where clients come in."""

    async def shut(self, seconds: float) -> None:
        """Have nobody listen there for ``seconds``, beginning now; do not wait for their end."""


class Breaker:
    """The faults that are still to come, and what those that happened left behind."""

    def __init__(self, faults: Sequence[Due], symbols: Sequence[str], dialect: Dialect) -> None:
        self._faults = deque(faults)
        self._symbols = symbols
        self._dialect = dialect
        self._refusals: deque[int] = deque()  # HTTP status of each attempt to come
        self._silent: dict[int, int] = {}  # instrument: the position at which it speaks again

    @property
    def left(self) -> int:
        return len(self._faults)

    @property
    def next_place(self) -> int:
        """The place of the tick before which the next fault happens."""
        return self._faults[0].place if self._faults else _NEVER

    def until(self, position: int) -> int:
        """Return the next position behind ``position`` at which something begins or ends."""
        places = (self.next_place, *self._silent.values(), _NEVER)
        return min(place for place in places if place > position)

    def take(self) -> AnyFault:
        return self._faults.popleft().fault

    async def prepare(self, fault: AnyFault, position: int, door: Door) -> None:
        """Do the part of a fault that is not about one client."""
        if isinstance(fault, Http):
            self._refusals.extend([fault.status] * fault.attempts)
        elif isinstance(fault, Expiry):
            self._dialect.renew(fault.token)
        elif isinstance(fault, Unreachable):
            await door.shut(fault.seconds)
        elif isinstance(fault, Silent):
            self._silent[self._symbols.index(fault.symbol)] = position + fault.ticks

    def refusal(self) -> int | None:
        """Return the status with which the next attempt to connect is refused, if it is."""
        return self._refusals.popleft() if self._refusals else None

    def heard(self, modes: Modes, position: int) -> Modes:
        """Return ``modes`` without the instruments that are silent at ``position``."""
        self._silent = {index: end for index, end in self._silent.items() if position < end}
        if not self._silent:
            return modes
        return {index: mode for index, mode in modes.items() if index not in self._silent}


async def strike(fault: AnyFault, client: Client) -> None:
    """Do ``fault`` to one client."""
    with suppress(ConnectionError):  # it went by itself meanwhile
        match fault:
            case Reset() | Http() | Expiry() | Unreachable():
                client.reset()
            case Fin():
                client.finish()
            case Close():
                client.end(fault.code, fault.reason)
            case Stall() | Heartbeats():
                client.fall_silent(fault.seconds, heartbeats=isinstance(fault, Heartbeats))
            case Drip():
                client.cut = Cut(fault.frames, fault.bytes, fault.seconds, once=False, lost=False)
            case HalfFrame():
                client.cut = Cut(1, fault.bytes, fault.seconds, once=True, lost=fault.lost)
            case Text():
                await client.say(fault.text)
            case Binary():
                await client.say_binary(bytes.fromhex(fault.hex))
            case Noise():
                client.spoil(bytes.fromhex(fault.hex))
