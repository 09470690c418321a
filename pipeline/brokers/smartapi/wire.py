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
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.records import TICK, struct_of
from pipeline.settings import Instrument

MODE_LTP = 1
MODE_QUOTE = 2
MODE_SNAPQUOTE = 3

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
_HEAD = struct.Struct("<BB25sqqq")
_TRADED = struct.Struct("<qqq")
_LEVEL = struct.Struct("<HqqH")
_ROW = struct_of(TICK)
_DEPTH_START, _DEPTH_END = 147, 347
assert _HEAD.size == LTP.itemsize
assert _LEVEL.size == DEPTH_LEVEL.itemsize
assert SNAPQUOTE.fields is not None
assert SNAPQUOTE.fields["depth"][1] == _DEPTH_START

_BYTES_OF_MODE = {
    MODE_LTP: LTP.itemsize,
    MODE_QUOTE: QUOTE.itemsize,
    MODE_SNAPQUOTE: SNAPQUOTE.itemsize,
}
_I64_MAX = 2**63 - 1
_U32_MAX = 2**32 - 1
_TIME_MS_MAX = _I64_MAX // 1_000_000


class Decoded(NamedTuple):
    """One packet that was understood."""

    ticks: NDArray[np.void]  # one TICK row, its own memory; seq 0
    instrument: int  # the row's, as a Python int
    sequence: int  # the broker's; 0 = it gave none


def instrument_key(instrument: Instrument) -> tuple[int, bytes]:
    """Return how the wire names ``instrument``: exchange type and token."""
    return EXCHANGE_TYPES[instrument.exchange], instrument.token.encode("ascii")


def decode(
    data: bytes | memoryview, instrument_of: Mapping[tuple[int, bytes], int], now_ns: int
) -> Decoded | None:
    """Return the tick in one frame, or None when it cannot be true; never raises.

    None: shorter than its mode's packet, another mode, a token not in ``instrument_of``, a price
    that is not above 0, a negative time, sequence or volume, a quantity that does not fit u32.
    One impossible field refuses the whole frame: what it says about the price is no better.
    """
    if len(data) < LTP.itemsize:
        return None
    mode, exchange_type, token, sequence, time_ms, price = _HEAD.unpack_from(data)
    bytes_min = _BYTES_OF_MODE.get(mode)
    instrument = instrument_of.get((exchange_type, token.partition(b"\0")[0]))
    if bytes_min is None or len(data) < bytes_min or instrument is None:
        return None
    quantity = day_volume = bid_e4 = ask_e4 = 0
    if mode != MODE_LTP:
        quantity, _, day_volume = _TRADED.unpack_from(data, LTP.itemsize)
        if mode == MODE_SNAPQUOTE:
            bid_e4, ask_e4 = _best_prices(data, exchange_type)
    price_e4 = _e4(price, exchange_type)
    if not (
        0 < price_e4 <= _I64_MAX
        and 0 <= time_ms <= _TIME_MS_MAX
        and sequence >= 0
        and 0 <= quantity <= _U32_MAX
        and day_volume >= 0
    ):
        return None
    row = _ROW.pack(
        0,
        time_ms * 1_000_000,
        now_ns,
        price_e4,
        instrument,
        0,
        quantity,
        day_volume,
        bid_e4,
        ask_e4,
    )
    return Decoded(np.frombuffer(bytearray(row), TICK), instrument, sequence)


def _e4(price: int, exchange_type: int) -> int:
    if exchange_type == CURRENCY:
        return price // CURRENCY_UNITS_PER_E4
    return price * E4_PER_PAISA


def _best_prices(data: bytes | memoryview, exchange_type: int) -> tuple[int, int]:
    """Return best bid and ask of the depth, 0 where there is none; sides go by the flag."""
    bid_e4 = ask_e4 = 0
    for flag, _, price, _ in _LEVEL.iter_unpack(data[_DEPTH_START:_DEPTH_END]):
        price_e4 = _e4(price, exchange_type)
        if not 0 < price_e4 <= _I64_MAX:
            continue
        if flag == 1:
            bid_e4 = max(bid_e4, price_e4)
        elif flag == 0:
            ask_e4 = min(ask_e4 or price_e4, price_e4)
    return bid_e4, ask_e4


def encode_ltp(
    ticks: NDArray[np.void], keys: Sequence[tuple[int, bytes]], first_sequence: int
) -> NDArray[np.void]:
    """Return one LTP packet per TICK row; ``keys[row["instrument"]]`` names it on the wire.

    Sequence numbers count up from ``first_sequence``. What the unit of the wire cannot hold is
    cut off: time below 1 ms, prices below a paisa (``is_exact`` tells).
    """
    return _encode(LTP, MODE_LTP, ticks, keys, first_sequence)


def encode_quote(
    ticks: NDArray[np.void], keys: Sequence[tuple[int, bytes]], first_sequence: int
) -> NDArray[np.void]:
    """Return one Quote packet per TICK row, as ``encode_ltp``; what a TICK lacks is 0."""
    packets = _encode(QUOTE, MODE_QUOTE, ticks, keys, first_sequence)
    packets["quantity"] = ticks["quantity"]
    packets["average_price"] = packets["price"]
    packets["day_volume"] = ticks["day_volume"]
    return packets


def is_exact(ticks: NDArray[np.void], keys: Sequence[tuple[int, bytes]]) -> NDArray[np.bool_]:
    """Return for each TICK row whether the wire's unit of price can hold its price."""
    currency = np.array([exchange_type == CURRENCY for exchange_type, _ in keys])
    paise = ticks["price_e4"] % E4_PER_PAISA == 0
    exact: NDArray[np.bool_] = paise | currency[ticks["instrument"]]
    return exact


def _encode(
    dtype: np.dtype[np.void],
    mode: int,
    ticks: NDArray[np.void],
    keys: Sequence[tuple[int, bytes]],
    first_sequence: int,
) -> NDArray[np.void]:
    exchange_types = np.array([exchange_type for exchange_type, _ in keys], "u1")
    tokens = np.array([token for _, token in keys], "S25")
    packets = np.zeros(len(ticks), dtype)
    packets["mode"] = mode
    packets["exchange_type"] = exchange_types[ticks["instrument"]]
    packets["token"] = tokens[ticks["instrument"]]
    packets["sequence"] = np.arange(first_sequence, first_sequence + len(ticks))
    packets["time_ms"] = ticks["ts_event_ns"] // 1_000_000
    packets["price"] = np.where(
        packets["exchange_type"] == CURRENCY,
        ticks["price_e4"] * CURRENCY_UNITS_PER_E4,
        ticks["price_e4"] // E4_PER_PAISA,
    )
    return packets
