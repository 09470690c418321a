"""Several connections in one process: more instruments than one connection carries.

Each has its session and its reconnecting; the ring has one writer, so one process carries all.
Where there is one connection, the feed uses it without this.
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.feed.connection import RECEIVE_SECONDS_MAX, Connection
from pipeline.records import TICK

_NOTHING = np.zeros(0, TICK)


class Connections:
    """A source of what comes on ``connections``, which themselves wait for nothing."""

    def __init__(self, connections: Sequence[Connection], *, blocks: bool, spin_bare: bool) -> None:
        """``blocks`` says to sleep until something comes; else look again and again."""
        self._connections = list(connections)
        self._blocks = blocks
        self._spin_bare = spin_bare
        self._poll = select.poll()
        self._polled: list[int] = []
        self.ended_gaps: list[NDArray[np.void]] = []
        for connection in connections:
            connection.ended_gaps = self.ended_gaps

    def receive(self, limit: int) -> NDArray[np.void]:
        """Return ticks of one frame of one connection, possibly none; may block for 50 ms.

        The connection that gave something comes last the next time. Raises as a connection does.
        """
        for place, connection in enumerate(self._connections):
            rows = connection.receive(limit)
            if len(rows):
                self._connections.append(self._connections.pop(place))
                return rows
        self._share_what_is_known()
        if self._blocks:
            self._wait()
        elif not self._spin_bare:
            os.sched_yield()
        return _NOTHING

    def _share_what_is_known(self) -> None:
        """An address that answered one connection is right for all."""
        if any(connection.ever_connected for connection in self._connections):
            for connection in self._connections:
                connection.ever_connected = True

    def _wait(self) -> None:
        """Sleep until bytes come on one of them; not for long, as some may be connecting."""
        descriptors = [c.fileno for c in self._connections if c.fileno >= 0]
        if descriptors != self._polled:
            self._poll = select.poll()
            for descriptor in descriptors:
                self._poll.register(descriptor, select.POLLIN)
            self._polled = descriptors
        if not any(connection.has_more for connection in self._connections):
            self._poll.poll(RECEIVE_SECONDS_MAX * 1_000)

    @property
    def ended(self) -> bool:
        return all(connection.ended for connection in self._connections)

    @property
    def duplicates(self) -> int:
        return sum(connection.duplicates for connection in self._connections)

    @property
    def refused(self) -> int:
        return sum(connection.refused for connection in self._connections)

    @property
    def skipped(self) -> int:
        return sum(connection.skipped for connection in self._connections)

    @property
    def outages(self) -> int:
        return sum(connection.outages for connection in self._connections)

    @property
    def connected(self) -> int:
        return sum(connection.connected for connection in self._connections)

    @property
    def silent(self) -> int:
        return sum(connection.silent for connection in self._connections)

    @property
    def missing_since_ns(self) -> int:
        since = [connection.missing_since_ns for connection in self._connections]
        return min((ns for ns in since if ns), default=0)

    def missing(self) -> NDArray[np.void]:
        return np.concatenate([connection.missing() for connection in self._connections])

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
