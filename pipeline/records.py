"""Every record that crosses a process boundary, declared once.

Each dtype is little-endian, has no padding that is not named, and starts with ``seq``: the
channel that carries the record writes it, 1 for the first record, and nobody else does.

Units: ``_e4`` is an integer count of 1/10 000 rupee; ``_ns`` is nanoseconds. ``ts_event_ns``
is the exchange's clock (Unix epoch, 0 = the broker sent none); every other ``_ns`` is
CLOCK_MONOTONIC of this machine, comparable between its processes.
"""

from __future__ import annotations

import struct
from datetime import timedelta, timezone
from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np

IST = timezone(timedelta(hours=5, minutes=30), "IST")  # one zone, no summer time
PRICE_SCALE = 10_000  # one rupee in e4 units
INSTRUMENTS_MAX = 65_535  # what TICK["instrument"] can number

TICK = np.dtype(
    [
        ("seq", "<u8"),  # position on the ring
        ("ts_event_ns", "<i8"),  # exchange time, epoch; 0 = absent
        ("ts_recv_ns", "<i8"),  # when the feed had the frame in hand
        ("price_e4", "<i8"),  # last traded price
        ("instrument", "<u2"),  # index into settings.instruments
        ("flags", "<u2"),  # AFTER_GAP, or 0
        ("quantity", "<u4"),  # last traded quantity, shares; 0 in LTP mode
        ("day_volume", "<u8"),  # traded today, shares; 0 in LTP mode
        ("bid_e4", "<i8"),  # best bid; 0 = not in this mode
        ("ask_e4", "<i8"),  # best ask; 0 = not in this mode
    ]
)
assert TICK.itemsize == 64, "one tick is one cache line"

AFTER_GAP = 1  # in TICK["flags"]: a GAP of this instrument ended with this tick

LEVELS = 5  # of each side of the depth

# The best prices of both sides as they came with a tick; on a ring of its own, and only where a
# strategy asks for it. Best first; a level that is not there is 0, 0, 0.
DEPTH = np.dtype(
    [
        ("seq", "<u8"),  # position on the ring of depth
        ("tick_seq", "<u8"),  # the tick that it came with
        ("ts_event_ns", "<i8"),  # that tick's
        ("ts_recv_ns", "<i8"),  # that tick's; 0 = the packet had no depth
        ("bid_e4", "<i8", (LEVELS,)),
        ("ask_e4", "<i8", (LEVELS,)),
        ("bid_quantity", "<u8", (LEVELS,)),  # shares
        ("ask_quantity", "<u8", (LEVELS,)),
        ("bid_orders", "<u4", (LEVELS,)),
        ("instrument", "<u2"),  # index into settings.instruments
        ("reserved", "<u2"),
        ("ask_orders", "<u4", (LEVELS,)),
        ("unused", "<u4"),
        ("unused_too", "<u8", (2,)),
    ]
)
assert DEPTH.itemsize == 256, "four cache lines"

# A TICK with the DEPTH that came with it, inside the feed. Its first fields are those of TICK, so
# that whoever has no use for the depth need not know of it.
_TICK_FIELDS = [(name, *place) for name, place in (TICK.fields or {}).items()]
TICK_WITH_DEPTH = np.dtype(
    {
        "names": [*(field[0] for field in _TICK_FIELDS), "tick", "depth"],
        "formats": [*(field[1] for field in _TICK_FIELDS), TICK, DEPTH],
        "offsets": [*(field[2] for field in _TICK_FIELDS), 0, TICK.itemsize],
        "itemsize": TICK.itemsize + DEPTH.itemsize,
    }
)


class WhenLapped(StrEnum):
    """What a reader of the ring does when it was overtaken; what it lost is counted in any case."""

    OLDEST = "oldest"  # go on with the oldest record that is intact: a recorder
    LATEST = "latest"  # go on with the newest and skip the others: who wants the price as it is now
    RAISE = "raise"  # raise ReaderLapped: who may not go on past a gap unawares


class GapReason(StrEnum):
    LAPPED = "lapped"  # the writer overtook the reader
    RESTART = "restart"  # the writer died, and another went on in its place
    DISCONNECTED = "disconnected"  # the feed had no connection to the broker
    STALLED = "stalled"  # the feed had one, and no ticks came where ticks were due


class Gap(NamedTuple):
    """Ticks that are missing, or may be.

    ``lost`` counts seqs, exactly. What the broker sent while no feed listened never had a seq:
    a gap of another reason than LAPPED is one even with ``lost`` 0. The fields behind it are of
    gaps that the feed noticed: DISCONNECTED and STALLED.
    """

    reason: GapReason
    lost: int
    began_ns: int = 0  # epoch, by the clock of this machine
    ended_ns: int = 0
    instruments: range = range(0)  # whose ticks may be missing; indexes into settings.instruments

    @property
    def text(self) -> str:
        """What the feed noticed, for people."""
        seconds = (self.ended_ns - self.began_ns) / 1e9
        whose = f"{len(self.instruments)} instrument(s) from {self.instruments.start}"
        return f"{self.reason} for {seconds:.1f} s: {whose}"


# What the feed noticed to be missing. It ends with the next tick of the instruments concerned, is
# published before that tick, and that tick has AFTER_GAP.
GAP = np.dtype(
    [
        ("seq", "<u8"),  # position on the ring of gaps
        ("reason", "S16"),  # GapReason
        ("began_ns", "<i8"),  # when the last byte, or the last tick, was in hand before it
        ("ended_ns", "<i8"),
        ("began_epoch_ns", "<i8"),  # the same by CLOCK_REALTIME, epoch
        ("ended_epoch_ns", "<i8"),
        ("after_seq", "<u8"),  # the last tick on the ring when it was noticed
        ("next_seq", "<u8"),  # the tick with which it ended
        ("connection", "<u2"),  # which of the feed's, from 0
        ("first_instrument", "<u2"),  # all of the connection, or one
        ("instrument_count", "<u2"),
        ("reserved", "<u2"),
    ]
)


class Action(IntEnum):
    """What a strategy wants. HOLD never crosses the queue."""

    HOLD = 0
    BUY = 1
    SELL = 2
    CLOSE = 3


REASON_BYTES = 96  # a longer reason is refused where the signal is made

SIGNAL = np.dtype(
    [
        ("seq", "<u8"),  # position on the queue: the signal's identity (I4)
        ("tick_seq", "<u8"),  # the tick that caused it
        ("ts_event_ns", "<i8"),  # that tick's exchange time
        ("ts_recv_ns", "<i8"),  # when the feed had that tick: expiry counts from here
        ("ts_signal_ns", "<i8"),  # when the strategy had decided
        ("price_e4", "<i8"),  # that tick's price, or the strategy's own
        ("stop_loss_e4", "<i8"),  # advice; 0 = none
        ("take_profit_e4", "<i8"),  # advice; 0 = none
        ("confidence", "<f8"),  # 0..1
        ("instrument", "<u2"),
        ("action", "<u2"),  # Action
        ("reserved", "<u4"),
        ("reason", f"S{REASON_BYTES}"),  # UTF-8
    ]
)


class SignalRow(NamedTuple):
    """A row of SIGNAL as a tuple, in its field order."""

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


class ExitKind(IntEnum):
    """Why the last exit happened, as far as a strategy can act on it."""

    NONE = 0
    STOP_LOSS = 1
    TRAILING_STOP = 2
    TAKE_PROFIT = 3
    SESSION_END = 4
    OTHER = 5
    BREAKEVEN_STOP = 6
    TIME_LIMIT = 7


POSITION = np.dtype(
    [
        ("position_id", "<u8"),  # 0 = flat
        ("quantity", "<i8"),  # open, shares; long > 0
        ("entry_price_e4", "<i8"),
        ("stop_e4", "<i8"),  # the stop in force: base, breakeven or trailing
        ("closed_id", "<u8"),  # the last position that closed completely; 0 = none yet
        ("closed_kind", "<u8"),  # ExitKind of its last exit
    ]
)


def positions_dtype(instrument_count: int) -> np.dtype[np.void]:
    """Return the record of the positions cell: one POSITION per instrument, in settings order."""
    return np.dtype(
        [
            ("seq", "<u8"),
            ("as_of_seq", "<u8"),  # the last tick risk had handled
            ("as_of_signal", "<u8"),  # the last signal risk had handled, filled or refused
            ("positions", POSITION, (instrument_count,)),
        ]
    )


class ProcessState(IntEnum):
    STARTING = 0
    RUNNING = 1
    STOPPING = 2
    STOPPED = 3
    FAILED = 4


class Stage(IntEnum):
    """A part of the way of a tick or an order whose time is measured, every day, by the process
    in which it ends. A tick is in hand when the feed has its whole frame (``ts_recv_ns``)."""

    EXCHANGE_TO_FEED = 0  # the exchange's stamp -> in hand; two clocks: wrong by their difference
    FEED_TO_RING = 1  # in hand -> published
    FEED_TO_STRATEGY = 2  # in hand -> the strategy has answered it
    FEED_TO_RISK = 3  # in hand -> risk has handled it, orders included
    SIGNAL_TO_RISK = 4  # the strategy had decided -> risk has the signal
    SIGNAL_TO_ORDER = 5  # the strategy had decided -> its order is handed to the gateway
    TICK_TO_ORDER = 6  # in hand -> the order that it caused is handed to the gateway

    @property
    def title(self) -> str:
        """The stage as people read it: "Feed To Ring"."""
        return self.name.replace("_", " ").title()


LATENCY = np.dtype(
    [
        ("samples", "<u8"),  # 0 = nothing measured, or measured by another process
        ("p50_ns", "<i8"),
        ("p90_ns", "<i8"),
        ("p99_ns", "<i8"),
        ("p999_ns", "<i8"),
        ("max_ns", "<i8"),
    ]
)

HEARTBEAT = np.dtype(
    [
        ("seq", "<u8"),
        ("pid", "<u4"),
        ("state", "<u4"),  # ProcessState
        ("beat_ns", "<i8"),
        ("cycles", "<u8"),  # turns of the duty cycle
        ("ticks", "<u8"),  # published (feed) or handled (readers)
        ("last_seq", "<u8"),  # the newest tick published or handled
        ("last_event_ns", "<i8"),  # that tick's exchange time
        ("last_price_e4", "<i8"),
        ("lapped", "<u8"),  # times this reader was overtaken
        ("lost", "<u8"),  # ticks it lost by that, exact (I2)
        ("depths_lost", "<u8"),  # strategy: depth that it asked for and did not get in time
        ("duplicates", "<u8"),  # feed: frames dropped as already seen
        ("skipped", "<u8"),  # feed: bytes of frames that belong to no tick
        ("refused", "<u8"),  # feed: bad ticks; risk: refused signals; strategy: failures
        ("outages", "<u8"),  # feed: connections lost
        ("connected", "<u8"),  # feed: connections that stand
        ("gaps", "<u8"),  # feed: gaps that ended
        ("missing_since_ns", "<i8"),  # feed: when the gap that lasts began; 0 = none does
        ("silent", "<u8"),  # feed: instruments that were subscribed and never ticked in time
        ("unread", "<u8"),  # feed: ticks that the slowest reader has not handled yet
        ("signals", "<u8"),  # sent (strategy) or handled (risk)
        ("orders", "<u8"),  # risk: sent to the broker
        ("trades", "<u8"),  # risk: exit rows booked
        ("position", "<i8"),  # risk: open quantity over all instruments, shares
        ("cash_e4", "<i8"),  # risk
        ("equity_e4", "<i8"),  # risk: cash plus open positions at the last price
        ("latency", LATENCY, (len(Stage),)),  # since the start, by Stage
    ]
)

_STRUCT_CODES = {"<u8": "Q", "<i8": "q", "<u4": "I", "<u2": "H"}  # numpy's names -> struct's


def struct_of(dtype: np.dtype[np.void]) -> struct.Struct:
    """Return the struct of a flat record of integers.

    It turns rows into tuples several times faster than ``tolist``.
    """
    assert dtype.names is not None
    record = struct.Struct("<" + "".join(_STRUCT_CODES[dtype[name].str] for name in dtype.names))
    assert record.size == dtype.itemsize
    return record
