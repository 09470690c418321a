"""Kite Ticker v3 market data: bytes to TICK rows and back. Pure.

A frame is big-endian: a count u16, then so many packets, each behind its length u16. The length
says what a packet is, and one frame may hold several kinds. The packets are prefixes of each other:

    0  token u32 │ 4 last price i32                                    ┤ 8   LTP ends
    8  high, low, open, previous close, change, i32 each               ┤ 28  index quote ends
    28 exchange time u32, epoch s                                      ┤ 32  index full ends

    8  last quantity u32 │ 12 average price i32 │ 16 day volume u32 │ 20, 24 total buy, sell u32
    28 open, high, low, previous close, i32 each                       ┤ 44  quote ends
    44 last trade u32, epoch s │ 48 open interest, its high, low u32 │ 60 exchange time u32, epoch s
    64 five levels of bids, then 124 of asks, 12 B each                ┤ 184 full ends

What a price counts depends on the token, see pipeline/brokers/kite/tokens.py. Source of the
offsets: the broker's page on its WebSocket, its Python client, and recorded frames.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.kite.tokens import Tokens
from pipeline.brokers.levels import depth_row
from pipeline.records import DEPTH, LEVELS, TICK, struct_of

_LTP_FIELDS = [("token", ">u4"), ("price", ">i4")]
_INDEX_FIELDS = [
    ("high", ">i4"),
    ("low", ">i4"),
    ("open", ">i4"),
    ("previous_close", ">i4"),
    ("change", ">i4"),  # in the unit of the price; the broker's own client computes another one
]
_QUOTE_FIELDS = [
    ("quantity", ">u4"),
    ("average_price", ">i4"),
    ("day_volume", ">u4"),
    ("buy_quantity", ">u4"),
    ("sell_quantity", ">u4"),
    ("open", ">i4"),
    ("high", ">i4"),
    ("low", ">i4"),
    ("previous_close", ">i4"),
]
DEPTH_LEVEL = np.dtype(
    [("quantity", ">u4"), ("price", ">i4"), ("orders", ">u2"), ("padding", "V2")]
)
_FULL_FIELDS = [
    ("last_trade_s", ">u4"),
    ("open_interest", ">u4"),
    ("open_interest_high", ">u4"),
    ("open_interest_low", ">u4"),
    ("time_s", ">u4"),  # 0 = absent
    ("bids", DEPTH_LEVEL, (5,)),  # best first; 0 where there is none
    ("asks", DEPTH_LEVEL, (5,)),
]
LTP = np.dtype(_LTP_FIELDS)
INDEX_QUOTE = np.dtype(_LTP_FIELDS + _INDEX_FIELDS)
INDEX_FULL = np.dtype([*_LTP_FIELDS, *_INDEX_FIELDS, ("time_s", ">u4")])
QUOTE = np.dtype(_LTP_FIELDS + _QUOTE_FIELDS)
FULL = np.dtype(_LTP_FIELDS + _QUOTE_FIELDS + _FULL_FIELDS)
KINDS = {kind.itemsize: kind for kind in (LTP, INDEX_QUOTE, INDEX_FULL, QUOTE, FULL)}
assert list(KINDS) == [8, 28, 32, 44, 184]

_FRAMED = {size: np.dtype([("length", ">u2"), ("packet", kind)]) for size, kind in KINDS.items()}

# struct reads one packet several times faster than numpy does; both views are asserted to fit.
_COUNT = struct.Struct(">H")
_LENGTH_BYTES = _FIRST_PACKET = 2
_ONE_START = _FIRST_PACKET + _LENGTH_BYTES
_LTP_HEAD = struct.Struct(">Ii")
_INDEX_FULL_HEAD = struct.Struct(">Ii20xI")
_QUOTE_HEAD = struct.Struct(">IiI4xI")
_FULL_HEAD = struct.Struct(">IiI4xI40xI4xi56xi")
_ROW = struct_of(TICK)
_LEVELS = struct.Struct(">" + 2 * LEVELS * "IiH2x")
assert _LEVELS.size == 2 * LEVELS * DEPTH_LEVEL.itemsize
assert FULL.fields is not None
_DEPTH_START = 64
assert (FULL.fields["time_s"][1], FULL.fields["asks"][1]) == (60, 124)
assert FULL.fields["bids"][1] == _DEPTH_START

WHOLE_ROW = np.dtype(f"V{TICK.itemsize}")

_FEW = 32  # packets that struct reads sooner than numpy has begun


class Decoded(NamedTuple):
    """One frame. Every packet that it promised is in one of the first two."""

    ticks: NDArray[np.void]  # TICK rows in the frame's order, their own memory; seq 0
    refused: int  # packets that cannot be true; a broken rest of the frame counts as one
    skipped: int  # bytes of the frame that are neither its count nor a packet that became a tick


_NO_TICKS = np.empty(0, TICK)


def whole(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Return ``rows`` as records without fields, which numpy picks many times faster."""
    return rows.view(WHOLE_ROW if rows.itemsize == WHOLE_ROW.itemsize else f"V{rows.itemsize}")


# Bytes to ticks ------------------------------------------------------------------------------


def decode(
    data: bytes | memoryview,
    tokens: Tokens,
    now_ns: int,
    *,
    timed: bool = False,
    row_type: np.dtype[np.void] = TICK,
) -> Decoded:
    """Return the ticks of one frame; never raises. ``row_type`` is TICK or TICK_WITH_DEPTH.

    Refused, one by one: a packet of an unknown length, a token that is not in ``tokens``, a price
    that is not above 0, with ``timed`` also a packet without a time. LTP and quote packets have
    none: their ``ts_event_ns`` is 0. A frame that ends too early or too late gives its whole
    packets, and its rest is refused.
    """
    size = len(data)
    if size < _FIRST_PACKET:
        return Decoded(_NO_TICKS, 1, size)
    (count,) = _COUNT.unpack_from(data)
    if count == 1 and size > _ONE_START and size == _ONE_START + (data[2] << 8 | data[3]):
        row = _row(data, _ONE_START, size - _ONE_START, tokens, now_ns, timed, row_type)
        if not row:
            return Decoded(_NO_TICKS, 1, size - _FIRST_PACKET)
        return Decoded(np.frombuffer(bytearray(row), row_type), 0, 0)
    packets = _uniform(data, count) if count > _FEW else None
    if packets is not None:
        ticks, taken = _rows(packets, tokens, now_ns, timed, row_type)
        if taken.all():
            return Decoded(ticks, 0, 0)
        ticks = _only(taken, ticks)
        return Decoded(ticks, count - len(ticks), (size - 2) // count * (count - len(ticks)))
    return _one_by_one(data, count, tokens, now_ns, timed, row_type)


def _one_by_one(
    data: bytes | memoryview,
    count: int,
    tokens: Tokens,
    now_ns: int,
    timed: bool,
    row_type: np.dtype[np.void],
) -> Decoded:
    """Decode a frame of few packets, of mixed kinds, or a broken one."""
    starts, lengths, end = _walk(data, count)
    broken = len(starts) < count or end != len(data)
    if len(starts) > _FEW:
        ticks, taken = _rows_of_kinds(data, starts, lengths, tokens, now_ns, timed, row_type)
        used = int(np.dot(taken, np.array(lengths, np.int64) + _LENGTH_BYTES))
        ticks = _only(taken, ticks)
    else:
        places = zip(starts, lengths, strict=True)
        rows = [_row(data, *place, tokens, now_ns, timed, row_type) for place in places]
        ticks = np.frombuffer(bytearray(b"".join(rows)), row_type)
        kept = (length for row, length in zip(rows, lengths, strict=True) if row)
        used = sum(kept) + len(ticks) * _LENGTH_BYTES
    refused = len(starts) - len(ticks) + broken
    return Decoded(ticks, refused, len(data) - _FIRST_PACKET - used)


def _only(taken: NDArray[np.bool_], ticks: NDArray[np.void]) -> NDArray[np.void]:
    return whole(ticks)[taken].view(ticks.dtype)


def _uniform(data: bytes | memoryview, count: int) -> NDArray[np.void] | None:
    """Return the packets of a frame in which all are of one known kind, else None."""
    step, rest = divmod(len(data) - _FIRST_PACKET, count)
    framed = _FRAMED.get(step - _LENGTH_BYTES)
    if rest or framed is None:
        return None
    packets = np.frombuffer(data, framed, count, _FIRST_PACKET)
    of_kind = packets["length"] == framed["packet"].itemsize
    return packets["packet"] if of_kind.all() else None


def _rows(
    packets: NDArray[np.void],
    tokens: Tokens,
    now_ns: int,
    timed: bool,
    row_type: np.dtype[np.void],
) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
    """Return a row for each packet of one kind, and which of them can be true."""
    names = packets.dtype.names
    assert names is not None
    rows = np.zeros(len(packets), row_type)
    instruments, taken = tokens.find(packets["token"].astype(np.uint32))
    prices = tokens.e4(packets["price"], instruments)
    rows["price_e4"] = prices
    rows["ts_recv_ns"] = now_ns
    rows["instrument"] = instruments
    if "time_s" in names:
        np.multiply(packets["time_s"], 1_000_000_000, out=rows["ts_event_ns"], dtype=np.int64)
    if "quantity" in names:
        rows["quantity"] = packets["quantity"]
        rows["day_volume"] = packets["day_volume"]
    if "bids" in names:
        for name, side in (("bid_e4", "bids"), ("ask_e4", "asks")):
            best = tokens.e4(packets[side]["price"][:, 0], instruments)
            np.maximum(best, 0, out=rows[name])
        if row_type is not TICK:
            _fill(rows["depth"], packets, tokens, instruments)
            rows["depth"]["ts_recv_ns"] = now_ns
            rows["depth"]["ts_event_ns"] = rows["ts_event_ns"]
    taken &= prices > 0
    if timed:
        taken &= rows["ts_event_ns"] > 0
    return rows, taken


def _rows_of_kinds(
    data: bytes | memoryview,
    starts: list[int],
    lengths: list[int],
    tokens: Tokens,
    now_ns: int,
    timed: bool,
    row_type: np.dtype[np.void],
) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
    """Return a row and whether it can be true for each packet, whatever kinds are mixed."""
    rows = np.zeros(len(starts), row_type)
    taken = np.zeros(len(starts), np.bool_)
    start_of, length_of = np.array(starts, np.intp), np.array(lengths, np.intp)
    for length in KINDS.keys() & set(lengths):
        # As if a packet of this kind began at every byte; those that really do are picked.
        shape = (len(data) - length + 1,)
        everywhere = np.ndarray(shape, f"V{length}", data, strides=(1,))
        of_kind = np.flatnonzero(length_of == length)
        packets = everywhere[start_of[of_kind]].view(KINDS[length])
        found, taken[of_kind] = _rows(packets, tokens, now_ns, timed, row_type)
        whole(rows)[of_kind] = whole(found)
    return rows, taken


def _walk(data: bytes | memoryview, count: int) -> tuple[list[int], list[int], int]:
    """Return start and length of each whole packet, and where the last one ends."""
    starts: list[int] = []
    lengths: list[int] = []
    end, bytes_max = _FIRST_PACKET, len(data)
    for _ in range(count):
        start = end + _LENGTH_BYTES
        if start > bytes_max:
            break
        length = data[end] << 8 | data[end + 1]
        if start + length > bytes_max:
            break
        end = start + length
        starts.append(start)
        lengths.append(length)
    return starts, lengths, end


def _row(
    data: bytes | memoryview,
    start: int,
    length: int,
    tokens: Tokens,
    now_ns: int,
    timed: bool,
    row_type: np.dtype[np.void],
) -> bytes:
    """Return one packet as a row, b"" when it cannot be true."""
    quantity = day_volume = time_s = bid = ask = 0
    if length == FULL.itemsize:
        token, price, quantity, day_volume, time_s, bid, ask = _FULL_HEAD.unpack_from(data, start)
    elif length == QUOTE.itemsize:
        token, price, quantity, day_volume = _QUOTE_HEAD.unpack_from(data, start)
    elif length == INDEX_FULL.itemsize:
        token, price, time_s = _INDEX_FULL_HEAD.unpack_from(data, start)
    elif length in KINDS:
        token, price = _LTP_HEAD.unpack_from(data, start)
    else:
        return b""
    entry = tokens.entries.get(token)
    if entry is None:
        return b""
    instrument, times, divisor = entry
    price_e4 = price * times // divisor
    if price_e4 <= 0 or (timed and not time_s):
        return b""
    row = _ROW.pack(
        0,
        time_s * 1_000_000_000,
        now_ns,
        price_e4,
        instrument,
        0,
        quantity,
        day_volume,
        bid * times // divisor if bid > 0 else 0,
        ask * times // divisor if ask > 0 else 0,
    )
    if row_type is TICK:
        return row
    if length != FULL.itemsize:
        return row + bytes(DEPTH.itemsize)
    return row + _depth(data, start, entry, time_s * 1_000_000_000, now_ns)


def _depth(
    data: bytes | memoryview,
    start: int,
    entry: tuple[int, int, int],
    time_ns: int,
    now_ns: int,
) -> bytes:
    """Return the DEPTH of one packet of kind FULL."""
    instrument, times, divisor = entry
    fields = _LEVELS.unpack_from(data, start + _DEPTH_START)
    levels = [
        (price * times // divisor, quantity, orders) if price > 0 else (0, 0, 0)
        for quantity, price, orders in zip(fields[::3], fields[1::3], fields[2::3], strict=True)
    ]
    return depth_row(time_ns, now_ns, levels, instrument)


def _fill(
    depths: NDArray[np.void],
    packets: NDArray[np.void],
    tokens: Tokens,
    instruments: NDArray[np.uint16],
) -> None:
    """Fill in the levels of DEPTH rows from packets of kind FULL."""
    depths["instrument"] = instruments
    for side, levels in (("bid", packets["bids"]), ("ask", packets["asks"])):
        there = levels["price"] > 0
        prices = tokens.e4(levels["price"], instruments[:, np.newaxis])
        depths[f"{side}_e4"] = np.where(there, prices, 0)
        depths[f"{side}_quantity"] = np.where(there, levels["quantity"], 0)
        depths[f"{side}_orders"] = np.where(there, levels["orders"], 0)


# Ticks to bytes ------------------------------------------------------------------------------


def encode(mode: str, ticks: NDArray[np.void], tokens: Tokens) -> list[bytes]:
    """Return one packet of ``mode`` (ltp, quote, full) for each TICK row, its length in front.

    What a TICK lacks is 0. What the unit of the wire cannot hold is cut off: time below 1 s, and
    what ``is_exact`` tells.
    """
    equity, index = {"ltp": (LTP, LTP), "quote": (QUOTE, INDEX_QUOTE), "full": (FULL, INDEX_FULL)}[
        mode
    ]
    of_index = tokens.of_index[ticks["instrument"]]
    packets = [b""] * len(ticks)
    for kind, rows in ((equity, ~of_index), (index, of_index)):
        framed = _framed(kind, ticks[rows], tokens)
        for place, packet in zip(np.flatnonzero(rows).tolist(), framed, strict=True):
            packets[place] = packet.tobytes()
    return packets


def frame(packets: Sequence[bytes]) -> bytes:
    """Return the frame of packets that ``encode`` made, at most 65 535."""
    return _COUNT.pack(len(packets)) + b"".join(packets)


def is_exact(ticks: NDArray[np.void], tokens: Tokens) -> NDArray[np.bool_]:
    """Return for each TICK row whether price and volume are the same after the wire."""
    prices = tokens.raw(ticks["price_e4"], ticks["instrument"])
    exact: NDArray[np.bool_] = tokens.e4(prices, ticks["instrument"]) == ticks["price_e4"]
    exact &= prices == prices.astype(np.int32)
    exact &= ticks["day_volume"] == ticks["day_volume"].astype(np.uint32)
    return exact


def _framed(kind: np.dtype[np.void], ticks: NDArray[np.void], tokens: Tokens) -> NDArray[np.void]:
    framed = np.zeros(len(ticks), _FRAMED[kind.itemsize])
    framed["length"] = kind.itemsize
    packets, instruments, names = framed["packet"], ticks["instrument"], set(kind.names or ())
    packets["token"] = tokens.numbers[instruments]
    packets["price"] = tokens.raw(ticks["price_e4"], instruments)
    if "time_s" in names:
        packets["time_s"] = ticks["ts_event_ns"] // 1_000_000_000
    if "quantity" in names:
        packets["quantity"] = ticks["quantity"]
        packets["average_price"] = packets["price"]
        packets["day_volume"] = ticks["day_volume"]
    if "bids" in names:
        packets["last_trade_s"] = packets["time_s"]
        packets["bids"]["price"][:, 0] = tokens.raw(ticks["bid_e4"], instruments)
        packets["asks"]["price"][:, 0] = tokens.raw(ticks["ask_e4"], instruments)
    return framed
