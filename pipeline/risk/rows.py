"""Rows of the records as plain tuples: what the tick path works on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from numpy import void
from numpy.typing import NDArray

from pipeline.brokers.contract import Order
from pipeline.records import SIGNAL, TICK

TickRow = tuple[int, ...]  # a row of records.TICK, in its field order
SEQ, EVENT, RECEIVED, PRICE, INSTRUMENT = range(5)
assert TICK.names is not None
assert TICK.names[:5] == ("seq", "ts_event_ns", "ts_recv_ns", "price_e4", "instrument")

_STRUCT_CODES = {"<u8": "Q", "<i8": "q", "<u4": "I", "<u2": "H"}  # numpy's names -> struct's
_TICK = struct.Struct("<" + "".join(_STRUCT_CODES[TICK[name].str] for name in TICK.names))
assert _TICK.size == TICK.itemsize

NO_TICK: TickRow = (0,) * len(TICK.names)


class SignalRow(NamedTuple):
    """A row of records.SIGNAL, in its field order."""

    seq: int
    tick_seq: int
    ts_event_ns: int
    ts_recv_ns: int
    ts_signal_ns: int
    price_e4: int
    stop_loss_e4: int
    take_profit_e4: int
    confidence: float
    instrument: int
    action: int
    reserved: int
    reason: bytes

    @property
    def text(self) -> str:
        """The reason; bytes that are not UTF-8 are shown escaped."""
        return self.reason.decode("utf-8", errors="backslashreplace")


assert SignalRow._fields == SIGNAL.names


def tick_rows(ticks: NDArray[void]) -> Iterator[TickRow]:
    """Give TICK rows as tuples; struct does it several times faster than ``tolist``."""
    return _TICK.iter_unpack(ticks.tobytes())


def tick_of(order: Order) -> TickRow:
    """Return what is known of the tick on which ``order`` was decided; its seq is left 0."""
    return (0, order.ts_event_ns, 0, order.price_e4, order.instrument, *NO_TICK[5:])
