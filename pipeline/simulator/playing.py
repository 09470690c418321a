"""What the simulator plays and when. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.smartapi.wire import MODE_LTP, MODE_QUOTE, encode_ltp, encode_quote

_BLOCK_TICKS = 1_024  # encoded at once: 1/10 ms of work, 1/8 MB of memory


class Frames:
    """The frame of each tick in each mode, encoded a block at a time.

    Sequence numbers are the ticks' places in the recording, 1 for the first, so that a client
    that comes back sees them go on, whatever it missed.
    """

    def __init__(self, ticks: NDArray[np.void], keys: Sequence[tuple[int, bytes]]) -> None:
        self._ticks = ticks
        self._keys = keys
        self._blocks = {MODE_LTP: (-1, b"", 0), MODE_QUOTE: (-1, b"", 0)}

    def frame(self, mode: int, position: int) -> bytes:
        """Return the frame of the tick at ``position``, counted from 0."""
        block, offset = divmod(position, _BLOCK_TICKS)
        number, data, size = self._blocks[mode]
        if number != block:
            number, data, size = self._blocks[mode] = self._encoded(mode, block)
        return data[offset * size : (offset + 1) * size]

    def _encoded(self, mode: int, block: int) -> tuple[int, bytes, int]:
        encode = encode_ltp if mode == MODE_LTP else encode_quote
        start = block * _BLOCK_TICKS
        packets = encode(self._ticks[start : start + _BLOCK_TICKS], self._keys, start + 1)
        return block, packets.tobytes(), packets.itemsize


class Playhead:
    """Where in the recording the exchange is.

    ``speed`` times real time by the clock of the caller, in seconds; None has no clock.
    """

    def __init__(self, ticks: NDArray[np.void], speed: float | None) -> None:
        elapsed_ns = ticks["ts_event_ns"] - ticks["ts_event_ns"][0]
        self._due_s = elapsed_ns / (1e9 * (speed or 1.0))
        self._start_s = 0.0
        self._count = len(ticks)
        self.paced = speed is not None
        self.position = 0  # the next tick, counted from 0

    @property
    def ended(self) -> bool:
        return self.position >= self._count

    def start(self, now_s: float) -> None:
        self._start_s = now_s

    def due(self, now_s: float) -> int:
        """Return the position up to which ticks are due, that tick not included."""
        if not self.paced:
            return self._count
        return int(np.searchsorted(self._due_s, now_s - self._start_s, side="right"))

    def wait_s(self, now_s: float) -> float:
        """Return how long the next tick is away; not at the end."""
        return max(0.0, float(self._due_s[self.position]) - (now_s - self._start_s))
