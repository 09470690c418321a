"""Latencies of the newest ticks: raw nanoseconds on the tick path, percentiles at a heartbeat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class LatencyWindow:
    """The last ``size`` latencies in ns, the number ever added, and the largest ever.

    The maximum is taken over the whole window once each time it is full, so that adding only
    copies.
    """

    def __init__(self, size: int = 8_192) -> None:
        assert size > 0, size
        self.count = 0
        self._values = np.zeros(size, dtype=np.int64)
        self._sorted = np.zeros(size, dtype=np.int64)
        self._size = size
        self._at = 0  # where the next one goes
        self._filled = 0  # how many of _values mean something
        self._max_ns = 0

    def add_one(self, ns: int) -> None:
        """Add one latency."""
        if self._at == self._size:
            self._start_over()
        self._values[self._at] = ns
        self._at += 1
        self.count += 1

    def add(self, values_ns: NDArray[np.int64]) -> None:
        """Add a batch, shape (n,), oldest first; it may be longer than the window."""
        taken = 0
        while taken < len(values_ns):
            if self._at == self._size:
                self._start_over()
            part = values_ns[taken : taken + self._size - self._at]
            self._values[self._at : self._at + len(part)] = part
            self._at += len(part)
            taken += len(part)
        self.count += taken

    def percentiles(self) -> tuple[int, int, int]:
        """Return p50 and p99 of the window (nearest rank) and the maximum of all, ns.

        Zeros when nothing was added yet.
        """
        filled = max(self._filled, self._at)
        if not filled:
            return 0, 0, 0
        window = self._sorted[:filled]
        window[:] = self._values[:filled]
        p50, p99 = (filled * 50 + 99) // 100 - 1, (filled * 99 + 99) // 100 - 1
        window.partition((p50, p99))
        self._max_ns = max(self._max_ns, int(window[p99:].max()))
        return int(window[p50]), int(window[p99]), self._max_ns

    def _start_over(self) -> None:
        self._max_ns = max(self._max_ns, int(self._values.max()))
        self._filled = self._size
        self._at = 0

    def __repr__(self) -> str:
        p50, p99, highest = self.percentiles()
        return f"<LatencyWindow of {self.count}: p50 {p50} ns, p99 {p99} ns, max {highest} ns>"
