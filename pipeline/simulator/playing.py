"""What the simulator plays and when. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

_BLOCK_TICKS = 1_024  # encoded at once: about a millisecond of work, 1/2 MB of memory


class Packets:
    """The packet of each tick in each mode, encoded a block at a time."""

    def __init__(
        self,
        ticks: NDArray[np.void],
        encode: Callable[[str, NDArray[np.void], int], Sequence[bytes]],
    ) -> None:
        """``encode`` takes a mode, ticks, and the position of the first of them."""
        self._ticks = ticks
        self._encode = encode
        self._blocks: dict[str, tuple[int, Sequence[bytes]]] = {}

    def packet(self, mode: str, position: int) -> bytes:
        """Return the packet of the tick at ``position``, counted from 0."""
        block, offset = divmod(position, _BLOCK_TICKS)
        number, packets = self._blocks[mode] if mode in self._blocks else (-1, ())
        if number != block:
            start = block * _BLOCK_TICKS
            packets = self._encode(mode, self._ticks[start : start + _BLOCK_TICKS], start)
            self._blocks[mode] = block, packets
        return packets[offset]

    def packets_at(self, mode: str, places: Sequence[int]) -> list[bytes]:
        """Return the packets of the ticks at ``places``, wherever they are."""
        return [self._encode(mode, self._ticks[place : place + 1], place)[0] for place in places]


class Playhead:
    """Where in the recording the exchange is.

    ``speed`` times real time by the clock of the caller, in seconds; None has no clock.
    """

    def __init__(self, ticks: NDArray[np.void], speed: float | None) -> None:
        # The exchange's time may go back for a moment; the order is the recording's.
        elapsed_ns = np.maximum.accumulate(ticks["ts_event_ns"] - ticks["ts_event_ns"][0])
        self._due_s = elapsed_ns / (1e9 * (speed or 1.0))
        self._start_s = 0.0
        self.count = len(ticks)
        self.paced = speed is not None
        self.position = 0  # the next tick, counted from 0

    @property
    def ended(self) -> bool:
        return self.position >= self.count

    def start(self, now_s: float) -> None:
        self._start_s = now_s

    def due(self, now_s: float) -> int:
        """Return the position up to which ticks are due, that tick not included."""
        if not self.paced:
            return self.count
        return int(np.searchsorted(self._due_s, now_s - self._start_s, side="right"))

    def wait_s(self, now_s: float) -> float:
        """Return how long the next tick is away; not at the end."""
        return max(0.0, float(self._due_s[self.position]) - (now_s - self._start_s))
