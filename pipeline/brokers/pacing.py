"""How many requests a second and a minute leave for the broker. Pure.

Counted over any second and any minute, not those of our clock: the broker counts by its own.
"""

from __future__ import annotations

from collections import deque

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
# The broker sees two requests closer together than they left, when the first was held up.
_JITTER_NS = 100_000_000


class Pacing:
    """The requests of the last minute. Entries leave ``reserved`` of them to cancels and exits."""

    def __init__(self, per_second: int, per_minute: int, reserved: int) -> None:
        assert 0 < reserved < min(per_second, per_minute)
        self._windows = ((SECOND_NS + _JITTER_NS, per_second), (MINUTE_NS + _JITTER_NS, per_minute))
        self._reserved = reserved
        self._times: deque[int] = deque(maxlen=per_minute)

    def wait_ns(self, now_ns: int, *, is_entry: bool) -> int:
        """Return how long the next request has to wait; 0 = it may leave now."""
        left = self._reserved if is_entry else 0
        return max(self._until(now_ns, span, limit - left) for span, limit in self._windows)

    def _until(self, now_ns: int, span_ns: int, limit: int) -> int:
        if len(self._times) < limit:
            return 0
        return max(0, self._times[-limit] + span_ns - now_ns)

    def count(self, now_ns: int) -> None:
        """Take a request into account that leaves now."""
        self._times.append(now_ns)
