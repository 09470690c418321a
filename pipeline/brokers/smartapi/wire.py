"""SmartAPI WebSocket V2 market data: bytes to TICK rows and back. Pure.

Every frame is one packet, little-endian. The packets are prefixes of each other:

    0  mode u8 │ 1 exchange type u8 │ 2 token 25 B, NUL-terminated │ 27 sequence i64
    35 exchange time i64, epoch ms  │ 43 last price i64             ┤ 51  LTP ends
    51 last quantity i64 … 67 day volume i64 … open, high, low, close ┤ 123 Quote ends
    123 … 147 ten depth levels of 20 B … circuits, 52 weeks         ┤ 379 SnapQuote ends

Prices are paise, in currency derivatives 1/10 000 000 ₹. A packet may grow at its end without
breaking this reader. Source of the offsets: the broker's Python client and recorded frames.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.brokers.levels import NO_LEVEL, DepthLevel, depth_row
from pipeline.records import DEPTH, LEVELS, TICK, struct_of
from pipeline.settings import Instrument

MODE_LTP = 1
MODE_QUOTE = 2
MODE_SNAPQUOTE = 3
MODES = {"ltp": MODE_LTP, "quote": MODE_QUOTE, "full": MODE_SNAPQUOTE}

EXCHANGE_TYPES = {"NSE": 1, "NFO": 2, "BSE": 3, "BFO": 4, "MCX": 5, "CDS": 13}
CURRENCY = EXCHANGE_TYPES["CDS"]

E4_PER_PAISA = 100
CURRENCY_UNITS_PER_E4 = 1_000

_LTP_FIELDS = [
    ("mode", "u1"),
    ("exchange_type", "u1"),
    ("token", "S25"),
    ("sequence", "<i8"),  # feed-wide: a hole for one token is not loss
    ("time_ms", "<i8"),  # may go back while the sequence advances
    ("price", "<i8"),
]
_QUOTE_FIELDS = [
    ("quantity", "<i8"),
    ("average_price", "<i8"),
    ("day_volume", "<i8"),
    ("buy_quantity", "<f8"),
    ("sell_quantity", "<f8"),
    ("open", "<i8"),
    ("high", "<i8"),
    ("low", "<i8"),
    ("previous_close", "<i8"),
]
DEPTH_LEVEL = np.dtype(
    [
        ("flag", "<u2"),
        ("quantity", "<i8"),
        ("price", "<i8"),
        ("orders", "<u2"),
    ]  # flag 1 buy, 0 sell
)
_SNAPQUOTE_FIELDS = [
    ("last_trade_s", "<i8"),
    ("open_interest", "<i8"),
    ("open_interest_change", "<f8"),
    ("depth", DEPTH_LEVEL, (10,)),
    ("upper_circuit", "<i8"),
    ("lower_circuit", "<i8"),
    ("year_high", "<i8"),
    ("year_low", "<i8"),
]
LTP = np.dtype(_LTP_FIELDS)
QUOTE = np.dtype(_LTP_FIELDS + _QUOTE_FIELDS)
SNAPQUOTE = np.dtype(_LTP_FIELDS + _QUOTE_FIELDS + _SNAPQUOTE_FIELDS)
assert (LTP.itemsize, QUOTE.itemsize, SNAPQUOTE.itemsize) == (51, 123, 379)

# struct reads one packet several times faster than numpy does; both views are asserted to fit.
_HEAD = struct.Struct("<xB25sqqq")
_TRADED_HEAD = struct.Struct("<xB25sqqqq8xq")
_FLAGS = struct.Struct("<" + 10 * "H18x")
_PRICES = struct.Struct("<" + 10 * "10xq2x")
_LEVELS = struct.Struct("<HqqH")
_ROW = struct_of(TICK)
_DEPTH_START, _DEPTH_END = 147, 347
_BIDS_FIRST = (1,) * 5 + (0,) * 5  # the flags of every recorded packet
assert _HEAD.size == LTP.itemsize
assert _FLAGS.size == _PRICES.size == 10 * DEPTH_LEVEL.itemsize
assert _LEVELS.size == DEPTH_LEVEL.itemsize
assert SNAPQUOTE.fields is not None
assert SNAPQUOTE.fields["depth"][1] == _DEPTH_START

_KIND_OF_MODE = {MODE_LTP: LTP, MODE_QUOTE: QUOTE, MODE_SNAPQUOTE: SNAPQUOTE}
_BYTES_OF_MODE = {mode: kind.itemsize for mode, kind in _KIND_OF_MODE.items()}
_PRICE_MAX = (2**63 - 1) // E4_PER_PAISA


class Decoded(NamedTuple):
    """One packet that was understood. One is made for every tick: by ``_decoded``."""

    ticks: NDArray[np.void]  # one TICK row, its own memory; seq 0
    instrument: int  # the row's, as a Python int
    sequence: int  # the broker's; 0 = it gave none
    skipped: int  # bytes behind what is known of the packet


_decoded = partial(tuple.__new__, Decoded)  # half the time of Decoded(…)


def instrument_key(instrument: Instrument) -> tuple[int, bytes]:
    """Return how the wire names ``instrument``: exchange type and token."""
    return EXCHANGE_TYPES[instrument.exchange], instrument.token.encode("ascii")


def decode(
    data: bytes | memoryview,
    instrument_of: Mapping[tuple[int, bytes], int],
    now_ns: int,
    row_type: np.dtype[np.void] = TICK,
) -> Decoded | None:
    """Return the tick in one frame, or None when it cannot be true; never raises.

    ``row_type`` is TICK or TICK_WITH_DEPTH.

    None: shorter than its mode's packet, another mode, a token not in ``instrument_of``, a price
    that is not above 0, a negative time, sequence or volume, a quantity that does not fit u32.
    One impossible field refuses the whole frame: what it says about the price is no better.
    """
    mode = data[0] if data else 0
    if mode not in _BYTES_OF_MODE or (skipped := len(data) - _BYTES_OF_MODE[mode]) < 0:
        return None
    quantity = day_volume = bid = ask = 0
    if mode == MODE_LTP:
        exchange_type, token, sequence, time_ms, price = _HEAD.unpack_from(data)
    else:
        traded = _TRADED_HEAD.unpack_from(data)
        exchange_type, token, sequence, time_ms, price, quantity, day_volume = traded
        if mode == MODE_SNAPQUOTE:
            bid, ask = _best_prices(data)
    instrument = instrument_of.get((exchange_type, token.partition(b"\0")[0]))
    if instrument is None:
        return None
    if exchange_type == CURRENCY:
        price, bid, ask = (units // CURRENCY_UNITS_PER_E4 for units in (price, bid, ask))
    else:
        price, bid, ask = price * E4_PER_PAISA, bid * E4_PER_PAISA, ask * E4_PER_PAISA
    if price <= 0 or time_ms < 0 or sequence < 0:
        return None
    time_ns = time_ms * 1_000_000
    try:
        row = _ROW.pack(0, time_ns, now_ns, price, instrument, 0, quantity, day_volume, bid, ask)
    except struct.error:  # more than a field of the row can hold, or less than 0
        return None
    if row_type is not TICK:
        has_depth = mode == MODE_SNAPQUOTE
        row += _depth(data, instrument, time_ns, now_ns) if has_depth else bytes(DEPTH.itemsize)
    return _decoded((np.frombuffer(bytearray(row), row_type), instrument, sequence, skipped))


def _best_prices(data: bytes | memoryview) -> tuple[int, int]:
    """Return best bid and ask of the depth, 0 where there is none; sides go by the flag."""
    flags = _FLAGS.unpack_from(data, _DEPTH_START)
    prices = _PRICES.unpack_from(data, _DEPTH_START)
    if flags == _BIDS_FIRST:  # and, as nearly every packet, the best first: no need to search
        bid, b2, b3, b4, last_bid, ask, a2, a3, a4, last_ask = prices
        if (
            _PRICE_MAX >= bid >= b2 >= b3 >= b4 >= last_bid >= 0
            and 0 < ask <= a2 <= a3 <= a4 <= last_ask <= _PRICE_MAX
        ):
            return bid, ask
    sides: dict[int, list[int]] = {0: [], 1: []}
    for flag, price in zip(flags, prices, strict=True):
        if flag in sides and 0 < price <= _PRICE_MAX:
            sides[flag].append(price)
    return max(sides[1], default=0), min(sides[0], default=0)


def _depth(data: bytes | memoryview, instrument: int, time_ns: int, now_ns: int) -> bytes:
    """Return the DEPTH of a SnapQuote; sides go by the flag, and the best five of each come first.

    A level that cannot be true is no level.
    """
    currency = data[1] == CURRENCY
    sides: dict[int, list[DepthLevel]] = {0: [], 1: []}
    for flag, quantity, price, orders in _LEVELS.iter_unpack(data[_DEPTH_START:_DEPTH_END]):
        if flag in sides and 0 < price <= _PRICE_MAX and quantity >= 0:
            e4 = price // CURRENCY_UNITS_PER_E4 if currency else price * E4_PER_PAISA
            sides[flag].append((e4, quantity, orders))
    bids, asks = sorted(sides[1], key=_price, reverse=True), sorted(sides[0], key=_price)
    missing = [NO_LEVEL] * LEVELS
    return depth_row(
        time_ns, now_ns, [*(bids + missing)[:LEVELS], *(asks + missing)[:LEVELS]], instrument
    )


def _price(level: DepthLevel) -> int:
    return level[0]


def encode(
    mode: str, ticks: NDArray[np.void], keys: Sequence[tuple[int, bytes]], first_sequence: int
) -> NDArray[np.void]:
    """Return one packet of ``mode`` (ltp, quote, full) for each TICK row.

    ``keys[row["instrument"]]`` names the row's on the wire; sequence numbers count up from
    ``first_sequence``. What a TICK lacks is 0. What the unit of the wire cannot hold is cut off:
    time below 1 ms, prices below a paisa (``is_exact`` tells).
    """
    exchange_types = np.array([exchange_type for exchange_type, _ in keys], "u1")
    tokens = np.array([token for _, token in keys], "S25")
    packets = np.zeros(len(ticks), _KIND_OF_MODE[MODES[mode]])
    packets["mode"] = MODES[mode]
    packets["exchange_type"] = exchange_types[ticks["instrument"]]
    packets["token"] = tokens[ticks["instrument"]]
    packets["sequence"] = np.arange(first_sequence, first_sequence + len(ticks))
    packets["time_ms"] = ticks["ts_event_ns"] // 1_000_000
    packets["price"] = _raw(ticks["price_e4"], packets["exchange_type"])
    if mode != "ltp":
        packets["quantity"] = ticks["quantity"]
        packets["average_price"] = packets["price"]
        packets["day_volume"] = ticks["day_volume"]
    if mode == "full":
        packets["last_trade_s"] = ticks["ts_event_ns"] // 1_000_000_000
        packets["depth"]["flag"][:] = _BIDS_FIRST
        for place, name in ((0, "bid_e4"), (5, "ask_e4")):
            packets["depth"]["price"][:, place] = _raw(ticks[name], packets["exchange_type"])
    return packets


def is_exact(ticks: NDArray[np.void], keys: Sequence[tuple[int, bytes]]) -> NDArray[np.bool_]:
    """Return for each TICK row whether the wire's unit of price can hold its price."""
    currency = np.array([exchange_type == CURRENCY for exchange_type, _ in keys])
    paise = ticks["price_e4"] % E4_PER_PAISA == 0
    exact: NDArray[np.bool_] = paise | currency[ticks["instrument"]]
    return exact


def _raw(prices_e4: NDArray[np.int64], exchange_types: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return prices in the unit of the wire."""
    units, paise = prices_e4 * CURRENCY_UNITS_PER_E4, prices_e4 // E4_PER_PAISA
    return np.where(exchange_types == CURRENCY, units, paise)
