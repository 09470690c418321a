"""When to try again after a connection was lost: a pure policy."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_CONNECT_ATTEMPTS_MAX = 3  # an address that never answered is more likely wrong than down
_DOUBLINGS_MAX = 4


@dataclass(frozen=True, slots=True)
class ReconnectPolicy:
    """Exponential pauses from ``delay_ns`` up to 16 times that, ``attempts_max`` in a row."""

    attempts_max: int
    delay_ns: int

    def pause_ns(self, failures: int, *, ever_connected: bool) -> int | None:
        """Return how long to wait after ``failures`` failed attempts in a row, None to give up."""
        attempts_max = self.attempts_max
        if not ever_connected:
            attempts_max = min(attempts_max, FIRST_CONNECT_ATTEMPTS_MAX)
        if failures > attempts_max:
            return None
        return int(self.delay_ns * 2 ** min(failures - 1, _DOUBLINGS_MAX)) if failures else 0
