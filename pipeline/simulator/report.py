"""What the simulator did: connections, refusals, faults, and each tick that it delivered.

Written whole into a socket is not read by the client. A frame is *proven* when the client has
answered a ping that was sent behind it; what was sent and not proven may have been lost with its
connection, and must then be the last of it.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from pathlib import Path
from time import monotonic_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Way(IntEnum):
    """Why a tick was sent."""

    PLAYED = 0  # it was its time
    SNAPSHOT = 1  # the newest of its instrument, in answer to a subscription
    REPEATED = 2  # a fault: once more
    LATE = 3  # a fault: behind a newer one of its instrument


DELIVERY = np.dtype(
    [
        ("tick", "<i8"),  # number in the recording, 1 for the first
        ("connection", "<i8"),
        ("frame", "<i8"),  # number in its connection, 1 for the first
        ("way", "<i8"),
        ("sent_ns", "<i8"),  # CLOCK_MONOTONIC
    ]
)


@dataclass(slots=True)
class ConnectionReport:
    number: int
    opened_ns: int
    closed_ns: int = 0  # 0 = still open
    frames: int = 0  # of ticks, written whole
    proven: int = 0  # of these the first so many were read
    modes: dict[str, str] = field(default_factory=dict)  # what it was subscribed to last


@dataclass(frozen=True, slots=True)
class FaultReport:
    kind: str
    tick: int  # it happened before this tick was sent
    struck_ns: int
    connections: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RefusalReport:
    status: int
    refused_ns: int


class Report:
    """Counts always; ``every_tick`` also notes each delivery, 40 bytes for a tick."""

    def __init__(self, symbols: Sequence[str], *, every_tick: bool = False) -> None:
        self.symbols = tuple(symbols)
        self.every_tick = every_tick
        self.played = 0
        self.connections: list[ConnectionReport] = []
        self.refusals: list[RefusalReport] = []
        self.faults: list[FaultReport] = []
        self._deliveries = array("q")

    def opened(self) -> ConnectionReport:
        self.connections.append(ConnectionReport(len(self.connections) + 1, monotonic_ns()))
        return self.connections[-1]

    def refused(self, status: int) -> None:
        self.refusals.append(RefusalReport(status, monotonic_ns()))

    def struck(self, kind: str, place: int, connections: Iterable[int]) -> None:
        numbers = tuple(sorted(connections))
        self.faults.append(FaultReport(kind, place + 1, monotonic_ns(), numbers))

    def closed(self, connection: ConnectionReport) -> None:
        connection.closed_ns = monotonic_ns()

    def delivered(self, places: Iterable[int], connection: int, frame: int, way: Way) -> None:
        """Note that a frame with the ticks at ``places`` was written to its connection."""
        sent_ns = monotonic_ns()
        for place in places:
            self._deliveries.extend((place + 1, connection, frame, way, sent_ns))

    def deliveries(self) -> NDArray[np.void]:
        """Return a DELIVERY row for each tick that was sent, in order."""
        return np.frombuffer(self._deliveries.tobytes(), DELIVERY)

    def as_table(self) -> dict[str, Any]:
        """Return everything in a form that JSON can hold; deliveries by column."""
        rows = self.deliveries()
        return {
            "symbols": self.symbols,
            "played": self.played,
            "connections": [asdict(row) for row in self.connections],
            "refusals": [asdict(row) for row in self.refusals],
            "faults": [asdict(row) for row in self.faults],
            "deliveries": {name: rows[name].tolist() for name in DELIVERY.names or ()},
        }

    def write(self, path: Path) -> None:
        """Write it to ``path`` as JSON, whole or not at all."""
        beside = path.with_name(path.name + ".part")
        beside.write_text(json.dumps(self.as_table()) + "\n", encoding="utf-8")
        beside.replace(path)
