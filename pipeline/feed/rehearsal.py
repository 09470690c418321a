"""A frame of one tick, taken apart for nobody (see runtime/rehearsing.py). Pure: no socket."""

from __future__ import annotations

import numpy as np

from pipeline.brokers.contract import MarketSession
from pipeline.feed.frames import Frames
from pipeline.records import PRICE_SCALE, TICK

_WHOLE_BINARY = 0x82
_LENGTH_16 = 126  # from here on the length stands behind, in two bytes (RFC 6455, 5.2)


class Rehearsal:
    """What a feed does with a frame, by a session that no connection has."""

    def __init__(self, session: MarketSession) -> None:
        tick = np.zeros(1, TICK)
        tick["price_e4"] = 100 * PRICE_SCALE
        tick["ts_event_ns"] = 1_000_000_000  # Kite tells no time before the first second
        payload = session.encoded(tick)
        size = len(payload)
        length = bytes([size]) if size < _LENGTH_16 else b"\x7e" + size.to_bytes(2, "big")
        self._bytes = bytes([_WHOLE_BINARY]) + length + payload
        self._session = session
        self._frames = Frames()
        self.ticks = 0  # taken out of frames so far

    def __call__(self) -> None:
        self._frames.space()[: len(self._bytes)] = self._bytes
        self._frames.received(len(self._bytes))
        while frame := self._frames.next():  # the second look finds nothing, as in a connection
            self.ticks += len(self._session.on_binary(frame.data, 0).ticks)
