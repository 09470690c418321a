"""What a process that spins on a CPU of its own does with the time: it rehearses.

Ticks and orders are rare on the scale of a CPU, and by the time one comes, the code that handles it
has left the caches. So the same code is walked again and again while there is nothing to do, on
objects that nobody else has. Who shares a CPU does not rehearse: the time is somebody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic_ns

INTERVAL_NS = 200_000  # from the end of one rehearsal to the beginning of the next


class Rehearsing:
    """The ``idle`` of a duty cycle: rehearses now and then, and waits as the one behind it."""

    def __init__(
        self,
        idle: Callable[[], None],
        rehearse: Callable[[], object],
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._idle = idle
        self._rehearse = rehearse
        self._clock = clock
        self._due_ns: int | None = 0  # None = never again

    def idle(self) -> None:
        if self._due_ns is not None and self._clock() >= self._due_ns:
            self._due_ns = self._rehearsed()
        self._idle()

    def _rehearsed(self) -> int | None:
        """Rehearse once and return when to do it again."""
        try:
            self._rehearse()
        except Exception as error:  # a run does not end for what nobody needs: told, given up
            log = logging.getLogger("rehearsal")
            log.warning("rehearsing failed and is given up; the run goes on", exc_info=error)
            return None
        return self._clock() + INTERVAL_NS
